//! The TCP sessions of a capture: client, server, and the segments of each in order.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::defragment::defragment;
use super::packet::{Options, Packet, Transport, flags};
use super::{Captured, Stream, checksum};

/// The direction of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the side that sent the first SYN.
    FromClient,
    /// From the other side.
    FromServer,
}

/// The state of a captured segment's checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checksum {
    /// It is right, or cannot be judged: cut packets, and hosts whose device computes it.
    Right,
    /// It is wrong: the receiver discarded the segment.
    Wrong,
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
    /// The window as in the header, not scaled.
    pub window: u16,
    /// Its options.
    pub options: Options,
    /// The state of its checksum, by which its receiver takes it or not.
    pub checksum: Checksum,
    /// Payload bytes.
    pub payload: Vec<u8>,
    /// True if only its first bytes were captured.
    pub cut: bool,
    /// The whole IP packet as captured, without link padding.
    pub ip: Vec<u8>,
    /// Offset of its TCP header.
    pub tcp_at: usize,
    /// Lengths of the fragments that it came in; none if it was whole.
    pub pieces: Vec<usize>,
}

impl Segment {
    /// Returns the number of sequence numbers that it takes.
    pub fn sequence_len(&self) -> u32 {
        self.payload.len() as u32 + u32::from(self.syn) + u32::from(self.fin)
    }

    fn opens(&self) -> bool {
        self.syn && !self.has_ack
    }
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
    /// True if both sides opened it at the same time (RFC 9293 section 3.5).
    pub simultaneous: bool,
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
/// A SYN with a new initial sequence number on the same pair of addresses begins a new session. Fragments
/// are put together. Skips packets that are not well-formed TCP.
pub fn sessions(packets: &[Captured]) -> Vec<Session> {
    let mut sessions: Vec<Session> = Vec::new();
    let mut latest: HashMap<(SocketAddr, SocketAddr), usize> = HashMap::new();
    for whole in defragment(packets) {
        let Some((from, to, mut segment)) = tcp_segment(&whole.captured) else {
            continue;
        };
        segment.pieces = whole.pieces;
        let pair = if from < to { (from, to) } else { (to, from) };
        let known = latest.get(&pair).copied();
        let known = known.filter(|at| {
            let session = sessions.get_mut(*at);
            session.is_some_and(|session| session.continues(from, &segment))
        });
        let at = known.unwrap_or_else(|| {
            sessions.push(Session::begun_by(from, to, &segment));
            latest.insert(pair, sessions.len() - 1);
            sessions.len() - 1
        });
        if let Some(session) = sessions.get_mut(at) {
            segment.direction = session.direction_from(from);
            session.segments.push(segment);
        }
    }
    for session in &mut sessions {
        session.judge_checksums();
        session.fill_streams();
    }
    sessions
}

impl Session {
    /// Begins a session with its first captured segment. A SYN-ACK may have been captured before the SYN.
    fn begun_by(from: SocketAddr, to: SocketAddr, segment: &Segment) -> Self {
        let answers = segment.syn && segment.has_ack;
        let (client, server) = if answers { (to, from) } else { (from, to) };
        Self {
            client,
            server,
            headless: !segment.opens(),
            simultaneous: false,
            segments: Vec::new(),
            from_client: Stream::new(segment.seq),
            from_server: None,
        }
    }

    fn direction_from(&self, from: SocketAddr) -> Direction {
        if from == self.client {
            Direction::FromClient
        } else {
            Direction::FromServer
        }
    }

    /// Returns true if a segment belongs to this session, and not to one that succeeds it. Notes what a SYN
    /// says about its opening.
    fn continues(&mut self, from: SocketAddr, segment: &Segment) -> bool {
        if !segment.opens() {
            return true;
        }
        let direction = self.direction_from(from);
        let syn_of = |direction| {
            let mut of = self
                .segments
                .iter()
                .filter(move |s| s.direction == direction);
            of.find(|segment| segment.syn)
                .map(|segment| (segment.seq, segment.ack))
        };
        if let Some((seq, _)) = syn_of(direction) {
            return seq == segment.seq;
        }
        match (direction, syn_of(direction.other())) {
            // The SYN after its SYN-ACK.
            (Direction::FromClient, Some((_, ack))) => {
                let answered = ack == segment.seq.wrapping_add(1);
                self.headless &= !answered;
                answered
            }
            // Another SYN before anything was acknowledged.
            (Direction::FromServer, Some(_)) => {
                self.simultaneous = self.segments.iter().all(|segment| segment.opens());
                self.simultaneous
            }
            _ => false,
        }
    }

    /// Forgives wrong checksums where most of a side are wrong: then its device computes them, after the
    /// capture.
    fn judge_checksums(&mut self) {
        for direction in [Direction::FromClient, Direction::FromServer] {
            let mut of: Vec<&mut Segment> = self
                .segments
                .iter_mut()
                .filter(|segment| segment.direction == direction)
                .collect();
            let wrong = |segment: &&mut Segment| segment.checksum == Checksum::Wrong;
            if of.iter().filter(|segment| wrong(segment)).count() * 2 > of.len() {
                for segment in &mut of {
                    segment.checksum = Checksum::Right;
                }
            }
        }
    }

    /// Collects the bytes of both directions; not those that their receiver discarded.
    fn fill_streams(&mut self) {
        let first = |direction| {
            let mut of = self
                .segments
                .iter()
                .filter(move |s| s.direction == direction);
            of.find(|segment| segment.syn && segment.checksum == Checksum::Right)
                .map(|segment| segment.seq)
        };
        if let Some(isn) = first(Direction::FromClient) {
            self.from_client = Stream::new(isn);
        }
        self.from_server = first(Direction::FromServer).map(Stream::new);
        for segment in &self.segments {
            let stream = match segment.direction {
                Direction::FromClient => Some(&mut self.from_client),
                Direction::FromServer => self.from_server.as_mut(),
            };
            let Some(stream) = stream else { continue };
            if segment.rst || segment.checksum == Checksum::Wrong {
                continue;
            }
            let first = segment.seq.wrapping_add(u32::from(segment.syn));
            stream.add(first, &segment.payload);
            if segment.fin {
                stream.add_fin(first.wrapping_add(segment.payload.len() as u32));
            }
        }
    }
}

impl Direction {
    /// Returns the opposite direction.
    pub fn other(self) -> Self {
        match self {
            Self::FromClient => Self::FromServer,
            Self::FromServer => Self::FromClient,
        }
    }
}

/// Parses a packet as a TCP segment with its sender and receiver; `None` for any other packet. One packet
/// does not show its direction, which is left at [`Direction::FromClient`].
pub fn tcp_segment(packet: &Captured) -> Option<(SocketAddr, SocketAddr, Segment)> {
    let parsed = Packet::parse(&packet.ip, packet.ip.len() as u32)?;
    if parsed.fragment.is_some() {
        return None;
    }
    let Transport::Tcp(tcp) = &parsed.transport else {
        return None;
    };
    let checksum = match checksum::is_right(&parsed) {
        Some(false) if !packet.cut => Checksum::Wrong,
        _ => Checksum::Right,
    };
    let segment = Segment {
        number: packet.number,
        time: packet.time,
        direction: Direction::FromClient,
        seq: tcp.seq,
        ack: if tcp.has(flags::ACK) { tcp.ack } else { 0 },
        syn: tcp.has(flags::SYN),
        has_ack: tcp.has(flags::ACK),
        fin: tcp.has(flags::FIN),
        rst: tcp.has(flags::RST),
        window: tcp.window,
        options: tcp.options,
        checksum,
        payload: tcp.payload.to_vec(),
        cut: packet.cut,
        ip: parsed.ip.to_vec(),
        tcp_at: parsed.payload_at,
        pieces: Vec::new(),
    };
    Some((
        SocketAddr::new(parsed.source, tcp.source_port),
        SocketAddr::new(parsed.destination, tcp.destination_port),
        segment,
    ))
}
