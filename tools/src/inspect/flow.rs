//! One flow: the packets between two endpoints, and what they say.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use super::rtt::RoundTrips;
use super::tcp::{Analysis, Marks};
use crate::capture::packet::{ICMP, ICMPV6, Icmp, Packet, TCP, Transport, UDP};

/// Most echo requests of one flow that wait for their reply.
const MAX_REQUESTS: usize = 64;

/// The protocols that have flows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP and ICMPv6. An endpoint's port is the identifier of echo requests, 0 for other messages.
    Icmp,
}

impl Protocol {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Icmp];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Icmp => "ICMP",
        }
    }
}

/// Packets and bytes of one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes on the wire, with link headers.
    pub wire_bytes: u64,
    /// Bytes behind the transport's header.
    pub payload_bytes: u64,
}

/// The counts of an ICMP flow beside its traffic.
#[derive(Clone, Debug, Default)]
pub struct Echoes {
    waiting: VecDeque<(u16, i128)>,
    /// Echo requests.
    pub requests: u64,
    /// Replies to them.
    pub replies: u64,
    /// Their round-trip times.
    pub round_trips: RoundTrips,
}

/// The part of a flow that its protocol adds.
#[derive(Clone, Debug)]
pub enum Detail {
    /// Of a TCP connection.
    Tcp(Box<Analysis>),
    /// Of echo requests.
    Echoes(Box<Echoes>),
    /// The protocol adds no counts.
    None,
}

/// One flow.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Its number among those of its protocol, from 1.
    pub number: u64,
    /// Its protocol.
    pub protocol: Protocol,
    /// The endpoint that sent the first packet, then the other; of a connection whose SYN was not captured before
    /// the SYN-ACK, the endpoint that opened it.
    pub ends: [SocketAddr; 2],
    /// Number of its first frame.
    pub first_frame: u64,
    /// Time of its first packet.
    pub first_nanos: i128,
    /// Time of its last packet.
    pub last_nanos: i128,
    /// The traffic of each endpoint.
    pub traffic: [Traffic; 2],
    /// The part that its protocol adds.
    pub detail: Detail,
}

/// A packet of a flow, with what the flow's history says about it.
#[derive(Clone, Debug)]
pub struct Noted {
    /// Position of the flow in the table.
    pub flow: usize,
    /// The endpoint that sent it: 0 or 1.
    pub side: usize,
    /// The marks of a TCP segment.
    pub marks: Marks,
}

/// Returns the protocol and the two endpoints of a packet, if it belongs to a flow.
pub(super) fn ends_of(
    packet: &Packet<'_>,
    transport: &Transport<'_>,
) -> Option<(Protocol, [SocketAddr; 2])> {
    let ends = |from, to| {
        [
            SocketAddr::new(packet.source, from),
            SocketAddr::new(packet.destination, to),
        ]
    };
    match (packet.protocol, transport) {
        (TCP, Transport::Tcp(tcp)) => {
            Some((Protocol::Tcp, ends(tcp.source_port, tcp.destination_port)))
        }
        (UDP, Transport::Udp(udp)) => {
            Some((Protocol::Udp, ends(udp.source_port, udp.destination_port)))
        }
        (ICMP | ICMPV6, Transport::Icmp(icmp)) => {
            let id = icmp.echo.map_or(0, |(id, _)| id);
            Some((Protocol::Icmp, ends(id, id)))
        }
        _ => None,
    }
}

impl Flow {
    pub(super) fn new(
        number: u64,
        protocol: Protocol,
        ends: [SocketAddr; 2],
        frame: u64,
        now_nanos: i128,
    ) -> Self {
        Self {
            number,
            protocol,
            ends,
            first_frame: frame,
            first_nanos: now_nanos,
            last_nanos: now_nanos,
            traffic: [Traffic::default(); 2],
            detail: match protocol {
                Protocol::Tcp => Detail::Tcp(Box::default()),
                Protocol::Icmp => Detail::Echoes(Box::default()),
                Protocol::Udp => Detail::None,
            },
        }
    }

    /// Returns the side that sends from `source`.
    pub(super) fn side_of(&self, source: SocketAddr) -> usize {
        usize::from(self.ends[0] != source)
    }

    pub(super) fn take(
        &mut self,
        side: usize,
        wire_len: u32,
        transport: &Transport<'_>,
        now_nanos: i128,
    ) -> Marks {
        self.first_nanos = self.first_nanos.min(now_nanos);
        self.last_nanos = self.last_nanos.max(now_nanos);
        let traffic = &mut self.traffic[side & 1];
        traffic.packets += 1;
        traffic.wire_bytes += u64::from(wire_len);
        traffic.payload_bytes += u64::from(match transport {
            Transport::Tcp(tcp) => tcp.payload_len,
            Transport::Udp(udp) => udp.payload_len,
            Transport::Icmp(icmp) => icmp.message_len.saturating_sub(8),
            _ => 0,
        });
        match (&mut self.detail, transport) {
            (Detail::Tcp(analysis), Transport::Tcp(tcp)) => analysis.take(side, tcp, now_nanos),
            (Detail::Echoes(echoes), Transport::Icmp(icmp)) => {
                echoes.take(icmp, now_nanos);
                Marks::default()
            }
            _ => Marks::default(),
        }
    }

    /// Returns the time from the first to the last packet, in seconds.
    pub fn seconds(&self) -> f64 {
        self.last_nanos.saturating_sub(self.first_nanos) as f64 / 1e9
    }

    /// Returns the rate at which a side sent payload, in bits per second; `None` for a single moment.
    pub fn payload_bits_per_second(&self, side: usize) -> Option<f64> {
        let seconds = self.seconds();
        (seconds > 0.0).then(|| self.traffic[side & 1].payload_bytes as f64 * 8.0 / seconds)
    }

    /// Returns an endpoint as text, without a port that means nothing.
    pub fn end(&self, side: usize) -> String {
        let end = self.ends[side & 1];
        match (self.protocol, end.ip()) {
            (Protocol::Icmp, IpAddr::V4(ip)) => ip.to_string(),
            (Protocol::Icmp, IpAddr::V6(ip)) => ip.to_string(),
            _ => end.to_string(),
        }
    }
}

impl Echoes {
    fn take(&mut self, icmp: &Icmp<'_>, now_nanos: i128) {
        let Some((_, seq)) = icmp.echo else { return };
        if matches!(icmp.kind, 8 | 128 | 13) {
            self.requests += 1;
            if self.waiting.len() == MAX_REQUESTS {
                self.waiting.pop_front();
            }
            self.waiting.push_back((seq, now_nanos));
            return;
        }
        self.replies += 1;
        let at = self.waiting.iter().position(|(other, _)| *other == seq);
        if let Some((_, sent)) = at.and_then(|at| self.waiting.remove(at)) {
            self.round_trips.add(now_nanos.saturating_sub(sent));
        }
    }
}
