//! Turns a captured session into the packets and actions to play.

use std::time::Duration;

use super::errors::Errors;
use super::host::Opening;
use super::places::Place;
use super::translate::Negotiated;
use crate::capture::{Checksum, Direction, Segment, Session, Stream};

/// Longest pause of a capture that is played. A damaged file can claim centuries: longer ones are left out.
const MAX_PAUSE: Duration = Duration::from_secs(86_400);

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
    /// The capture kept only the first bytes of packets.
    #[error(
        "only the first bytes of packet {number} were captured: capture whole packets (tcpdump -s 0)"
    )]
    Cut {
        /// The packet.
        number: u64,
    },
}

/// The side of a session that the stack takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The stack opens the connection.
    Client,
    /// The stack accepts the connection.
    Server,
}

impl Role {
    fn direction(self) -> Direction {
        match self {
            Self::Client => Direction::FromClient,
            Self::Server => Direction::FromServer,
        }
    }

    /// Returns the name of the stack's side, then of the other.
    pub fn names(self) -> [&'static str; 2] {
        match self {
            Self::Client => ["client", "server"],
            Self::Server => ["server", "client"],
        }
    }
}

/// An action of the host's application.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    /// Writes the stream up to this offset.
    WriteTo(u64),
    /// Closes its half.
    ShutDown,
    /// Closes the connection: what comes afterwards is refused.
    Close,
    /// Resets the connection.
    Abort,
}

/// One action, with the conditions for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Step {
    /// Time since the start of the capture.
    pub(super) at: Duration,
    /// Number of the peer's bytes that the host had acknowledged by then.
    pub(super) after: u64,
    /// The action.
    pub(super) action: Action,
}

/// One session, ready to be played.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The peer's packets in the order of the capture, with the time since the start of the capture.
    pub(super) played: Vec<(Duration, Segment)>,
    pub(super) steps: Vec<Step>,
    /// The session as captured.
    pub session: Session,
    /// The side that the stack takes.
    pub role: Role,
    /// The ends in the replay.
    pub place: Place,
    /// The bytes that the peer sent.
    pub peer_bytes: Vec<u8>,
    /// The bytes that the host sent.
    pub our_bytes: Vec<u8>,
    pub(super) opening: Opening,
    /// When the session begins.
    pub(super) start: Duration,
    /// The captured host's initial sequence number; `None` if it refused.
    pub(super) our_isn: Option<u32>,
    /// True if the host must reset the connection.
    pub(super) must_reset: bool,
    /// The options that the captured host agreed to.
    pub(super) negotiated: Negotiated,
    /// The peer's window scale.
    pub(super) scale: u8,
    /// True if the windows of the host are scaled.
    pub(super) ours_scaled: bool,
    /// Segment size of the peer's large packets.
    pub(super) mss: u16,
    pub(super) errors: Errors,
    /// The end of the capture.
    pub(super) capture_end: Duration,
}

/// The clock of a replay: times since the first packet, without long pauses or steps back.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Captured time and played time of the places where the clock was changed.
    last: Option<(Duration, Duration)>,
}

impl Clock {
    /// Returns the played time of each captured time, which come in file order.
    pub fn play(&mut self, captured: Duration) -> Duration {
        let played = match self.last {
            None => Duration::ZERO,
            Some((before, played)) => {
                let pause = Some(captured.saturating_sub(before));
                played
                    + pause
                        .filter(|pause| *pause <= MAX_PAUSE)
                        .unwrap_or_default()
            }
        };
        let latest = self
            .last
            .map_or(captured, |(before, _)| before.max(captured));
        self.last = Some((latest, played));
        played
    }
}

impl Plan {
    /// Builds the plan of `session`, in which the stack takes one side. `time` returns the played time of a packet
    /// by its number.
    ///
    /// # Errors
    /// Returns an error if the session is not complete.
    pub fn of(
        session: &Session,
        role: Role,
        time: &impl Fn(u64) -> Duration,
    ) -> Result<Self, PlanError> {
        Self::with_errors(session, role, time, Errors::default())
    }

    /// As [`Plan::of`], with ICMP errors about the session's packets.
    ///
    /// # Errors
    /// As [`Plan::of`]. An attempt to connect that an ICMP error answered is complete.
    pub(super) fn with_errors(
        session: &Session,
        role: Role,
        time: &impl Fn(u64) -> Duration,
        errors: Errors,
    ) -> Result<Self, PlanError> {
        let ours = role.direction();
        let is_answered = role == Role::Client && !errors.played.is_empty();
        let refused = check(session, is_answered)?;
        let streams = [Some(&session.from_client), session.from_server.as_ref()];
        let (our_stream, peer_stream) = match role {
            Role::Client => (streams[0], streams[1]),
            Role::Server => (streams[1], streams[0]),
        };
        let ends = match role {
            Role::Client => (session.client, session.server),
            Role::Server => (session.server, session.client),
        };
        let syn = |direction| {
            let mut of = session.segments.iter();
            of.find(|segment| segment.direction == direction && segment.syn)
        };
        let our_options = syn(ours).map(|syn| syn.options);
        let peer_options = syn(ours.other()).map(|syn| syn.options).unwrap_or_default();
        let negotiated = our_options.as_ref().map(Negotiated::of).unwrap_or_default();
        let opening = match role {
            _ if session.simultaneous => Opening::Connects,
            Role::Client => Opening::Connects,
            Role::Server if refused => Opening::Nothing,
            Role::Server => Opening::Listens,
        };
        let actions = Actions::of(session, ours, our_stream, peer_stream, time);
        let scale = negotiated.scale_of(&peer_options);
        let played = session.segments.iter();
        Ok(Self {
            played: played
                .filter(|segment| segment.direction != ours)
                .map(|segment| (time(segment.number), segment.clone()))
                .collect(),
            steps: actions.steps,
            must_reset: actions.must_reset || (refused && role == Role::Server),
            role,
            place: Place::of(0, ends.0, ends.1),
            peer_bytes: peer_stream.map(Stream::bytes).unwrap_or_default(),
            our_bytes: our_stream.map(Stream::bytes).unwrap_or_default(),
            opening,
            start: time(session.segments.first().map_or(0, |segment| segment.number)),
            our_isn: our_stream.map(Stream::isn),
            negotiated,
            scale,
            ours_scaled: peer_options.window_scale.is_some(),
            mss: peer_options.mss.unwrap_or(536).clamp(88, 1_460),
            errors,
            capture_end: Duration::MAX,
            session: session.clone(),
        })
    }

    /// Returns the number of packets that the peer sends.
    pub fn packets(&self) -> usize {
        self.played.len()
    }

    /// Returns the side of the session that the stack takes.
    pub(super) fn ours(&self) -> Direction {
        self.role.direction()
    }

    /// Returns the largest window that the captured host offered.
    pub fn largest_window(&self) -> u64 {
        let ours = self.session.segments.iter();
        let ours = ours.filter(|segment| segment.direction == self.ours());
        let mut scale = 0;
        let mut largest = 0;
        for segment in ours {
            if segment.syn {
                let offered = segment.options.window_scale.filter(|_| self.ours_scaled);
                scale = offered.unwrap_or(0).min(14);
                continue;
            }
            largest = largest.max(u64::from(segment.window) << scale);
        }
        largest
    }

    /// Returns true if the host opens the connection, or is one of two that do.
    pub fn connects(&self) -> bool {
        self.opening == Opening::Connects
    }

    /// Returns true if the host's application resets the connection.
    pub fn resets(&self) -> bool {
        self.steps.iter().any(|step| step.action == Action::Abort)
    }

    /// Moves the host to another port.
    pub(super) fn use_port(&mut self, port: u16) {
        self.place.ours.set_port(port);
    }
}

/// Returns an error if the session is not complete, and whether the server refused it. `is_answered`: by an ICMP error.
fn check(session: &Session, is_answered: bool) -> Result<bool, PlanError> {
    let first = session.segments.first().map_or(0, |segment| segment.number);
    if session.headless {
        return Err(PlanError::Headless { number: first });
    }
    if let Some(cut) = session.segments.iter().find(|segment| segment.cut) {
        return Err(PlanError::Cut { number: cut.number });
    }
    let mut from_server = session.segments.iter();
    let answer = from_server.find(|segment| segment.direction == Direction::FromServer);
    let refused = session.from_server.is_none() && answer.is_some_and(|answer| answer.rst);
    if session.from_server.is_none() && !refused && !is_answered {
        return Err(PlanError::Unanswered { number: first });
    }
    let streams = [Some(&session.from_client), session.from_server.as_ref()];
    for (side, stream) in ["client", "server"].into_iter().zip(streams) {
        if let Some(offset) = stream.and_then(Stream::first_gap) {
            return Err(PlanError::Missing { side, offset });
        }
    }
    Ok(refused)
}

/// The actions of the host's application.
struct Actions {
    steps: Vec<Step>,
    must_reset: bool,
}

impl Actions {
    fn of(
        session: &Session,
        ours: Direction,
        our_stream: Option<&Stream>,
        peer_stream: Option<&Stream>,
        time: &impl Fn(u64) -> Duration,
    ) -> Self {
        let reset = genuine_reset(session, ours, our_stream);
        let mut actions = Self {
            steps: Vec::new(),
            must_reset: false,
        };
        let (mut written, mut ended, mut peer_ended) = (0, false, false);
        let sent = peer_stream.and_then(Stream::end).unwrap_or(u64::MAX);
        for (index, segment) in session.segments.iter().enumerate() {
            if segment.direction != ours {
                peer_ended |= segment.fin && segment.checksum == Checksum::Right;
                continue;
            }
            // What the peer discarded was sent again.
            if segment.checksum == Checksum::Wrong || (segment.rst && Some(index) != reset) {
                continue;
            }
            let acknowledged = peer_stream.and_then(|stream| stream.offset(segment.ack));
            // The peer's FIN counts as one more; the application waits only for bytes.
            let after = acknowledged
                .filter(|_| segment.has_ack)
                .unwrap_or(0)
                .min(sent);
            let mut step = |action| {
                actions.steps.push(Step {
                    at: time(segment.number),
                    after,
                    action,
                });
            };
            if segment.rst {
                if !ended {
                    step(Action::Abort);
                }
                actions.must_reset = !(ended && peer_ended);
                break;
            }
            let first = segment.seq.wrapping_add(u32::from(segment.syn));
            let upto = our_stream
                .and_then(|stream| stream.offset(first))
                .map_or(0, |offset| offset + segment.payload.len() as u64);
            if upto > written && !segment.payload.is_empty() {
                written = upto;
                step(Action::WriteTo(upto));
            }
            if segment.fin && !ended {
                ended = true;
                step(if reset.is_some() {
                    Action::Close
                } else {
                    Action::ShutDown
                });
            }
        }
        actions
    }
}

/// Returns the position of the host's reset. One that has another sequence number than what the host
/// would send next, or what the peer acknowledged, is forged, and so is one after which the host went on.
fn genuine_reset(session: &Session, ours: Direction, our_stream: Option<&Stream>) -> Option<usize> {
    let Some(stream) = our_stream else {
        return session
            .segments
            .iter()
            .position(|segment| segment.direction == ours && segment.rst);
    };
    let mut furthest = stream.isn();
    let mut acknowledged = None;
    let mut found = None;
    for (index, segment) in session.segments.iter().enumerate() {
        if segment.direction != ours {
            acknowledged = segment.has_ack.then_some(segment.ack).or(acknowledged);
        } else if segment.rst {
            let fits = segment.seq == furthest || Some(segment.seq) == acknowledged;
            if fits && found.is_none() {
                found = Some(index);
            }
        } else {
            // It went on.
            found = None;
            let end = segment.seq.wrapping_add(segment.sequence_len());
            if end.wrapping_sub(furthest) < 1 << 31 {
                furthest = end;
            }
        }
    }
    found
}
