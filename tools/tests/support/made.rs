//! Captures of TCP sessions that are made packet by packet.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use etherparse::{IpHeaders, PacketBuilder, PacketBuilderStep};
use tools::capture::Captured;

use super::lossy::Wired;

/// A side of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum From {
    Client,
    Server,
}

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const PSH: u8 = 8;
pub(crate) const ACK: u8 = 16;

/// A session in the making. The client's numbers begin with 1,000, the server's with 5,000.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) ends: [SocketAddr; 2],
    pub(crate) next: [u32; 2],
    pub(crate) window: u16,
    pub(crate) scale: Option<u8>,
    pub(crate) packets: Vec<Wired>,
    now: Duration,
}

impl Made {
    pub(crate) fn new(client: &str, server: &str) -> Self {
        let ends = [client, server].map(|text| text.parse().expect("an address"));
        Self {
            ends,
            next: [1_000, 5_000],
            window: 65_535,
            scale: None,
            packets: Vec::new(),
            now: Duration::ZERO,
        }
    }

    /// Adds the next segment of a side, a millisecond later.
    pub(crate) fn add(&mut self, from: From, flags: u8, payload: &[u8]) -> &mut Self {
        let seq = self.next[from as usize];
        self.next[from as usize] = seq
            .wrapping_add(payload.len() as u32)
            .wrapping_add(u32::from(flags & SYN != 0))
            .wrapping_add(u32::from(flags & FIN != 0));
        self.add_at(from, flags, seq, payload)
    }

    /// As [`Made::add`], with this sequence number.
    pub(crate) fn add_at(&mut self, from: From, flags: u8, seq: u32, payload: &[u8]) -> &mut Self {
        let (ours, theirs) = (from as usize, 1 - from as usize);
        let (source, destination) = (self.ends[ours], self.ends[theirs]);
        let mut tcp = ip(source.ip(), destination.ip()).tcp(
            source.port(),
            destination.port(),
            seq,
            self.window,
        );
        if flags & SYN != 0 {
            tcp = tcp.syn();
            let mut options = vec![etherparse::TcpOptionElement::MaximumSegmentSize(1_460)];
            options.extend(self.scale.map(etherparse::TcpOptionElement::WindowScale));
            tcp = tcp.options(&options).expect("options");
        }
        if flags & FIN != 0 {
            tcp = tcp.fin();
        }
        if flags & RST != 0 {
            tcp = tcp.rst();
        }
        if flags & PSH != 0 {
            tcp = tcp.psh();
        }
        if flags & ACK != 0 {
            tcp = tcp.ack(self.next[theirs]);
        }
        let mut packet = Vec::new();
        tcp.write(&mut packet, payload).expect("a packet");
        self.push(packet)
    }

    /// Adds a datagram of a side.
    pub(crate) fn datagram(&mut self, from: From, payload: &[u8]) -> &mut Self {
        let (source, destination) = (self.ends[from as usize], self.ends[1 - from as usize]);
        let udp = ip(source.ip(), destination.ip()).udp(source.port(), destination.port());
        let mut packet = Vec::new();
        udp.write(&mut packet, payload).expect("a packet");
        self.push(packet)
    }

    /// Adds an ICMP error of the host `sender` about the packet with this index, of which it quotes the IP header and 8 bytes.
    /// `word` is the second word of the message: in errors about the size the MTU.
    pub(crate) fn error(
        &mut self,
        sender: &str,
        about: usize,
        (kind, code): (u8, u8),
        word: u32,
    ) -> &mut Self {
        let packet = &self.packets[about].ip;
        let is_v4 = packet[0] >> 4 == 4;
        let quoted = packet[..if is_v4 { 28 } else { 48 }].to_vec();
        let sender: IpAddr = sender.parse().expect("an address");
        let to = if is_v4 {
            IpAddr::from(<[u8; 4]>::try_from(&packet[12..16]).expect("a source"))
        } else {
            IpAddr::from(<[u8; 16]>::try_from(&packet[8..24]).expect("a source"))
        };
        let (builder, bytes5to8) = (ip(sender, to), word.to_be_bytes());
        let mut packet = Vec::new();
        let written = if is_v4 {
            let message = etherparse::Icmpv4Type::Unknown {
                type_u8: kind,
                code_u8: code,
                bytes5to8,
            };
            builder.icmpv4(message).write(&mut packet, &quoted)
        } else {
            let message = etherparse::Icmpv6Type::Unknown {
                type_u8: kind,
                code_u8: code,
                bytes5to8,
            };
            builder.icmpv6(message).write(&mut packet, &quoted)
        };
        written.expect("a packet");
        self.push(packet)
    }

    /// Lets time pass before the next packet.
    pub(crate) fn pause(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    fn push(&mut self, ip: Vec<u8>) -> &mut Self {
        self.now += Duration::from_millis(1);
        self.packets.push(Wired { time: self.now, ip });
        self
    }

    pub(crate) fn handshake(&mut self) -> &mut Self {
        self.add(From::Client, SYN, &[])
            .add(From::Server, SYN | ACK, &[])
            .add(From::Client, ACK, &[])
    }

    pub(crate) fn end(&mut self) -> &mut Self {
        self.add(From::Client, FIN | ACK, &[])
            .add(From::Server, FIN | ACK, &[])
            .add(From::Client, ACK, &[])
    }

    /// Returns the packets as they are read from a file.
    pub(crate) fn captured(&self) -> Vec<Captured> {
        captured(&self.packets)
    }
}

/// Begins a packet between two hosts.
fn ip(from: IpAddr, to: IpAddr) -> PacketBuilderStep<IpHeaders> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => PacketBuilder::ipv6(from.octets(), to.octets(), 64),
        _ => panic!("one family"),
    }
}

/// Returns packets as they are read from a file.
pub(crate) fn captured(packets: &[Wired]) -> Vec<Captured> {
    (1..)
        .zip(packets)
        .map(|(number, packet)| Captured {
            number,
            time: packet.time,
            ip: packet.ip.clone(),
            cut: false,
        })
        .collect()
}
