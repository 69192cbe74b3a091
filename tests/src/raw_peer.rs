//! A stack on virtual time, and peers that send exactly the segments that a test asks for.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use netstack::base::Config;
use netstack::net::Stack;
use packet::RxChecksum;
use packet::ip::{IpPacket, Ipv4};
use packet::tcp::{TcpFlags, TcpHeader, TcpOptions, TcpView};
use tools::virtual_stack::{VirtualStack, bytes_of, segment};

/// SYN.
pub const SYN: TcpFlags = TcpFlags::SYN;
/// ACK.
pub const ACK: TcpFlags = TcpFlags::ACK;
/// RST.
pub const RST: TcpFlags = TcpFlags::RST;
/// FIN.
pub const FIN: TcpFlags = TcpFlags::FIN;

/// The address of the stack; every address of its /8 is on its link.
pub const OURS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

/// Returns the stack's address with a port.
pub fn ours(port: u16) -> SocketAddr {
    SocketAddr::new(OURS, port)
}

/// A segment that the stack sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Time since the start.
    pub at: Duration,
    /// The stack's address and port.
    pub from: SocketAddr,
    /// The peer's address and port.
    pub to: SocketAddr,
    /// The header.
    pub header: TcpHeader,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Sent {
    /// Returns flags, sequence number and acknowledgment number.
    pub fn numbers(&self) -> (TcpFlags, u32, u32) {
        (self.header.flags, self.header.seq, self.header.ack)
    }
}

/// A stack with one worker on virtual time, and the wire to it.
pub struct Wire {
    world: VirtualStack,
    /// Time since the start.
    pub now: Duration,
    next_timer: Option<Duration>,
}

impl Wire {
    /// Creates a stack at [`OURS`].
    pub fn new(config: Config) -> Self {
        let world = VirtualStack::new(config, &[(OURS, 8)], 1_500, 7).expect("a stack");
        Self {
            world,
            now: Duration::from_millis(1),
            next_timer: None,
        }
    }

    /// Returns the stack.
    pub fn stack(&self) -> &Stack {
        self.world.stack()
    }

    /// Queues a packet to be received with the next turn.
    pub fn queue(&mut self, packet: Vec<u8>) {
        self.world.deliver(packet, 0);
    }

    /// Sends a segment to the stack; returns what it sends at once.
    pub fn send(&mut self, packet: Vec<u8>) -> Vec<Sent> {
        self.queue(packet);
        self.settle()
    }

    /// Lets the stack do what can be done now; returns the TCP segments that it sends.
    pub fn settle(&mut self) -> Vec<Sent> {
        let packets = self.packets();
        let sent = packets.iter().filter_map(|packet| read(packet, self.now));
        sent.collect()
    }

    /// Lets the stack do what can be done now; returns the packets that it sends.
    pub fn packets(&mut self) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        self.next_timer = self
            .world
            .settle(self.now, &mut packets)
            .expect("the stack comes to rest");
        packets
    }

    /// Lets time pass, timer by timer; returns the TCP segments that the stack sends.
    pub fn pass(&mut self, time: Duration) -> Vec<Sent> {
        let end = self.now + time;
        let mut sent = self.settle();
        while let Some(next) = self.next_timer.filter(|next| *next <= end) {
            self.now = next.max(self.now);
            sent.extend(self.settle());
        }
        self.now = end;
        sent.extend(self.settle());
        sent
    }
}

/// Reads a segment that the stack sent; `None` if the packet is something else.
pub fn read(packet: &[u8], at: Duration) -> Option<Sent> {
    let ip = IpPacket::<Ipv4>::parse(packet).ok()?;
    let (src, dst) = (ip.src().into(), ip.dst().into());
    let tcp = TcpView::parse(src, dst, ip.payload(), RxChecksum::Unknown).ok()?;
    let header = tcp.header();
    Some(Sent {
        at,
        from: SocketAddr::new(src, header.src_port),
        to: SocketAddr::new(dst, header.dst_port),
        payload: ip.payload()[tcp.header_len()..].to_vec(),
        header,
    })
}

/// One peer: its address and what its segments say.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address and port.
    pub from: SocketAddr,
    /// The stack's address and port.
    pub to: SocketAddr,
    /// Options of its SYN.
    pub options: TcpOptions,
    /// The next sequence number.
    pub seq: u32,
    /// The next sequence number that it expects.
    pub ack: u32,
    /// The timestamp to echo.
    pub echo: u32,
    /// Its own timestamp.
    pub ts: u32,
}

impl Peer {
    /// Creates a peer at `from` that offers `options`.
    pub fn new(from: SocketAddr, to: SocketAddr, options: TcpOptions) -> Self {
        let ts = options.timestamps.map_or(0, |ts| ts.val);
        Self {
            from,
            to,
            options,
            seq: u32::MAX - 2,
            ack: 0,
            echo: 0,
            ts,
        }
    }

    /// Builds a packet with these flags and this payload, and moves on past it.
    pub fn packet(&mut self, flags: TcpFlags, payload: &[u8]) -> Vec<u8> {
        let mut options = TcpOptions::default();
        if flags.contains(SYN) {
            options = self.options;
        } else if let Some(ts) = &self.options.timestamps {
            options.timestamps = Some(*ts);
        }
        if let Some(ts) = &mut options.timestamps {
            (ts.val, ts.ecr) = (self.ts, self.echo);
        }
        options.authentication_len = self.options.authentication_len;
        let header = TcpHeader {
            seq: self.seq,
            ack: if flags.contains(ACK) { self.ack } else { 0 },
            flags,
            window: 30_000,
            options,
            ..TcpHeader::default()
        };
        let behind =
            payload.len() as u32 + u32::from(flags.contains(SYN)) + u32::from(flags.contains(FIN));
        self.seq = self.seq.wrapping_add(behind);
        build(self.from, self.to, &header, payload)
    }

    /// Takes in what the stack sent to this peer.
    pub fn hear(&mut self, sent: &Sent) {
        let behind = sent.payload.len() as u32
            + u32::from(sent.header.flags.contains(SYN))
            + u32::from(sent.header.flags.contains(FIN));
        self.ack = sent.header.seq.wrapping_add(behind);
        self.echo = sent.header.options.timestamps.map_or(0, |ts| ts.val);
    }

    /// Sends a SYN, and takes in the SYN-ACK, which it returns.
    pub fn syn(&mut self, wire: &mut Wire) -> Option<Sent> {
        let sent = wire.send(self.packet(SYN, b""));
        let syn_ack = sent.into_iter().find(|sent| sent.to == self.from)?;
        self.hear(&syn_ack);
        Some(syn_ack)
    }

    /// Performs the handshake; returns what the stack sent in answer to its last segment.
    pub fn open(&mut self, wire: &mut Wire) -> Vec<Sent> {
        let syn_ack = self.syn(wire).expect("a SYN-ACK");
        assert_eq!(syn_ack.header.flags, SYN | ACK, "{syn_ack:?}");
        wire.send(self.packet(ACK, b""))
    }
}

/// Builds a packet with a TCP segment.
///
/// # Panics
///
/// Panics if it does not fit an MTU of 1,500 bytes.
pub fn build(from: SocketAddr, to: SocketAddr, header: &TcpHeader, payload: &[u8]) -> Vec<u8> {
    bytes_of(&segment(from, to, header, payload).expect("a packet"))
}
