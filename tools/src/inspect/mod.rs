//! Looks at a capture in one pass and bounded memory: packets as lines, flows with their statistics, the
//! data of a flow, and its time–sequence plot.
//!
//! | module | |
//! |---|---|
//! | [`filter`] | expressions in tcpdump's language that select packets |
//! | [`flow`], [`table`] | flows of TCP, UDP and ICMP |
//! | [`tcp`] | retransmissions, order, windows and round-trip times of a connection |
//! | [`line`] | a packet as a line of text |
//! | [`follow`] | the data of a flow in order |
//! | [`plot`] | a time–sequence plot |
//! | [`report`] | the result as text and as JSON |

pub mod filter;
pub mod flow;
pub mod follow;
pub mod line;
pub mod plot;
pub mod report;
pub mod rtt;
mod seq;
pub mod table;
pub mod tcp;

use serde::Serialize;

use self::filter::{Filter, View};
use self::flow::Noted;
use self::table::Table;
use crate::capture::Frame;
use crate::capture::datagrams::Datagrams;
use crate::capture::link::{ARP, IPV4, IPV6, Network};
use crate::capture::packet::{self, ICMP, ICMPV6, Packet, TCP, Transport, UDP};

/// Counts of a whole capture.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Totals {
    /// Packets in the file.
    pub packets: u64,
    /// Packets that the filter selected; the other counts are of these.
    pub selected: u64,
    /// Bytes on the wire.
    pub wire_bytes: u64,
    /// IPv4 packets.
    pub ipv4: u64,
    /// IPv6 packets.
    pub ipv6: u64,
    /// ARP packets.
    pub arp: u64,
    /// Packets that are neither, or that no link type explains.
    pub other: u64,
    /// TCP segments, inside of tunnels too, as all that follow.
    pub tcp: u64,
    /// UDP datagrams.
    pub udp: u64,
    /// ICMP and ICMPv6 messages.
    pub icmp: u64,
    /// Packets of other protocols.
    pub other_protocols: u64,
    /// Packets in a tunnel.
    pub tunnelled: u64,
    /// Fragments.
    pub fragments: u64,
    /// Transport headers that are malformed or not captured whole.
    pub malformed: u64,
    /// Time of the earliest packet, in nanoseconds since the epoch.
    #[serde(skip)]
    pub first_nanos: Option<i128>,
    /// Time of the latest packet.
    #[serde(skip)]
    pub last_nanos: Option<i128>,
}

/// A pass over a capture.
#[derive(Debug)]
pub struct Inspector {
    filter: Option<Filter>,
    datagrams: Datagrams,
    /// The flows.
    pub table: Table,
    /// The counts.
    pub totals: Totals,
    last_nanos: i128,
}

/// A selected packet.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The frame.
    pub frame: Frame<'a>,
    /// Its time, or that of the last one before it that had a time.
    pub now_nanos: i128,
    /// The content of the frame.
    pub network: Option<Network>,
    /// Its outermost IP packet.
    pub outer: Option<Packet<'a>>,
    /// Its flow, if it has one.
    pub noted: Option<Noted>,
    /// The payload of the datagram that this frame's fragment completed.
    pub datagram: Option<(Packet<'a>, Vec<u8>)>,
}

impl Seen<'_> {
    /// Calls `with` with the transport of the innermost packet, or of the datagram that it completed.
    pub fn with_transport(&self, with: impl FnOnce(&Transport<'_>)) {
        match (&self.datagram, &self.outer) {
            (Some((packet, data)), _) => {
                with(&packet::transport(packet.protocol, data, data.len() as u32))
            }
            (None, Some(outer)) => with(&outer.clone().innermost().transport),
            (None, None) => {}
        }
    }
}

impl Inspector {
    /// Creates a pass with a table of at most `max_flows` flows, over packets that `filter` selects.
    pub fn new(max_flows: usize, filter: Option<Filter>) -> Self {
        Self {
            filter,
            datagrams: Datagrams::default(),
            table: Table::new(max_flows),
            totals: Totals::default(),
            last_nanos: 0,
        }
    }

    /// Takes the next frame. Returns it if it is selected.
    pub fn take<'a>(&mut self, frame: &Frame<'a>) -> Option<Seen<'a>> {
        self.totals.packets += 1;
        let network = frame.link.network(frame.data);
        let outer = network
            .as_ref()
            .and_then(|network| packet::of_network(frame, network));
        if let Some(filter) = &self.filter
            && !filter.selects(&View {
                frame,
                network: network.as_ref(),
                packet: outer.as_ref(),
            })
        {
            return None;
        }
        let now_nanos = frame.time_nanos.unwrap_or(self.last_nanos);
        self.last_nanos = now_nanos;
        self.count(frame, network.as_ref(), outer.as_ref(), now_nanos);
        let mut seen = Seen {
            frame: *frame,
            now_nanos,
            network,
            outer,
            noted: None,
            datagram: None,
        };
        if let Some(outer) = &seen.outer {
            let inner = outer.clone().innermost();
            self.totals.tunnelled += u64::from(inner.ip.len() < outer.ip.len());
            self.totals.malformed += u64::from(matches!(inner.transport, Transport::Malformed));
            let (number, wire) = (frame.number, frame.wire_len);
            if inner.fragment.is_some() {
                self.totals.fragments += 1;
                if let Some(data) = self.datagrams.add(&inner) {
                    let len = data.len() as u32;
                    let whole = packet::transport(inner.protocol, &data, len);
                    seen.noted = self.table.take(number, wire, &inner, &whole, now_nanos);
                    seen.datagram = Some((inner, data));
                }
            } else {
                let transport = &inner.transport;
                seen.noted = self.table.take(number, wire, &inner, transport, now_nanos);
            }
        }
        Some(seen)
    }

    fn count(
        &mut self,
        frame: &Frame<'_>,
        network: Option<&Network>,
        outer: Option<&Packet<'_>>,
        now_nanos: i128,
    ) {
        let totals = &mut self.totals;
        totals.selected += 1;
        totals.wire_bytes += u64::from(frame.wire_len);
        totals.first_nanos = Some(totals.first_nanos.map_or(now_nanos, |t| t.min(now_nanos)));
        totals.last_nanos = Some(totals.last_nanos.map_or(now_nanos, |t| t.max(now_nanos)));
        match network.map(|network| network.ethertype) {
            Some(IPV4) => totals.ipv4 += 1,
            Some(IPV6) => totals.ipv6 += 1,
            Some(ARP) => totals.arp += 1,
            _ => totals.other += 1,
        }
        let Some(outer) = outer else { return };
        match outer.clone().innermost().protocol {
            TCP => totals.tcp += 1,
            UDP => totals.udp += 1,
            ICMP | ICMPV6 => totals.icmp += 1,
            _ => totals.other_protocols += 1,
        }
    }
}
