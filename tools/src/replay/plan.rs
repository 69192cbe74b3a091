//! Turns a captured session into the packets and actions to play.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::translate::Negotiated;
use crate::capture::{Direction, Segment, Session};

/// The reason why a session cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The capture began after the session did.
    #[error(
        "the capture begins inside the session (packet {number}), its SYN is missing: \
         start capturing before the connection is opened"
    )]
    Headless {
        /// The session's first packet.
        number: u64,
    },
    /// The server never answered the SYN.
    #[error(
        "the server never answered the SYN (packet {number}): there is nothing to compare with"
    )]
    Unanswered {
        /// The session's first packet.
        number: u64,
    },
    /// The capture lost packets.
    #[error(
        "bytes of the {side} are missing from the capture, from offset {offset} on: capture again with \
         a larger buffer (tcpdump -B)"
    )]
    Missing {
        /// The sender of the missing bytes.
        side: &'static str,
        /// Offset in its stream.
        offset: u64,
    },
}

/// An action of the server's application.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    /// Writes the stream up to this offset.
    WriteTo(u64),
    /// Closes its half.
    Close,
    /// Resets the connection.
    Abort,
}

/// One action, with the conditions for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Step {
    /// Time since the first SYN.
    pub(super) at: Duration,
    /// Number of the client's bytes that the server had acknowledged by then.
    pub(super) after: u64,
    /// The action.
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
    /// The client's address in the replay: the captured one, except for loopback, which no stack can
    /// have.
    pub client: SocketAddr,
    /// The server's address in the replay.
    pub server: SocketAddr,
    /// The bytes that the client sent.
    pub client_bytes: Vec<u8>,
    /// The bytes that the server sent.
    pub server_bytes: Vec<u8>,
    /// The captured server's initial sequence number.
    pub(super) server_isn: u32,
    /// The options that the captured server agreed to.
    pub(super) negotiated: Negotiated,
    /// The client's window scale.
    pub(super) scale: u8,
    /// The client's maximum segment size, from its SYN.
    pub(super) mss: u16,
}

/// Returns an address that a host can have: `address` itself, or for loopback the documentation address
/// number `host` (RFC 5737, RFC 3849).
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
    /// Builds the plan of `session`.
    ///
    /// # Errors
    /// Returns an error if the session is not complete.
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
            // The client's FIN counts as one more; the application waits only for bytes.
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

    /// Returns the number of packets that the client sends.
    pub fn packets(&self) -> usize {
        self.played.len()
    }
}
