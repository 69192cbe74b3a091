//! The interface between a connection and its congestion control algorithm.
//!
//! A connection counts what is in flight, finds losses and measures the path. The algorithm gets these
//! signals and answers with a congestion window and, if it wants to, with a pacing rate. It never sees a
//! packet, a clock or a lock, and it decides nothing about which bytes are lost.
//!
//! * [`Algorithm`] names an algorithm. A stack, a listener or a socket chooses one.
//! * [`CongestionControl`] is one connection's state of it.
//!
//! A program may bring an algorithm of its own:
//!
//! ```
//! use netstack::tcp::congestion::{
//!     Acked, Algorithm, CongestionControl, Definition, Loss, Start, Window,
//! };
//!
//! /// Keeps sixteen segments in flight whatever happens.
//! #[derive(Debug)]
//! struct Fixed;
//!
//! impl CongestionControl for Fixed {
//!     fn on_ack(&mut self, window: &mut Window, acked: &Acked) {
//!         window.cwnd = 16 * acked.mss;
//!     }
//!     fn on_loss(&mut self, _window: &mut Window, _loss: &Loss) {}
//!     fn on_timeout(&mut self, window: &mut Window, loss: &Loss) {
//!         window.cwnd = loss.mss;
//!     }
//!     fn on_undo(&mut self, _window: &mut Window) {}
//! }
//!
//! static FIXED: Definition = Definition::new("fixed", |_: &Start| Box::new(Fixed));
//!
//! let mut config = netstack::Config::default();
//! config.tcp.congestion = Algorithm::from(&FIXED);
//! assert_eq!(config.tcp.congestion.name(), "fixed");
//! ```

use core::fmt;
use core::hash::{Hash, Hasher};
use core::num::NonZeroU64;
use core::time::Duration;

use super::time::Instant;

/// A congestion control algorithm: a name, and a way to make the state of a connection.
#[derive(Clone, Copy)]
pub struct Algorithm(&'static Definition);

/// The name of an algorithm, and the function that makes its state for a connection.
pub struct Definition {
    name: &'static str,
    source: Source,
}

/// Where the state of an algorithm comes from.
#[derive(Clone, Copy)]
pub(crate) enum Source {
    /// The stack brings the algorithm.
    BuiltIn(BuiltIn),
    /// A program brings the algorithm, and makes its state.
    Foreign(fn(&Start) -> Box<dyn CongestionControl>),
}

/// The algorithms that the stack brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BuiltIn {
    NewReno,
    Cubic,
    Bbr,
}

impl Definition {
    /// Defines an algorithm. `make` is called when a connection opens, when it changes to this algorithm,
    /// and when it is used again after it was idle.
    pub const fn new(name: &'static str, make: fn(&Start) -> Box<dyn CongestionControl>) -> Self {
        let source = Source::Foreign(make);
        Self { name, source }
    }

    /// Defines an algorithm that the stack brings.
    pub(crate) const fn built_in(name: &'static str, algorithm: BuiltIn) -> Self {
        let source = Source::BuiltIn(algorithm);
        Self { name, source }
    }
}

impl Algorithm {
    /// Creates the handle of a definition.
    pub(crate) const fn of(definition: &'static Definition) -> Self {
        Self(definition)
    }

    /// Returns the name.
    pub const fn name(self) -> &'static str {
        self.0.name
    }

    /// Returns where the state of a connection comes from.
    pub(crate) fn source(self) -> Source {
        self.0.source
    }
}

impl From<&'static Definition> for Algorithm {
    fn from(definition: &'static Definition) -> Self {
        Self(definition)
    }
}

impl PartialEq for Algorithm {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Algorithm {}

impl Hash for Algorithm {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl fmt::Debug for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Algorithm({})", self.name())
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The state of a congestion control algorithm for one connection.
///
/// The connection calls it in the order in which things happen. After each call it bounds the window: at
/// least one segment, and a threshold of at least two.
pub trait CongestionControl: fmt::Debug + Send {
    /// Takes an acknowledgment that delivered something.
    fn on_ack(&mut self, window: &mut Window, acked: &Acked);

    /// Handles the beginning of a fast recovery: a loss was found, and the window should shrink. It is called once
    /// for all the losses of a flight, after [`on_lost`](Self::on_lost) for those known so far.
    fn on_loss(&mut self, window: &mut Window, loss: &Loss);

    /// Returns true if the algorithm answers congestion marks. What is sent says that it may be marked only then.
    fn answers_marks(&self) -> bool {
        false
    }

    /// Handles congestion marks (RFC 3168), at most once a round trip, and not in one in which there was a loss. The
    /// answer may be milder than that to a loss (RFC 8511).
    fn on_marks(&mut self, _window: &mut Window, _loss: &Loss) {}

    /// Handles a retransmission timeout.
    fn on_timeout(&mut self, window: &mut Window, loss: &Loss);

    /// Undoes the last reduction: the recovery or the timeout was spurious (RFC 4015).
    fn on_undo(&mut self, window: &mut Window);

    /// Takes a run of bytes that was found to be lost.
    fn on_lost(&mut self, _window: &mut Window, _lost: &Lost) {}

    /// Handles the end of a recovery, with `in_flight` bytes in the network. `initial` is the initial window:
    /// what the network stands as a burst.
    fn on_recovered(&mut self, window: &mut Window, in_flight: u32, initial: u32) {
        window.cwnd = window.cwnd.min(in_flight.saturating_add(initial));
    }

    /// Handles idle time that lasted longer than a retransmission timeout, before something is sent.
    fn on_idle(&mut self, _window: &mut Window, _idle: &Idle) {}

    /// Handles the first transmission at `now` after nothing was in flight, because the application had sent
    /// nothing.
    fn on_restart(&mut self, _window: &mut Window, _now: Instant) {}

    /// Returns the pacing rate in bytes a second. `None`: the connection follows the window.
    fn pacing_rate(&self) -> Option<NonZeroU64> {
        None
    }

    /// Returns true if the connection should spread the reduction of the window over a fast recovery, by
    /// proportional rate reduction (RFC 9937).
    fn reduces_proportionally(&self) -> bool {
        true
    }

    /// Returns true if what is sent now must not count as a sample of what the path can carry.
    fn is_holding_back(&self) -> bool {
        false
    }

    /// Returns what is worth keeping while the connection is idle: all the rest is freed.
    fn save(&self) -> Saved {
        Saved::default()
    }
}

/// Congestion window and slow start threshold, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// Most bytes that may be in the network.
    pub cwnd: u32,
    /// Below it, slow start.
    pub ssthresh: u32,
}

/// The state that a controller keeps while its connection is idle, in words of its own meaning.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Saved(pub [u32; 8]);

/// The losses that BBR tolerates unless the program says more (`LossThresh` in draft-ietf-ccwg-bbr-06 section 2.8).
pub(crate) const TOLERATED_LOSS_PERCENT: u8 = 2;

/// The circumstances in which a controller is made.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Start {
    /// Payload of a full segment, in bytes.
    pub mss: u32,
    /// The initial window, in bytes.
    pub initial: u32,
    /// The smoothed round-trip time, if one was measured.
    pub srtt: Option<Duration>,
    /// A number that a peer cannot predict, for algorithms that choose at random.
    pub seed: u64,
    /// Bytes that have arrived since the connection began, modulo 2^32: the algorithm may be chosen in the middle of
    /// it.
    pub delivered_total: u32,
    /// The state that was saved when the connection became idle.
    pub saved: Option<Saved>,
    /// Losses in a round trip, in percent, that an algorithm which tolerates some takes for the path's own, and not for
    /// congestion.
    pub tolerated_loss_percent: u8,
}

impl Default for Start {
    fn default() -> Self {
        Self::new(0, 0, None, 0)
    }
}

impl Start {
    /// Creates the circumstances of a new connection.
    pub fn new(mss: u32, initial: u32, srtt: Option<Duration>, seed: u64) -> Self {
        Self {
            mss,
            initial,
            srtt,
            seed,
            delivered_total: 0,
            saved: None,
            tolerated_loss_percent: TOLERATED_LOSS_PERCENT,
        }
    }

    /// Sets the losses that are tolerated.
    #[must_use]
    pub(crate) fn tolerating(self, percent: u8) -> Self {
        Self {
            tolerated_loss_percent: percent,
            ..self
        }
    }
}

/// An acknowledgment that delivered something.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Acked {
    /// Time of the acknowledgment.
    pub now: Instant,
    /// Bytes by which a window may grow: zero during and at the end of a fast recovery.
    pub bytes: u32,
    /// Bytes that arrived: acknowledged or SACKed for the first time.
    pub delivered: u32,
    /// Bytes that arrived since the connection began, modulo 2^32.
    pub delivered_total: u32,
    /// Bytes that were found to be lost with this acknowledgment.
    pub lost: u32,
    /// Bytes in the network after it.
    pub in_flight: u32,
    /// Payload of a full segment, in bytes.
    pub mss: u32,
    /// The smoothed round-trip time.
    pub srtt: Duration,
    /// The round trip of what was sent last of it.
    pub rtt: Option<Duration>,
    /// The least round trip of the last minutes.
    pub min_rtt: Option<Duration>,
    /// The sample of the delivery rate.
    pub rate: Option<RateSample>,
    /// It acknowledges the first of what was sent after the last round trip began.
    pub round_start: bool,
    /// The window was the limit for sending in this round trip.
    pub is_limited: bool,
    /// Most bytes in flight in this round trip, if the window was not the limit.
    pub used: u32,
    /// Both sides agreed on selective acknowledgments.
    pub selective: bool,
    /// A fast recovery goes on.
    pub in_recovery: bool,
}

/// A loss that an algorithm should answer with a smaller window.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Loss {
    /// Bytes that were in flight when it was found (FlightSize).
    pub flight: u32,
    /// Bytes in the network after it was found.
    pub in_flight: u32,
    /// Payload of a full segment, in bytes.
    pub mss: u32,
    /// It is the first timeout of this data (RFC 5681 section 3.1); always true for a loss that
    /// acknowledgments show.
    pub first: bool,
}

impl Loss {
    /// Creates a loss that was found with `flight` bytes in flight, by acknowledgments or by a first timeout.
    pub fn new(flight: u32, mss: u32) -> Self {
        Self {
            flight,
            in_flight: flight,
            mss,
            first: true,
        }
    }
}

/// A run of bytes that was found to be lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Lost {
    /// Its length.
    pub bytes: u32,
    /// Bytes in the network when it was sent, itself included.
    pub sent_in_flight: u32,
    /// Bytes that were lost since it was sent, itself included.
    pub lost_since: u32,
    /// Bytes that have arrived since the connection began, modulo 2^32.
    pub delivered_total: u32,
    /// The application had nothing more to send when it was sent.
    pub app_limited: bool,
    /// Payload of a full segment, in bytes.
    pub mss: u32,
    /// Both sides agreed on selective acknowledgments.
    pub selective: bool,
}

/// Idle time.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Idle {
    /// Time since the last transmission.
    pub time: Duration,
    /// The retransmission timeout.
    pub rto: Duration,
    /// The initial window, in bytes.
    pub initial: u32,
    /// The next segment is paced.
    pub is_paced: bool,
}

impl Idle {
    /// Creates the description of `time` without a transmission.
    pub fn new(time: Duration, rto: Duration, initial: u32, is_paced: bool) -> Self {
        Self {
            time,
            rto,
            initial,
            is_paced,
        }
    }
}

/// One sample of the delivery rate (draft-ietf-ccwg-bbr section 4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RateSample {
    /// Bytes delivered in the interval.
    pub bytes: u32,
    /// The longer one of the times of sending and of acknowledging them.
    pub interval: Duration,
    /// The application had nothing more to send when the interval began: the path may be faster.
    pub app_limited: bool,
    /// Bytes that had arrived when it began, modulo 2^32.
    pub prior_delivered: u32,
    /// Bytes in the network when what was delivered last was sent, itself included.
    pub sent_in_flight: u32,
    /// Bytes that were lost since then.
    pub lost: u32,
}

impl RateSample {
    /// Returns the rate in bytes a second; `None` if the interval is zero or shorter than `least`, a round trip
    /// that is possible.
    pub fn bytes_per_second(&self, least: Option<Duration>) -> Option<u64> {
        if self.interval.is_zero() || least.is_some_and(|least| self.interval < least) {
            return None;
        }
        let nanos = self.interval.as_nanos();
        let rate = u128::from(self.bytes) * 1_000_000_000 / nanos;
        Some(u64::try_from(rate).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_needs_a_credible_interval() {
        let sample = RateSample {
            bytes: 1_000_000,
            interval: Duration::from_millis(100),
            ..RateSample::default()
        };
        let least = |millis| Some(Duration::from_millis(millis));
        assert_eq!(sample.bytes_per_second(None), Some(10_000_000));
        assert_eq!(sample.bytes_per_second(least(100)), Some(10_000_000));
        assert_eq!(sample.bytes_per_second(least(101)), None);
        assert_eq!(RateSample::default().bytes_per_second(None), None);
    }
}
