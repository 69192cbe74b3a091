//! The TCP sessions of a capture: client, server, and the segments of each in order.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use etherparse::{NetSlice, SlicedPacket, TcpOptionElement, TransportSlice};

use super::{Captured, Stream};

/// The direction of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the side that sent the first SYN.
    FromClient,
    /// From the other side.
    FromServer,
}

/// One captured TCP segment, with the fields that a replay needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Number of its packet in the file, from 1.
    pub number: u64,
    /// Time since the epoch.
    pub time: Duration,
    /// Its direction.
    pub direction: Direction,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number; 0 without ACK.
    pub ack: u32,
    /// SYN flag.
    pub syn: bool,
    /// ACK flag.
    pub has_ack: bool,
    /// FIN flag.
    pub fin: bool,
    /// RST flag.
    pub rst: bool,
    /// Timestamps option: value and echo.
    pub timestamps: Option<(u32, u32)>,
    /// Payload bytes.
    pub payload: Vec<u8>,
    /// The whole IP packet as captured, without link padding.
    pub ip: Vec<u8>,
    /// Offset of its TCP header.
    pub tcp_at: usize,
}

/// One TCP session.
#[derive(Clone, Debug)]
pub struct Session {
    /// The side that opened it.
    pub client: SocketAddr,
    /// The side that accepted it.
    pub server: SocketAddr,
    /// True if the capture begins after the handshake did: such a session cannot be replayed.
    pub headless: bool,
    /// Its segments in file order.
    pub segments: Vec<Segment>,
    /// The client's bytes.
    pub from_client: Stream,
    /// The server's bytes; `None` until its SYN is seen.
    pub from_server: Option<Stream>,
}

impl Session {
    /// Returns true if the side closed its half with a FIN.
    pub fn ended_by(&self, direction: Direction) -> bool {
        match direction {
            Direction::FromClient => self.from_client.end().is_some(),
            Direction::FromServer => self.from_server.as_ref().is_some_and(|s| s.end().is_some()),
        }
    }
}

/// Returns every TCP session of the packets, in the order of their first packets.
///
/// A SYN with a new initial sequence number on the same pair of addresses begins a new session.
/// Skips fragments and packets that are not well-formed TCP.
pub fn sessions(packets: &[Captured]) -> Vec<Session> {
    let mut sessions: Vec<Session> = Vec::new();
    let mut latest: HashMap<(SocketAddr, SocketAddr), usize> = HashMap::new();
    for packet in packets {
        let Some((from, to, mut segment)) = tcp_segment(packet) else {
            continue;
        };
        let pair = if from < to { (from, to) } else { (to, from) };
        let opens = segment.syn && !segment.has_ack;
        let known = latest.get(&pair).copied().filter(|at| {
            let session: &Session = &sessions[*at];
            !opens || (session.client == from && session.from_client.isn() == segment.seq)
        });
        let at = known.unwrap_or_else(|| {
            sessions.push(Session {
                client: from,
                server: to,
                headless: !opens,
                segments: Vec::new(),
                from_client: Stream::new(segment.seq),
                from_server: None,
            });
            latest.insert(pair, sessions.len() - 1);
            sessions.len() - 1
        });
        let session = &mut sessions[at];
        segment.direction = if from == session.client {
            Direction::FromClient
        } else {
            Direction::FromServer
        };
        session.take(segment);
    }
    sessions
}

impl Session {
    fn take(&mut self, segment: Segment) {
        let stream = match segment.direction {
            Direction::FromClient => Some(&mut self.from_client),
            Direction::FromServer => {
                if segment.syn && self.from_server.is_none() {
                    self.from_server = Some(Stream::new(segment.seq));
                }
                self.from_server.as_mut()
            }
        };
        if let Some(stream) = stream
            && !segment.rst
        {
            let first = segment.seq.wrapping_add(u32::from(segment.syn));
            stream.add(first, &segment.payload);
            if segment.fin {
                stream.add_fin(first.wrapping_add(segment.payload.len() as u32));
            }
        }
        self.segments.push(segment);
    }
}

/// Parses a packet as a TCP segment with its sender and receiver; `None` for any other packet. One packet
/// does not show its direction, which is left at [`Direction::FromClient`].
pub fn tcp_segment(packet: &Captured) -> Option<(SocketAddr, SocketAddr, Segment)> {
    let sliced = SlicedPacket::from_ip(&packet.ip).ok()?;
    let (src, dst): (IpAddr, IpAddr) = match sliced.net.as_ref()? {
        NetSlice::Ipv4(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        NetSlice::Ipv6(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        NetSlice::Arp(_) => return None,
    };
    if sliced.is_ip_payload_fragmented() {
        return None;
    }
    let TransportSlice::Tcp(tcp) = sliced.transport.as_ref()? else {
        return None;
    };
    // The IP payload ends where the IP header says; link padding may follow.
    let tcp_at = tcp.slice().as_ptr().addr() - packet.ip.as_ptr().addr();
    let len = tcp_at + tcp.slice().len();
    let timestamps = tcp.options_iterator().find_map(|option| match option {
        Ok(TcpOptionElement::Timestamp(value, echo)) => Some((value, echo)),
        _ => None,
    });
    let segment = Segment {
        number: packet.number,
        time: packet.time,
        direction: Direction::FromClient,
        seq: tcp.sequence_number(),
        ack: if tcp.ack() {
            tcp.acknowledgment_number()
        } else {
            0
        },
        syn: tcp.syn(),
        has_ack: tcp.ack(),
        fin: tcp.fin(),
        rst: tcp.rst(),
        timestamps,
        payload: tcp.payload().to_vec(),
        ip: packet.ip.get(..len)?.to_vec(),
        tcp_at,
    };
    Some((
        SocketAddr::new(src, tcp.source_port()),
        SocketAddr::new(dst, tcp.destination_port()),
        segment,
    ))
}
