//! ICMP errors about packets of a session: those that the captured host received, which are played, and those that it sent,
//! which the stack must send, too.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::places::Place;
use super::report::{Difference, Report};
use super::translate::{add, readdress, set_length};
use crate::capture::checksum;
use crate::capture::defragment::Whole;
use crate::capture::link::be16;
use crate::capture::packet::{ICMPV6, Packet, TCP, Transport, UDP};

/// Bytes of an ICMP error before the packet that it quotes.
const HEADER: usize = 8;

/// Type and code of an error.
pub(super) type Kind = (u8, u8);

/// The packet that an error is about, as far as it quotes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Quote {
    pub(super) kind: Kind,
    protocol: u8,
    /// The sender of the quoted packet.
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    /// The sequence number of a segment.
    seq: u32,
    /// Offset of the quoted packet in the error's packet, and of its transport header.
    at: usize,
    transport_at: usize,
}

impl Quote {
    /// Returns what a packet quotes; `None` if it is no error about a segment or a datagram.
    pub(super) fn of(packet: &Packet<'_>) -> Option<Self> {
        let Transport::Icmp(icmp) = &packet.transport else {
            return None;
        };
        let is_error = if packet.protocol == ICMPV6 {
            matches!(icmp.kind, 1..=4)
        } else {
            matches!(icmp.kind, 3 | 4 | 11 | 12)
        };
        let bytes = icmp.message.get(HEADER..).filter(|_| is_error)?;
        let quoted = Packet::parse(bytes, bytes.len() as u32)?;
        let later = matches!(quoted.transport, Transport::LaterFragment);
        if later || !matches!(quoted.protocol, TCP | UDP) {
            return None;
        }
        let header = quoted.payload();
        let (from, to) = (be16(header, 0)?, be16(header, 2)?);
        let seq = (u32::from(be16(header, 4)?) << 16) | u32::from(be16(header, 6)?);
        let at = packet.payload_at + HEADER;
        Some(Self {
            kind: (icmp.kind, icmp.code),
            protocol: quoted.protocol,
            from: SocketAddr::new(quoted.source, from),
            to: SocketAddr::new(quoted.destination, to),
            seq,
            at,
            transport_at: at + quoted.payload_at,
        })
    }
}

/// A captured error that the host received.
#[derive(Clone, Debug)]
pub(super) struct Error {
    /// Number of its packet in the file.
    pub(super) number: u64,
    pub(super) at: Duration,
    quote: Quote,
    ip: Vec<u8>,
    /// True if its checksum is wrong: its receiver discards it.
    spoilt: bool,
}

impl Error {
    /// Returns the sequence number that it quotes, of the captured host.
    pub(super) fn seq(&self) -> u32 {
        self.quote.seq
    }

    /// Returns the packet to deliver: it comes from the session's peer, and quotes what the stack has sent. `shift` is added
    /// to the captured host's sequence numbers.
    pub(super) fn packet(&self, place: Place, shift: u32) -> Vec<u8> {
        let mut ip = self.ip.clone();
        set_length(&mut ip);
        readdress(&mut ip, place.peer, place.ours);
        if let Some(quoted) = ip.get_mut(self.quote.at..) {
            readdress(quoted, place.ours, place.peer);
        }
        if let Some(header) = ip
            .get_mut(self.quote.transport_at..)
            .filter(|_| self.quote.protocol == TCP)
        {
            add(header, 4, shift);
        }
        if let Some(quoted) = ip.get_mut(self.quote.at..) {
            checksum::write_header(quoted);
        }
        checksum::write(&mut ip, self.spoilt);
        ip
    }
}

/// The errors of a session.
#[derive(Clone, Debug, Default)]
pub(super) struct Errors {
    /// Those that the host received, in file order.
    pub(super) played: Vec<Error>,
    /// Those that it sent about packets of the peer.
    pub(super) expected: Vec<Kind>,
}

impl Errors {
    /// Returns true if the host says that nobody has the port.
    pub(super) fn refuse_port(&self) -> bool {
        self.expected
            .iter()
            .any(|kind| matches!(kind, (3, 3) | (1, 4)))
    }

    /// Compares the errors that the stack sent. How many there are depends on limits of their rate.
    pub(super) fn compare(&self, sent: &[Kind], report: &mut Report) {
        let lacks = |list: &[Kind], kind: &Kind| !list.contains(kind);
        let mut named = Vec::new();
        for kind in self.expected.iter().chain(sent) {
            if named.contains(kind) {
                continue;
            }
            named.push(*kind);
            let (kind, code) = *kind;
            if lacks(sent, &(kind, code)) {
                report
                    .differences
                    .push(Difference::IcmpNotSent { kind, code });
            } else if lacks(&self.expected, &(kind, code)) {
                report.differences.push(Difference::IcmpSent { kind, code });
            }
        }
        if self.expected.len() != sent.len() {
            report.notes.push(format!(
                "{} ICMP errors captured, {} replayed",
                self.expected.len(),
                sent.len()
            ));
        }
    }
}

/// All errors of a capture, by protocol and ends.
#[derive(Debug, Default)]
pub(super) struct Index(HashMap<(u8, SocketAddr, SocketAddr), Vec<(IpAddr, Error)>>);

impl Index {
    /// Collects the errors of `packets`.
    pub(super) fn of(packets: &[Whole], time: &impl Fn(u64) -> Duration) -> Self {
        let mut index = Self::default();
        for whole in packets {
            let captured = &whole.captured;
            let parsed = Packet::parse(&captured.ip, captured.ip.len() as u32);
            let Some((packet, quote)) =
                parsed.and_then(|packet| Quote::of(&packet).map(|quote| (packet, quote)))
            else {
                continue;
            };
            if captured.cut {
                continue;
            }
            let error = Error {
                number: captured.number,
                at: time(captured.number),
                quote,
                ip: captured.ip.clone(),
                spoilt: checksum::is_right(&packet) == Some(false),
            };
            let key = (
                quote.protocol,
                quote.from.min(quote.to),
                quote.from.max(quote.to),
            );
            let of_ends = index.0.entry(key).or_default();
            of_ends.push((packet.source, error));
        }
        index
    }

    /// Returns the errors about segments between these ends, whose packets have numbers from `since` up to `until`.
    pub(super) fn of_tcp(
        &self,
        ours: SocketAddr,
        peer: SocketAddr,
        since: u64,
        until: u64,
    ) -> Errors {
        self.between(TCP, ours, peer, since..until)
    }

    /// Returns the errors about datagrams between these ends.
    pub(super) fn of_udp(&self, ours: SocketAddr, peer: SocketAddr) -> Errors {
        self.between(UDP, ours, peer, 0..u64::MAX)
    }

    fn between(
        &self,
        protocol: u8,
        ours: SocketAddr,
        peer: SocketAddr,
        numbers: std::ops::Range<u64>,
    ) -> Errors {
        let mut found = Errors::default();
        let key = (protocol, ours.min(peer), ours.max(peer));
        for (sender, error) in self.0.get(&key).into_iter().flatten() {
            if !numbers.contains(&error.number) {
                continue;
            }
            if (error.quote.from, error.quote.to) == (ours, peer) {
                found.played.push(error.clone());
            } else if *sender == ours.ip() && !error.spoilt {
                found.expected.push(error.quote.kind);
            }
        }
        found
    }
}

/// Writes the ends into the packet that an error quotes: it went from `from` to `to`.
pub(super) fn readdress_quote(ip: &mut [u8], from: SocketAddr, to: SocketAddr) {
    let quote = Packet::parse(ip, ip.len() as u32).and_then(|packet| Quote::of(&packet));
    if let Some(quoted) = quote.and_then(|quote| ip.get_mut(quote.at..)) {
        readdress(quoted, from, to);
        checksum::write_header(quoted);
    }
}
