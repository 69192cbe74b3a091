//! The algorithms that the stack brings, by name.

use core::str::FromStr;

use super::bbr::Bbr;
use super::cubic::Cubic;
use super::reno::Reno;
use super::window::WindowBased;
use crate::base::congestion::{Algorithm, Definition};

static CUBIC: Definition =
    Definition::new("cubic", |start| Box::new(WindowBased::<Cubic>::new(start)));
static NEW_RENO: Definition =
    Definition::new("newreno", |start| Box::new(WindowBased::<Reno>::new(start)));
static BBR: Definition = Definition::new("bbr", |start| Box::new(Bbr::new(start)));

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
