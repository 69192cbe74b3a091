//! The flows of a capture, in a table of bounded size.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::flow::{Detail, Flow, Noted, Protocol, ends_of};
use crate::capture::packet::{Packet, Transport, flags};

/// The flows seen so far, and how many packets had no room.
#[derive(Debug)]
pub struct Table {
    limit: usize,
    flows: Vec<Flow>,
    latest: HashMap<(Protocol, SocketAddr, SocketAddr), usize>,
    counts: [u64; 3],
    left_out: u64,
}

impl Table {
    /// Creates a table for at most `limit` flows.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            flows: Vec::new(),
            latest: HashMap::new(),
            counts: [0; 3],
            left_out: 0,
        }
    }

    /// Takes a packet. Returns its flow; `None` if it belongs to none, or the table is full.
    pub fn take(
        &mut self,
        frame: u64,
        wire_len: u32,
        packet: &Packet<'_>,
        transport: &Transport<'_>,
        now_nanos: i128,
    ) -> Option<Noted> {
        let (protocol, ends) = ends_of(packet, transport)?;
        let [source, destination] = ends;
        let key = (protocol, source.min(destination), source.max(destination));
        let known = self.latest.get(&key).copied().filter(|at| {
            self.flows
                .get(*at)
                .is_some_and(|flow| !is_succeeded(flow, source, transport))
        });
        let at = match known {
            Some(at) => at,
            None if self.flows.len() >= self.limit => {
                self.left_out += 1;
                return None;
            }
            None => {
                let count = self.counts.get_mut(protocol as usize)?;
                *count += 1;
                let ends = if answers(transport) {
                    [destination, source]
                } else {
                    ends
                };
                let flow = Flow::new(*count, protocol, ends, frame, now_nanos);
                self.flows.push(flow);
                self.latest.insert(key, self.flows.len() - 1);
                self.flows.len() - 1
            }
        };
        let flow = self.flows.get_mut(at)?;
        let side = flow.side_of(source);
        let marks = flow.take(side, wire_len, transport, now_nanos);
        Some(Noted {
            flow: at,
            side,
            marks,
        })
    }

    /// Returns the flow at a position.
    pub fn flow(&self, at: usize) -> Option<&Flow> {
        self.flows.get(at)
    }

    /// Returns the flows of a protocol, in the order of their first packets.
    pub fn flows(&self, protocol: Protocol) -> impl Iterator<Item = &Flow> {
        self.flows
            .iter()
            .filter(move |flow| flow.protocol == protocol)
    }

    /// Returns the number of flows.
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Returns true if there is no flow.
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// Returns the number of packets of flows that had no room.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}

/// Returns true for a SYN-ACK, whose receiver opened the connection.
fn answers(transport: &Transport<'_>) -> bool {
    matches!(transport, Transport::Tcp(tcp) if tcp.has(flags::SYN | flags::ACK))
}

/// Returns true if a segment opens another connection between the same endpoints.
fn is_succeeded(flow: &Flow, source: SocketAddr, transport: &Transport<'_>) -> bool {
    match (&flow.detail, transport) {
        (Detail::Tcp(analysis), Transport::Tcp(tcp)) => {
            analysis.is_succeeded_by(flow.side_of(source), tcp)
        }
        _ => false,
    }
}
