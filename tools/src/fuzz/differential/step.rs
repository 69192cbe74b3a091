//! Steps of a case: packets of the peer and calls of the application. Numbers that depend on what a host chose are
//! relative, so that one step means the same to both hosts.

use std::fmt;
use std::net::IpAddr;

use super::super::packets::Path;

/// A step of a case.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A packet arrives.
    Packet(Packet),
    /// The application calls, with words for when.
    Call(Call, String),
}

/// A call of the application, on the one socket of its kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Call {
    /// Accepts a connection.
    Accept,
    /// Connects to the peer's port 443.
    Connect,
    /// Reads up to so many bytes of the connection.
    Read(usize),
    /// Writes so many bytes to the connection.
    Write(usize),
    /// Closes the sending direction.
    ShutdownWrite,
    /// Closes the socket.
    Close,
    /// Asks for the pending error of the connection.
    Error,
    /// Connects the socket for datagrams to the peer.
    UdpConnect,
    /// Reads a datagram.
    UdpRead,
    /// Sends a datagram of so many bytes to the peer.
    UdpWrite(usize),
}

/// The peer's port in datagrams.
pub(super) const PEER_UDP: u16 = 2_000;

/// The peer's port that a host connects to.
pub(super) const PEER_SERVER: u16 = 443;

/// Addresses of peers: a part of the networks for benchmarks and for documentation (RFC 2544, RFC 3849).
const PEERS: u32 = 1 << 16;
const PEERS_V4: u32 = 0xc613_0000;
const PEERS_V6: u128 = 0x2001_0db8_0001 << 80;

/// A port of the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Port {
    /// Of the listener, or of the socket for datagrams.
    Open,
    /// Of the socket that connects.
    Own,
    /// Of no socket.
    Closed,
}

/// A sequence number of the peer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Seq {
    /// So far from the next one.
    Next(i32),
    /// So far from the right edge of the window that the host advertised.
    Edge(i32),
}

/// The segment of a peer.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    /// The peer's port.
    pub(super) from: u16,
    pub(super) to: Port,
    pub(super) flags: u8,
    pub(super) seq: Seq,
    /// Distance of the acknowledgment from all that the host sent.
    pub(super) ack: i32,
    pub(super) window: u16,
    pub(super) urgent: u16,
    pub(super) options: Vec<Opt>,
    pub(super) len: usize,
    /// The difference of the payload's bytes from those of the stream.
    pub(super) twist: u8,
    /// The peer goes on behind this segment.
    pub(super) advances: bool,
}

/// An option of a segment.
#[derive(Clone, Debug)]
pub(super) enum Opt {
    /// As it is.
    Raw(Vec<u8>),
    /// Timestamps: the distance of the value from the peer's clock, and of the echo from the host's last value.
    Stamps(i32, i32),
    /// One block of a selective acknowledgment, from and to, as distances from all that the host sent.
    Sack(i32, i32),
}

/// The payload of IP.
#[derive(Clone, Debug)]
pub(super) enum Body {
    Tcp(Segment),
    /// A datagram: the peer's port, the host's, the length of the data.
    Udp(u16, Port, usize),
    /// An echo request: identifier, length of the data.
    Echo(u16, usize),
    /// A message with any body: type, code, the four bytes behind the checksum, body.
    Icmp(u8, u8, [u8; 4], Vec<u8>),
    /// An error: type, code, the four bytes behind the checksum; the first bytes of the host's last packet of a protocol.
    IcmpError(u8, u8, [u8; 4], Quoted),
    /// A part of another packet's payload.
    Fragment(Box<Part>),
}

/// The quote in an ICMP error of the peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quoted {
    /// The protocol of the packet.
    pub(super) proto: u8,
    /// Bytes of the packet.
    pub(super) len: usize,
    /// Difference of the sequence number, or of the ports.
    pub(super) off_by: u32,
}

/// One fragment.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) of: Body,
    pub(super) id: u16,
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) more: bool,
    /// The difference of the bytes from those of the packet.
    pub(super) twist: u8,
}

/// A change of the bytes of a packet.
#[derive(Clone, Debug)]
pub(super) enum Edit {
    /// Bytes of the IP header.
    Ip(usize, Vec<u8>),
    /// Bytes behind the headers of IP.
    Transport(usize, Vec<u8>),
    /// Flips bits of a byte behind the headers of IP.
    Flip(usize, u8),
    /// Adds to the length field of the IP header.
    Length(i32),
    /// Adds to the length field of the datagram.
    UdpLength(i32),
    /// Ends the packet here.
    Cut(usize),
    /// Adds so many bytes behind the packet.
    Pad(usize),
}

/// A packet of the peer.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    /// The words for it in the list of known differences and in reports.
    pub(super) label: String,
    pub(super) body: Body,
    /// Options of IPv4, of a length that four divides.
    pub(super) options: Vec<u8>,
    /// Extension headers of IPv6: type, and what follows the byte of the next header.
    pub(super) chain: Vec<(u8, Vec<u8>)>,
    /// Changes before the checksums are made right.
    pub(super) edits: Vec<Edit>,
    /// Changes after that.
    pub(super) faults: Vec<Edit>,
}

impl From<Call> for Step {
    fn from(call: Call) -> Self {
        Self::Call(call, String::new())
    }
}

impl Packet {
    /// Creates a packet without a fault.
    pub(super) fn new(label: impl Into<String>, body: Body) -> Self {
        Self {
            label: label.into(),
            body,
            options: Vec::new(),
            chain: Vec::new(),
            edits: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// Returns true if the packet is a segment whose options cannot be read: hosts need not be in the same state after it.
    pub(super) fn is_malformed(&self) -> bool {
        self.label.contains(" malformed")
    }
}

/// The addresses and ports of one run of a case.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// From the peer to the host.
    pub(super) path: Path,
    /// The port that is open; the next one is that of the socket that connects.
    pub(super) open: u16,
}

impl Place {
    pub(super) fn port(&self, port: Port) -> u16 {
        match port {
            Port::Open => self.open,
            Port::Own => self.open + 1,
            // Discard, which is bound nowhere.
            Port::Closed => 9,
        }
    }

    /// Returns the place of the run of this number: no two runs in a row share the peer or the ports.
    pub(super) fn of_run(number: u32, local: IpAddr) -> Self {
        let from = match local {
            IpAddr::V4(_) => IpAddr::from((PEERS_V4 | (number % PEERS)).to_be_bytes()),
            IpAddr::V6(_) => IpAddr::from((PEERS_V6 | u128::from(number % PEERS)).to_be_bytes()),
        };
        Self {
            path: Path { from, to: local },
            open: 10_000 + 2 * (number % 20_000) as u16,
        }
    }

    /// Returns true for the peer of another run.
    pub(super) fn is_of_another(&self, address: IpAddr) -> bool {
        let is_peer = match address {
            IpAddr::V4(address) => address.to_bits() & !(PEERS - 1) == PEERS_V4,
            IpAddr::V6(address) => address.to_bits() & !u128::from(PEERS - 1) == PEERS_V6,
        };
        is_peer && address != self.path.from
    }

    /// Returns a port of the host by the words that are the same for every run.
    pub(super) fn name(&self, port: u16) -> String {
        match port.wrapping_sub(self.open) {
            0 => "open".to_owned(),
            1 => "own".to_owned(),
            _ => port.to_string(),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packet(packet) => f.write_str(&packet.label),
            Self::Call(call, when) => write!(f, "call {call:?} {when}"),
        }
    }
}

/// Returns the bytes of a stream from `offset` on.
pub(super) fn pattern(offset: u32, len: usize, twist: u8) -> Vec<u8> {
    let byte = |at: u32| (at.wrapping_mul(31) >> 2) as u8 ^ twist;
    (0..len as u32)
        .map(|at| byte(offset.wrapping_add(at)))
        .collect()
}
