//! From a captured session to what is to be played.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::translate::Negotiated;
use crate::capture::{Direction, Segment, Session};

/// Why a session cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The capture began after the session.
    #[error(
        "the capture begins inside the session (packet {number}), its SYN is missing: \
         start capturing before the connection is opened"
    )]
    Headless {
        /// The session's first packet.
        number: usize,
    },
    /// The server never answered the SYN.
    #[error(
        "the server never answered the SYN (packet {number}): there is nothing to compare with"
    )]
    Unanswered {
        /// The session's first packet.
        number: usize,
    },
    /// The capture lost packets.
    #[error(
        "the capture misses bytes of the {side} from offset {offset} on: capture again with a \
         larger buffer (tcpdump -B)"
    )]
    Missing {
        /// Whose bytes.
        side: &'static str,
        /// Offset in its stream.
        offset: u64,
    },
}

/// What the server's application does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    /// Writes the stream up to this offset.
    WriteTo(u64),
    /// Ends its half.
    Close,
    /// Resets the connection.
    Abort,
}

/// One action, when and after what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Step {
    /// Time since the first SYN.
    pub(super) at: Duration,
    /// Bytes of the client that the server had acknowledged by then.
    pub(super) after: u64,
    /// What is done.
    pub(super) action: Action,
}

/// One session, ready to be played.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The client's packets in the order of the capture, with the time since the first SYN.
    pub(super) played: Vec<(Duration, Segment)>,
    pub(super) steps: Vec<Step>,
    /// The session as captured.
    pub session: Session,
    /// The client's address in the replay: as captured, but for loopback, which no stack can have.
    pub client: SocketAddr,
    /// The server's address in the replay.
    pub server: SocketAddr,
    /// What the client sent.
    pub client_bytes: Vec<u8>,
    /// What the server sent.
    pub server_bytes: Vec<u8>,
    /// The captured server's initial sequence number.
    pub(super) server_isn: u32,
    /// What the captured server agreed to.
    pub(super) negotiated: Negotiated,
    /// The shift of the client's windows.
    pub(super) scale: u8,
    /// The client's maximum segment size, as it said in its SYN.
    pub(super) mss: u16,
}

/// An address that a host can have: for loopback, number `host` of those for documentation (RFC 5737,
/// RFC 3849).
fn playable(address: SocketAddr, host: u8) -> SocketAddr {
    let ip: IpAddr = match address.ip() {
        IpAddr::V4(ip) if ip.is_loopback() => [192, 0, 2, host].into(),
        IpAddr::V6(ip) if ip.is_loopback() => {
            [0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(host)].into()
        }
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

impl Plan {
    /// Checks that `session` is whole and takes it apart.
    pub fn of(session: &Session) -> Result<Self, PlanError> {
        let number = session.segments.first().map_or(0, |segment| segment.number);
        if session.headless {
            return Err(PlanError::Headless { number });
        }
        let Some(from_server) = &session.from_server else {
            return Err(PlanError::Unanswered { number });
        };
        for (side, stream) in [("client", &session.from_client), ("server", from_server)] {
            if let Some(offset) = stream.first_gap() {
                return Err(PlanError::Missing { side, offset });
            }
        }
        let start = session.segments.first().map_or(Duration::ZERO, |s| s.time);
        let since = |segment: &Segment| segment.time.saturating_sub(start);
        let played: Vec<(Duration, Segment)> = session
            .segments
            .iter()
            .filter(|segment| segment.direction == Direction::FromClient)
            .map(|segment| (since(segment), segment.clone()))
            .collect();
        let mut steps = Vec::new();
        let mut written = 0;
        let mut ended = false;
        let mut negotiated = Negotiated::default();
        for segment in &session.segments {
            if segment.direction != Direction::FromServer {
                continue;
            }
            if segment.syn {
                negotiated = Negotiated::of(segment);
            }
            let acknowledged = session.from_client.offset(segment.ack).unwrap_or(0);
            // The client's FIN is acknowledged as one more; the application waits for bytes only.
            let sent = session.from_client.end().unwrap_or(u64::MAX);
            let mut step = |action| {
                steps.push(Step {
                    at: since(segment),
                    after: if segment.has_ack {
                        acknowledged.min(sent)
                    } else {
                        0
                    },
                    action,
                });
            };
            if segment.rst {
                if !ended {
                    step(Action::Abort);
                }
                break;
            }
            let first = segment.seq.wrapping_add(u32::from(segment.syn));
            let upto = from_server
                .offset(first)
                .map_or(0, |offset| offset + segment.payload.len() as u64);
            if upto > written && !segment.payload.is_empty() {
                written = upto;
                step(Action::WriteTo(upto));
            }
            if segment.fin && !ended {
                ended = true;
                step(Action::Close);
            }
        }
        Ok(Self {
            scale: played
                .first()
                .map_or(0, |(_, syn)| negotiated.scale_of(syn)),
            mss: played
                .first()
                .map_or(536, |(_, syn)| super::translate::mss(syn)),
            played,
            steps,
            client_bytes: session.from_client.bytes(),
            server_bytes: from_server.bytes(),
            server_isn: from_server.isn(),
            negotiated,
            client: playable(session.client, 1),
            server: playable(session.server, 2),
            session: session.clone(),
        })
    }

    /// How many packets the client sends.
    pub fn packets(&self) -> usize {
        self.played.len()
    }
}
