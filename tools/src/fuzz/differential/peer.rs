//! The peer of one host: what it knows of each flow, and its packets as bytes.

use std::collections::BTreeMap;

use super::super::packets::{Tcp, fix_checksums};
use super::step::{Body, Edit, Opt, Packet, Part, Place, Quoted, Segment, Seq, pattern};
use crate::pktscript::ast::TcpOpt;
use crate::pktscript::wire::read::{Seen, SeenBody};

/// The peer's initial sequence numbers begin here.
const ISN: u32 = 0x1000_0000;
/// The peer's clock at the beginning of a case.
const CLOCK: u32 = 500_000;

const SYN: u16 = 0x02;
const RST: u16 = 0x04;
const FIN: u16 = 0x01;

/// A flow of TCP as the peer sees it.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    /// The peer's initial sequence number.
    pub(super) isn: u32,
    /// The peer's next sequence number.
    pub(super) next: u32,
    /// The host's initial sequence number.
    pub(super) host_isn: Option<u32>,
    /// The number behind everything that the host sent.
    host_next: u32,
    /// The right edge of the window that the host advertised.
    edge: u32,
    scale: u8,
    /// The host's last timestamp.
    stamp: u32,
    /// Numbers that depend on the window of the host, by the words for them.
    pub(super) edges: BTreeMap<u32, String>,
}

/// The peer of one host.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) place: Place,
    /// By the port of the host and that of the peer.
    flows: BTreeMap<(u16, u16), Flow>,
    /// The last packet of each protocol that the host sent.
    last: BTreeMap<u8, Vec<u8>>,
    /// The peer's clock, which ticks with each of its packets.
    pub(super) clock: u32,
}

impl Peer {
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            flows: BTreeMap::new(),
            last: BTreeMap::new(),
            clock: CLOCK,
        }
    }

    pub(super) fn flow(&self, host: u16, peer: u16) -> Option<&Flow> {
        self.flows.get(&(host, peer))
    }

    fn flow_mut(&mut self, host: u16, peer: u16) -> &mut Flow {
        let isn = ISN.wrapping_add(u32::from(peer) << 16);
        self.flows.entry((host, peer)).or_insert(Flow {
            isn,
            next: isn,
            host_isn: None,
            host_next: 0,
            edge: isn.wrapping_add(1),
            scale: 0,
            stamp: 0,
            edges: BTreeMap::new(),
        })
    }

    /// Notes what the host sent.
    pub(super) fn hears(&mut self, bytes: &[u8], seen: &Seen) {
        let proto = if seen.src.is_ipv4() {
            bytes.get(9)
        } else {
            bytes.get(6)
        };
        self.last
            .insert(proto.copied().unwrap_or(0), bytes.to_vec());
        let SeenBody::Tcp {
            src_port,
            dst_port,
            header,
            payload,
        } = &seen.body
        else {
            return;
        };
        let flow = self.flow_mut(*src_port, *dst_port);
        if header.flags & RST != 0 {
            return;
        }
        let options = header.options.as_deref().unwrap_or_default();
        if header.flags & SYN != 0 {
            // A SYN-ACK without the option, as it answers a SYN without it, takes back what the SYN before it offered.
            flow.scale = 0;
        }
        for option in options {
            match option {
                TcpOpt::Timestamps { val, .. } => flow.stamp = *val,
                TcpOpt::WindowScale(shift) if header.flags & SYN != 0 => flow.scale = *shift,
                _ => {}
            }
        }
        let taken = payload.len() as u32
            + u32::from(header.flags & SYN != 0)
            + u32::from(header.flags & FIN != 0);
        let end = header.seq.wrapping_add(taken);
        let scale = if header.flags & SYN != 0 {
            flow.host_isn = Some(header.seq);
            flow.host_next = end;
            0
        } else {
            flow.scale
        };
        if end.wrapping_sub(flow.host_next).cast_signed() > 0 {
            flow.host_next = end;
        }
        if header.flags & 0x10 != 0 {
            let window = u32::from(header.window.unwrap_or(0)) << scale;
            flow.edge = header.ack.unwrap_or(0).wrapping_add(window);
        }
    }

    /// Returns a reset for each flow that the host may still have.
    pub(super) fn farewell(&mut self) -> Vec<Vec<u8>> {
        let path = self.place.path;
        let resets = self.flows.iter().map(|(&(to, from), flow)| {
            let reset = Tcp {
                from,
                to,
                seq: flow.next,
                ack: flow.host_next,
                flags: 0x14,
                window: 0,
                options: &[],
            };
            path.tcp(&reset, b"")
        });
        resets.collect()
    }

    /// Builds a packet; an empty one if there is nothing to quote.
    pub(super) fn build(&mut self, packet: &Packet) -> Vec<u8> {
        self.clock += 1;
        let mut bytes = self.body(&packet.body);
        if bytes.is_empty() {
            return bytes;
        }
        let v6 = self.place.path.to.is_ipv6();
        if v6 {
            insert_chain(&mut bytes, &packet.chain);
        } else {
            insert_options(&mut bytes, &packet.options);
        }
        let extra = if v6 {
            packet.chain.iter().map(|(_, data)| 1 + data.len()).sum()
        } else {
            packet.options.len()
        };
        let transport = if v6 { 40 } else { 20 } + extra;
        for edit in &packet.edits {
            apply(&mut bytes, edit, transport);
        }
        if !packet.edits.is_empty() || !packet.options.is_empty() {
            fix_checksums(&mut bytes);
        }
        for fault in &packet.faults {
            apply(&mut bytes, fault, transport);
        }
        bytes
    }

    fn body(&mut self, body: &Body) -> Vec<u8> {
        let path = self.place.path;
        match body {
            Body::Tcp(segment) => self.segment(segment),
            Body::Udp(from, to, len) => path.udp(*from, self.place.port(*to), &pattern(0, *len, 0)),
            Body::Echo(id, len) => path.echo(*id, &pattern(0, *len, 0)),
            Body::Icmp(kind, code, rest, body) => path.icmp(*kind, *code, *rest, body),
            Body::IcmpError(kind, code, rest, quoted) => match self.quote(*quoted) {
                Some(quote) => path.icmp(*kind, *code, *rest, &quote),
                None => Vec::new(),
            },
            Body::Fragment(part) => self.fragment(part),
        }
    }

    fn quote(&self, quoted: Quoted) -> Option<Vec<u8>> {
        let mut bytes = self.last.get(&quoted.proto)?.clone();
        let at = if self.place.path.to.is_ipv4() { 24 } else { 44 };
        if let Some(field) = bytes.get_mut(at..at + 4) {
            let number = field
                .iter()
                .fold(0, |sum, byte| sum << 8 | u32::from(*byte));
            let number = number.wrapping_add(quoted.off_by);
            field.copy_from_slice(&number.to_be_bytes());
        }
        bytes.truncate(quoted.len);
        Some(bytes)
    }

    fn fragment(&mut self, part: &Part) -> Vec<u8> {
        let path = self.place.path;
        let whole = self.body(&part.of);
        let (headers, proto) = if path.to.is_ipv4() {
            (20, whole.get(9))
        } else {
            (40, whole.get(6))
        };
        let proto = proto.copied().unwrap_or(0);
        let payload = whole.get(headers..).unwrap_or_default();
        let end = part.to.min(payload.len());
        let mut bytes = payload.get(part.from..end).unwrap_or_default().to_vec();
        bytes.iter_mut().for_each(|byte| *byte ^= part.twist);
        let offset = u16::try_from(part.from / 8).unwrap_or(0x1fff);
        path.fragment(part.id, offset, part.more, proto, &bytes)
    }

    fn segment(&mut self, segment: &Segment) -> Vec<u8> {
        let (path, clock) = (self.place.path, self.clock);
        let to = self.place.port(segment.to);
        let flow = self.flow_mut(to, segment.from);
        let seq = match segment.seq {
            Seq::Next(by) => flow.next.wrapping_add_signed(by),
            Seq::Edge(by) => {
                let seq = flow.edge.wrapping_add_signed(by);
                flow.edges.insert(seq, format!("edge{by:+}"));
                let end = seq.wrapping_add(segment.len as u32);
                // With a SYN or a FIN, or both, and the data or none of it.
                for (first, len) in [(seq, 0), (end, segment.len)] {
                    for marks in 0..3 {
                        let name = format!("edge{by:+}+{}", len + marks as usize);
                        flow.edges.entry(first.wrapping_add(marks)).or_insert(name);
                    }
                }
                seq
            }
        };
        let options = options(&segment.options, flow, clock);
        let header = Tcp {
            from: segment.from,
            to,
            seq,
            ack: flow.host_next.wrapping_add_signed(segment.ack),
            flags: segment.flags,
            window: segment.window,
            options: &options,
        };
        let payload = pattern(seq.wrapping_sub(flow.isn), segment.len, segment.twist);
        if segment.advances {
            let marks = u32::from(segment.flags & 1) + u32::from(segment.flags & 2 != 0);
            flow.next = seq.wrapping_add(segment.len as u32 + marks);
        }
        let mut bytes = path.tcp(&header, &payload);
        if segment.urgent != 0 {
            let at = if path.to.is_ipv4() { 20 } else { 40 };
            apply(
                &mut bytes,
                &Edit::Transport(18, segment.urgent.to_be_bytes().to_vec()),
                at,
            );
            fix_checksums(&mut bytes);
        }
        bytes
    }
}

fn options(options: &[Opt], flow: &Flow, clock: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut pair = |kind: u8, one: u32, other: u32| {
        bytes.extend([1, 1, kind, 10]);
        bytes.extend(one.to_be_bytes());
        bytes.extend(other.to_be_bytes());
    };
    for option in options {
        match option {
            Opt::Stamps(by, back) => pair(
                8,
                clock.wrapping_add_signed(*by),
                flow.stamp.wrapping_add_signed(*back),
            ),
            Opt::Sack(from, to) => pair(
                5,
                flow.host_next.wrapping_add_signed(*from),
                flow.host_next.wrapping_add_signed(*to),
            ),
            Opt::Raw(_) => {}
        }
    }
    for option in options {
        if let Opt::Raw(raw) = option {
            bytes.extend(raw);
        }
    }
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Puts options behind the IPv4 header.
fn insert_options(bytes: &mut Vec<u8>, options: &[u8]) {
    if options.is_empty() {
        return;
    }
    bytes.splice(20..20, options.iter().copied());
    bytes[0] += (options.len() / 4) as u8;
    add(bytes, 2, options.len() as i32);
}

/// Puts extension headers behind the IPv6 header.
fn insert_chain(bytes: &mut Vec<u8>, chain: &[(u8, Vec<u8>)]) {
    for (kind, data) in chain.iter().rev() {
        let next = bytes[6];
        bytes[6] = *kind;
        bytes.splice(40..40, std::iter::once(next).chain(data.iter().copied()));
        add(bytes, 4, 1 + data.len() as i32);
    }
}

fn add(bytes: &mut [u8], at: usize, by: i32) {
    if let Some(field) = bytes.get_mut(at..at + 2) {
        let value = i32::from(u16::from_be_bytes([field[0], field[1]])) + by;
        field.copy_from_slice(&(value as u16).to_be_bytes());
    }
}

fn apply(bytes: &mut Vec<u8>, edit: &Edit, transport: usize) {
    let v6 = bytes.first().is_some_and(|first| first >> 4 == 6);
    let mut set = |at: usize, value: &[u8]| {
        if let Some(field) = bytes.get_mut(at..at + value.len()) {
            field.copy_from_slice(value);
        }
    };
    match edit {
        Edit::Ip(at, value) => set(*at, value),
        Edit::Transport(at, value) => set(transport + at, value),
        Edit::Flip(at, bits) => {
            if let Some(byte) = bytes.get_mut(transport + at) {
                *byte ^= bits;
            }
        }
        Edit::Length(by) => add(bytes, if v6 { 4 } else { 2 }, *by),
        Edit::UdpLength(by) => add(bytes, transport + 4, *by),
        Edit::Cut(at) => bytes.truncate(*at),
        Edit::Pad(len) => bytes.extend(vec![0xaa; *len]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::packets::Path;
    use crate::pktscript::wire::read::read;

    const HOST: u16 = 10_000;
    const PEER: u16 = 443;

    #[test]
    fn the_window_is_scaled_as_the_last_syn_says() {
        let (host, peer) = ([192, 168, 0, 1].into(), [198, 19, 0, 1].into());
        let to_peer = Path {
            from: host,
            to: peer,
        };
        let path = Path {
            from: peer,
            to: host,
        };
        let scaled = &[3, 3, 7, 1][..];
        for (last, edge) in [(scaled, 1_u32 << 7), (&[], 1)] {
            let mut knows = Peer::new(Place {
                path,
                open: HOST - 1,
            });
            // A SYN that offers to scale, a SYN-ACK, an acknowledgment.
            for (flags, options) in [(0x02, scaled), (0x12, last), (0x10, &[])] {
                let header = Tcp {
                    from: HOST,
                    to: PEER,
                    seq: 0,
                    ack: 5,
                    flags,
                    window: 1,
                    options,
                };
                let bytes = to_peer.tcp(&header, b"");
                knows.hears(&bytes, &read(&bytes).expect("a packet"));
            }
            let flow = knows.flow(HOST, PEER).expect("a flow");
            assert_eq!(flow.edge, 5 + edge);
        }
    }
}
