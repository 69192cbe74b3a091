//! The values of settings: probabilities, rates, lengths, times.

use std::fmt;
use std::time::Duration;

/// Longest time that a setting may have.
const LONGEST: Duration = Duration::from_secs(600);
/// Largest rate, in bits a second.
const FASTEST: u64 = 1_000_000_000_000;

/// A probability, exact to 2^-32.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Probability(u64);

impl Probability {
    /// Something that never happens.
    pub const NEVER: Self = Self(0);
    /// Something that always happens.
    pub const ALWAYS: Self = Self(1 << 32);

    /// Returns the probability of so many cases in a million.
    pub fn per_million(cases: u32) -> Self {
        Self((u64::from(cases.min(1_000_000)) << 32) / 1_000_000)
    }

    pub(crate) fn per_2_32(self) -> u64 {
        self.0
    }

    /// Parses a number with `%`, from 0% to 100%.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let advice = "write a percentage from 0% to 100%, for example 0.5%";
        let number: f64 = text
            .strip_suffix('%')
            .and_then(|number| number.parse().ok())
            .ok_or(advice)?;
        if !(0.0..=100.0).contains(&number) {
            return Err(advice);
        }
        // Below 2^32 + 1, and not negative.
        Ok(Self((number / 100.0 * 4_294_967_296.0).round() as u64))
    }
}

impl fmt::Display for Probability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Seven digits give every probability that was written with as many back.
        let percent = self.0 as f64 / 4_294_967_296.0 * 100.0;
        let text = format!("{percent:.7}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        write!(f, "{text}%")
    }
}

/// A rate, in bits a second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate(u64);

/// The units of rates, largest first.
const RATE_UNITS: [(&str, u64); 4] = [
    ("gbit", 1_000_000_000),
    ("mbit", 1_000_000),
    ("kbit", 1_000),
    ("bit", 1),
];

impl Rate {
    /// Returns so many bits a second, at least one.
    pub fn bits(bits_per_second: u64) -> Self {
        Self(bits_per_second.clamp(1, FASTEST))
    }

    /// Returns the time that so many bytes take.
    pub(crate) fn time_for(self, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * 8 * 1_000_000_000 / u128::from(self.0.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Returns the bytes that leave in this time.
    pub(crate) fn bytes_in(self, time: Duration) -> u64 {
        let bytes = u128::from(self.0) * time.as_nanos() / 8 / 1_000_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let advice = "write a rate from 1bit to 1000gbit, for example 512kbit, 10mbit or 2.5gbit";
        let lower = text.to_ascii_lowercase();
        let (number, unit) = RATE_UNITS
            .iter()
            .find_map(|&(name, unit)| Some((lower.strip_suffix(name)?, unit)))
            .ok_or(advice)?;
        let number: f64 = number.trim().parse().map_err(|_| advice)?;
        let bits = number * unit as f64;
        if !(1.0..=FASTEST as f64).contains(&bits) {
            return Err(advice);
        }
        Ok(Self(bits as u64))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |&&(_, unit): &&(&str, u64)| self.0.is_multiple_of(unit);
        let (name, unit) = RATE_UNITS.iter().find(fits).copied().unwrap_or(("bit", 1));
        write!(f, "{}{name}", self.0 / unit)
    }
}

/// The length of a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Length {
    /// In packets.
    Packets(u32),
    /// In bytes.
    Bytes(u64),
    /// In the time that it takes at the rate.
    Time(Duration),
}

/// Longest queue in packets.
const MOST_PACKETS: u32 = 1_000_000;
/// Longest queue in bytes.
const MOST_BYTES: u64 = 256 << 20;

impl Length {
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let advice = "write packets (100p, at most 1000000p), bytes (64k or 2m, at most 256m) or the time at the rate (50ms)";
        let number =
            |suffix: &str| -> Option<u64> { text.strip_suffix(suffix)?.parse::<u64>().ok() };
        if let Some(packets) = number("p") {
            let packets = u32::try_from(packets).map_err(|_| advice)?;
            return (1..=MOST_PACKETS)
                .contains(&packets)
                .then_some(Self::Packets(packets))
                .ok_or(advice);
        }
        for (suffix, unit) in [("b", 1), ("k", 1 << 10), ("m", 1 << 20)] {
            if let Some(bytes) = number(suffix) {
                let bytes = bytes.checked_mul(unit).ok_or(advice)?;
                return (1..=MOST_BYTES)
                    .contains(&bytes)
                    .then_some(Self::Bytes(bytes))
                    .ok_or(advice);
            }
        }
        match parse_time(text) {
            Ok(time) if !time.is_zero() => Ok(Self::Time(time)),
            _ => Err(advice),
        }
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packets(packets) => write!(f, "{packets}p"),
            Self::Bytes(bytes) if bytes.is_multiple_of(1 << 20) => write!(f, "{}m", bytes >> 20),
            Self::Bytes(bytes) if bytes.is_multiple_of(1 << 10) => write!(f, "{}k", bytes >> 10),
            Self::Bytes(bytes) => write!(f, "{bytes}b"),
            Self::Time(time) => f.write_str(&show_time(*time)),
        }
    }
}

/// Parses a time with its unit.
pub(crate) fn parse_time(text: &str) -> Result<Duration, &'static str> {
    let advice = "write a time with its unit, at most 10m, for example 50ms, 200us or 1s";
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    // People write 1.5ms, which the parser of whole numbers does not know.
    let fraction = [("ms", 1e-3), ("us", 1e-6), ("s", 1.0)]
        .iter()
        .find_map(|&(unit, scale)| {
            let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
            Duration::try_from_secs_f64(number * scale).ok()
        });
    let time = match fraction {
        Some(time) => time,
        None => humantime::parse_duration(text).map_err(|_| advice)?,
    };
    (time <= LONGEST).then_some(time).ok_or(advice)
}

/// Prints a time without spaces.
pub(crate) fn show_time(time: Duration) -> String {
    humantime::format_duration(time)
        .to_string()
        .replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_back() {
        for text in ["0%", "0.001%", "1%", "33.3%", "100%"] {
            let value = Probability::parse(text).expect(text);
            assert_eq!(value.to_string(), text);
        }
        for text in ["1bit", "1500bit", "512kbit", "10mbit", "1gbit", "1000gbit"] {
            let shown = Rate::parse(text).expect(text).to_string();
            assert_eq!(Rate::parse(&shown), Rate::parse(text), "{text} {shown}");
        }
        for text in ["1p", "1000000p", "100b", "64k", "256m", "50ms", "1s500ms"] {
            assert_eq!(Length::parse(text).expect(text).to_string(), text);
        }
        assert_eq!(parse_time("1.5ms"), Ok(Duration::from_micros(1_500)));
        assert_eq!(parse_time("0"), Ok(Duration::ZERO));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for text in ["", "1", "-1%", "101%", "NaN%", "inf%", "%"] {
            assert!(Probability::parse(text).is_err(), "{text}");
        }
        for text in [
            "", "10", "0bit", "-1mbit", "NaNmbit", "infgbit", "1001gbit", "mbit",
        ] {
            assert!(Rate::parse(text).is_err(), "{text}");
        }
        for text in [
            "",
            "0p",
            "1000001p",
            "0b",
            "257m",
            "1g",
            "18446744073709551615m",
            "0ms",
        ] {
            assert!(Length::parse(text).is_err(), "{text}");
        }
        for text in ["", "1", "50", "11m", "-1ms", "NaNms", "1e300s"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_and_times_agree() {
        let rate = Rate::parse("12mbit").expect("a rate");
        assert_eq!(rate.time_for(1_500), Duration::from_millis(1));
        assert_eq!(rate.bytes_in(Duration::from_millis(1)), 1_500);
        assert_eq!(Probability::per_million(10_000).to_string(), "1%");
    }
}
