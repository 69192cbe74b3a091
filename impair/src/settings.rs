//! The impairment of a wire, as people write it: `rate=10mbit,delay=50ms,loss=1%`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

pub use crate::values::{Length, Probability, Rate};
use crate::values::{parse_time, show_time};

/// Smallest MTU (RFC 791 section 3.2).
const MTU_MIN: u16 = 68;

/// The keys, as messages and help name them.
pub const KEYS: &str = "rate, queue, drop, mark, delay, jitter, loss, gilbert, reorder, reorder-by, duplicate, corrupt, mtu, too-big";

/// The keys with what they mean, for the help of programs.
pub const HELP: &str = "\
  rate=RATE           at most so much in a second, IP headers included: 512kbit, 10mbit, 2.5gbit
  queue=LENGTH        what waits for the rate: 100p (packets), 64k (bytes), 50ms (at the rate)  [1000p]
  drop=POLICY         which packet a full queue drops: tail, head, or codel (RFC 8289)          [tail]
  mark=LENGTH         a queue longer than this marks ECN-capable packets; with codel: instead of dropping
  delay=TIME          time on the way: 50ms, 200us
  jitter=TIME         random addition to the delay, from none to so much, without reordering
  loss=PERCENT        independent loss: 1%
  gilbert=P:R[:B[:G]] loss in bursts (Gilbert-Elliott): P to become bad, R to become good again, loss of B while
                      bad [100%] and G while good [0%]
  reorder=PERCENT     packets that are late, so that others overtake them
  reorder-by=TIME     by how much                                                               [1ms]
  duplicate=PERCENT   packets that arrive twice
  corrupt=PERCENT     packets with one inverted bit
  mtu=BYTES           longest packet
  too-big=ANSWER      what a longer one gets: icmp (as a router: an error, or fragments), or silent [icmp]
  none                takes everything back";

/// Loss in bursts: a chain of two states with a loss of its own in each (Gilbert–Elliott).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gilbert {
    /// From good to bad, before each packet.
    pub to_bad: Probability,
    /// From bad to good, before each packet.
    pub to_good: Probability,
    /// Loss in the bad state.
    pub loss_bad: Probability,
    /// Loss in the good state.
    pub loss_good: Probability,
}

/// Which packet is dropped when the queue is too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DropPolicy {
    /// The one that arrives.
    #[default]
    Tail,
    /// The one that has waited longest.
    Head,
    /// The one that leaves, when packets have waited for too long (RFC 8289); at the limit the one that arrives.
    Codel,
}

/// The treatment of a packet that is longer than the MTU.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TooBig {
    /// As a router does: an ICMP error, or fragments where IPv4 allows them.
    #[default]
    Icmp,
    /// Silence, as from a black hole.
    Silent,
}

/// The impairment of a wire. The default does nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Impairment {
    /// `rate`
    pub rate: Option<Rate>,
    /// `queue`
    pub queue: Length,
    /// `drop`
    pub drop: DropPolicy,
    /// `mark`
    pub mark: Option<Length>,
    /// `delay`
    pub delay: Duration,
    /// `jitter`
    pub jitter: Duration,
    /// `loss`
    pub loss: Probability,
    /// `gilbert`
    pub gilbert: Option<Gilbert>,
    /// `reorder`
    pub reorder: Probability,
    /// `reorder-by`
    pub reorder_by: Duration,
    /// `duplicate`
    pub duplicate: Probability,
    /// `corrupt`
    pub corrupt: Probability,
    /// `mtu`
    pub mtu: Option<u16>,
    /// `too-big`
    pub too_big: TooBig,
}

impl Default for Impairment {
    fn default() -> Self {
        Self {
            rate: None,
            queue: Length::Packets(1_000),
            drop: DropPolicy::Tail,
            mark: None,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: Probability::NEVER,
            gilbert: None,
            reorder: Probability::NEVER,
            reorder_by: Duration::from_millis(1),
            duplicate: Probability::NEVER,
            corrupt: Probability::NEVER,
            mtu: None,
            too_big: TooBig::Icmp,
        }
    }
}

/// A setting that cannot be understood. One sentence: what, where, what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SettingError {
    /// There is no such key.
    #[error("there is no impairment '{0}': use {KEYS}, or none")]
    Key(String),
    /// The key has no value.
    #[error("{0} has no value: write {0}=VALUE")]
    NoValue(String),
    /// The value does not suit the key.
    #[error("{key} '{value}' cannot be used: {advice}")]
    Value {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// The remedy, as an instruction.
        advice: &'static str,
    },
}

impl Impairment {
    /// Changes what `text` names, and leaves the rest as it is: `key=value` with commas or spaces between, or `none`.
    ///
    /// # Errors
    /// Returns what cannot be understood; nothing is changed then.
    pub fn change(&mut self, text: &str) -> Result<(), SettingError> {
        let mut changed = self.clone();
        let words = text.split([',', ' ']).map(str::trim);
        for word in words.filter(|word| !word.is_empty()) {
            if word == "none" {
                changed = Self::default();
                continue;
            }
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            changed.set(key, value)?;
        }
        *self = changed;
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), SettingError> {
        let known = KEYS.split(", ").find(|known| *known == key);
        let key = known.ok_or_else(|| SettingError::Key(key.to_owned()))?;
        if value.is_empty() {
            return Err(SettingError::NoValue(key.to_owned()));
        }
        self.set_known(key, value)
            .map_err(|advice| SettingError::Value {
                key,
                value: value.to_owned(),
                advice,
            })
    }

    fn set_known(&mut self, key: &str, value: &str) -> Result<(), &'static str> {
        match key {
            "rate" => self.rate = Some(Rate::parse(value)?),
            "queue" => self.queue = Length::parse(value)?,
            "drop" => self.drop = parse_policy(value)?,
            "mark" => self.mark = Some(Length::parse(value)?),
            "delay" => self.delay = parse_time(value)?,
            "jitter" => self.jitter = parse_time(value)?,
            "loss" => self.loss = Probability::parse(value)?,
            "gilbert" => self.gilbert = Some(Gilbert::parse(value)?),
            "reorder" => self.reorder = Probability::parse(value)?,
            "reorder-by" => self.reorder_by = parse_time(value)?,
            "duplicate" => self.duplicate = Probability::parse(value)?,
            "corrupt" => self.corrupt = Probability::parse(value)?,
            "mtu" => self.mtu = Some(parse_mtu(value)?),
            // The keys were checked: this is the last one.
            _ => self.too_big = parse_too_big(value)?,
        }
        Ok(())
    }
}

fn parse_policy(text: &str) -> Result<DropPolicy, &'static str> {
    match text {
        "tail" => Ok(DropPolicy::Tail),
        "head" => Ok(DropPolicy::Head),
        "codel" => Ok(DropPolicy::Codel),
        _ => Err("use tail, head or codel"),
    }
}

fn parse_too_big(text: &str) -> Result<TooBig, &'static str> {
    match text {
        "icmp" => Ok(TooBig::Icmp),
        "silent" => Ok(TooBig::Silent),
        _ => Err("use icmp or silent"),
    }
}

fn parse_mtu(text: &str) -> Result<u16, &'static str> {
    let mtu = text.parse().ok().filter(|mtu| *mtu >= MTU_MIN);
    mtu.ok_or("use 68 to 65535 bytes; IPv6 needs 1280")
}

impl Gilbert {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let advice = "write P:R, P:R:BAD or P:R:BAD:GOOD as percentages, for example 1%:30%";
        let parts = text.split(':').map(Probability::parse);
        let parts = parts.collect::<Result<Vec<_>, _>>().map_err(|_| advice)?;
        let (to_bad, to_good, rest) = match parts.as_slice() {
            [to_bad, to_good, rest @ ..] if rest.len() <= 2 => (*to_bad, *to_good, rest),
            _ => return Err(advice),
        };
        Ok(Self {
            to_bad,
            to_good,
            loss_bad: rest.first().copied().unwrap_or(Probability::ALWAYS),
            loss_good: rest.get(1).copied().unwrap_or(Probability::NEVER),
        })
    }
}

impl FromStr for Impairment {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let mut impairment = Self::default();
        impairment.change(text)?;
        Ok(impairment)
    }
}

impl fmt::Display for Impairment {
    /// Prints what differs from doing nothing, as it is written; `none` if nothing does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let none = Self::default();
        let mut words = Vec::new();
        let mut add = |differs: bool, key: &str, value: String| {
            if differs {
                words.push(format!("{key}={value}"));
            }
        };
        add(
            self.rate.is_some(),
            "rate",
            self.rate.map_or(String::new(), |rate| rate.to_string()),
        );
        add(self.queue != none.queue, "queue", self.queue.to_string());
        let policy = match self.drop {
            DropPolicy::Tail => "tail",
            DropPolicy::Head => "head",
            DropPolicy::Codel => "codel",
        };
        add(self.drop != none.drop, "drop", policy.to_owned());
        if let Some(mark) = self.mark {
            add(true, "mark", mark.to_string());
        }
        add(self.delay != none.delay, "delay", show_time(self.delay));
        add(self.jitter != none.jitter, "jitter", show_time(self.jitter));
        add(self.loss != none.loss, "loss", self.loss.to_string());
        if let Some(Gilbert {
            to_bad,
            to_good,
            loss_bad,
            loss_good,
        }) = self.gilbert
        {
            let text = format!("{to_bad}:{to_good}:{loss_bad}:{loss_good}");
            add(true, "gilbert", text);
        }
        add(
            self.reorder != none.reorder,
            "reorder",
            self.reorder.to_string(),
        );
        add(
            self.reorder_by != none.reorder_by,
            "reorder-by",
            show_time(self.reorder_by),
        );
        add(
            self.duplicate != none.duplicate,
            "duplicate",
            self.duplicate.to_string(),
        );
        add(
            self.corrupt != none.corrupt,
            "corrupt",
            self.corrupt.to_string(),
        );
        if let Some(mtu) = self.mtu {
            add(true, "mtu", mtu.to_string());
        }
        add(self.too_big != none.too_big, "too-big", "silent".to_owned());
        if words.is_empty() {
            return f.write_str("none");
        }
        f.write_str(&words.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_back() {
        for text in [
            "none",
            "loss=1%",
            "rate=10mbit,queue=64k,drop=codel,mark=20p,delay=50ms,jitter=5ms,loss=0.5%,\
             gilbert=1%:30%:100%:0%,reorder=2%,reorder-by=3ms,duplicate=0.1%,corrupt=0.01%,mtu=1400,too-big=silent",
        ] {
            let parsed: Impairment = text.parse().expect(text);
            assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn a_change_leaves_the_rest_and_a_wrong_one_leaves_everything() {
        let mut settings: Impairment = "loss=1% delay=50ms".parse().expect("two");
        settings.change("loss=2%").expect("one");
        assert_eq!(settings.to_string(), "delay=50ms,loss=2%");
        assert!(settings.change("delay=1ms,loss=2").is_err());
        assert_eq!(settings.to_string(), "delay=50ms,loss=2%");
        settings.change("none,mtu=1280").expect("anew");
        assert_eq!(settings.to_string(), "mtu=1280");
    }

    #[test]
    fn each_mistake_is_one_sentence_with_advice() {
        for (text, what, advice) in [
            ("los=1%", "los", "loss, gilbert"),
            ("loss", "loss", "loss=VALUE"),
            ("loss=", "loss", "loss=VALUE"),
            ("loss=1", "loss '1'", "0.5%"),
            ("rate=10", "rate '10'", "10mbit"),
            ("delay=50", "delay '50'", "50ms"),
            ("queue=5g", "queue '5g'", "64k"),
            ("drop=red", "drop 'red'", "tail, head or codel"),
            ("gilbert=1%", "gilbert '1%'", "P:R"),
            ("gilbert=1%:2%:3%:4%:5%", "gilbert", "P:R"),
            ("mtu=67", "mtu '67'", "68 to 65535"),
            ("too-big=loud", "too-big 'loud'", "icmp or silent"),
        ] {
            let error = text.parse::<Impairment>().expect_err(text).to_string();
            assert!(error.contains(what) && error.contains(advice), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
