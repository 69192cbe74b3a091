//! The algorithms that the stack brings, by name, and the state of whichever a connection uses.

use core::num::NonZeroU64;
use core::str::FromStr;

use super::bbr::Bbr;
use super::cubic::Cubic;
use super::reno::Reno;
use super::window::WindowBased;
use crate::base::Instant;
use crate::base::congestion::{
    Algorithm, BuiltIn, CongestionControl, Definition, Saved, Source, Start,
};

static CUBIC: Definition = Definition::built_in("cubic", BuiltIn::Cubic);
static NEW_RENO: Definition = Definition::built_in("newreno", BuiltIn::NewReno);
static BBR: Definition = Definition::built_in("bbr", BuiltIn::Bbr);

/// The state of a connection's algorithm. That of CUBIC and NewReno needs no memory of its own.
#[derive(Debug)]
pub(super) enum AlgorithmState {
    Cubic(WindowBased<Cubic>),
    NewReno(WindowBased<Reno>),
    Bbr(Box<Bbr>),
    Foreign(Box<dyn CongestionControl>),
}

impl AlgorithmState {
    /// Makes the state of a connection.
    pub(super) fn new(algorithm: Algorithm, start: &Start) -> Self {
        match algorithm.source() {
            Source::BuiltIn(BuiltIn::Cubic) => Self::Cubic(WindowBased::new(start)),
            Source::BuiltIn(BuiltIn::NewReno) => Self::NewReno(WindowBased::new(start)),
            Source::BuiltIn(BuiltIn::Bbr) => Self::Bbr(Box::new(Bbr::new(start))),
            Source::Foreign(make) => Self::Foreign(make(start)),
        }
    }

    /// Returns the algorithm, for calls that a segment does not always make.
    pub(super) fn get(&self) -> &dyn CongestionControl {
        match self {
            Self::Cubic(cubic) => cubic,
            Self::NewReno(reno) => reno,
            Self::Bbr(bbr) => &**bbr,
            Self::Foreign(foreign) => &**foreign,
        }
    }

    /// Returns the algorithm, to tell it what happened.
    #[inline]
    pub(super) fn get_mut(&mut self) -> &mut dyn CongestionControl {
        match self {
            Self::Cubic(cubic) => cubic,
            Self::NewReno(reno) => reno,
            Self::Bbr(bbr) => &mut **bbr,
            Self::Foreign(foreign) => &mut **foreign,
        }
    }

    /// Returns [`CongestionControl::pacing_rate`].
    #[inline]
    pub(super) fn pacing_rate(&self) -> Option<NonZeroU64> {
        match self {
            Self::Cubic(cubic) => cubic.pacing_rate(),
            Self::NewReno(reno) => reno.pacing_rate(),
            Self::Bbr(bbr) => bbr.pacing_rate(),
            Self::Foreign(foreign) => foreign.pacing_rate(),
        }
    }

    /// Returns [`CongestionControl::answers_marks`].
    #[inline]
    pub(super) fn answers_marks(&self) -> bool {
        match self {
            Self::Cubic(cubic) => cubic.answers_marks(),
            Self::NewReno(reno) => reno.answers_marks(),
            Self::Bbr(bbr) => bbr.answers_marks(),
            Self::Foreign(foreign) => foreign.answers_marks(),
        }
    }

    /// Returns [`CongestionControl::is_holding_back`].
    #[inline]
    pub(super) fn is_holding_back(&self) -> bool {
        match self {
            Self::Cubic(cubic) => cubic.is_holding_back(),
            Self::NewReno(reno) => reno.is_holding_back(),
            Self::Bbr(bbr) => bbr.is_holding_back(),
            Self::Foreign(foreign) => foreign.is_holding_back(),
        }
    }
}

/// Returns true if a controller of `algorithm` can have saved these words before `now`.
pub(super) fn is_credible(algorithm: Algorithm, Saved(words): &Saved, now: Instant) -> bool {
    match algorithm.source() {
        Source::BuiltIn(BuiltIn::Cubic) => {
            let [floats @ .., high, low] = words;
            let epoch = Instant::from_nanos(u64::from(*high) << 32 | u64::from(*low));
            let mut floats = floats.iter().map(|word| f32::from_bits(*word));
            floats.all(|value| value.abs() < 1e12) && (epoch <= now || epoch == Instant::FAR_FUTURE)
        }
        // A terabyte a second, and an hour.
        Source::BuiltIn(BuiltIn::Bbr) => words[0] <= 256 && words[3].max(words[4]) <= 3_600_000_000,
        Source::BuiltIn(BuiltIn::NewReno) | Source::Foreign(_) => true,
    }
}

impl Algorithm {
    /// CUBIC (RFC 9438) with HyStart++ (RFC 9406), the default.
    pub const CUBIC: Self = Self::of(&CUBIC);
    /// NewReno: one segment more each round trip, half the window after a loss (RFC 5681, RFC 6582).
    pub const NEW_RENO: Self = Self::of(&NEW_RENO);
    /// BBR, version 3 (draft-ietf-ccwg-bbr-06): a model of the path's bandwidth and round trip.
    pub const BBR: Self = Self::of(&BBR);
    /// All of them.
    pub const ALL: [Self; 3] = [Self::CUBIC, Self::NEW_RENO, Self::BBR];
}

impl Default for Algorithm {
    /// Returns [`Algorithm::CUBIC`].
    fn default() -> Self {
        Self::CUBIC
    }
}

/// A name that is not one of an algorithm that the stack brings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown congestion control algorithm `{name}`: choose cubic, newreno or bbr")]
pub struct UnknownAlgorithm {
    /// The name.
    pub name: String,
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    /// Finds an algorithm by name: `cubic`, `bbr`, or `newreno`, which Linux calls `reno`.
    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        let wanted = if name == "reno" { "newreno" } else { name };
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == wanted)
            .ok_or_else(|| UnknownAlgorithm { name: name.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_algorithm_is_found_by_its_name() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.name().parse(), Ok(algorithm));
        }
        assert_eq!("reno".parse(), Ok(Algorithm::NEW_RENO));
        let error = "vegas".parse::<Algorithm>().unwrap_err();
        assert!(error.to_string().contains("`vegas`: choose cubic"));
    }
}
