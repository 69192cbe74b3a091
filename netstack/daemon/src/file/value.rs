//! The types of the file's values. Each says in plain words what it accepts, so that no message
//! names a Rust type.

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};
use netstack::base::MtuProbing;
use netstack::device::OffloadMode;
use netstack::tcp::Algorithm;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use crate::confine::{Sandbox, parse_sandbox};
use crate::logs::{LogFormat, parse_format};
use crate::proxy::rules::RuleList;
use crate::proxy::upstream::Upstream;
use crate::values::{self, Queues};
use crate::web::{parse_admin, parse_dashboard};

/// A time such as `"200ms"`, `"1s"` or `"2m"`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span(pub(super) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct SpanVisitor;

        impl Visitor<'_> for SpanVisitor {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a time with its unit, in quotes: write it as \"200ms\", \"5s\" or \"2m\"",
                )
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Span, E> {
                humantime::parse_duration(text).map(Span).map_err(|_| {
                    E::custom(format!(
                        "'{text}' is not a time: write it as \"200ms\", \"5s\" or \"2m\""
                    ))
                })
            }
        }

        from.deserialize_any(SpanVisitor)
    }
}

/// Most entries of a list.
const MAX_LIST: usize = 256;

/// A whole number that fits into `T`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole<T>(pub(super) T);

/// The integer types that the configuration holds.
pub(super) trait Integer: TryFrom<i64> + Display {
    /// The largest value that a TOML integer can give it.
    const MAX: u64;
}

macro_rules! integers {
    ($($kind:ty: $max:expr,)+) => {$(
        impl Integer for $kind {
            const MAX: u64 = $max;
        }
    )+};
}

integers! {
    u8: u8::MAX as u64,
    u16: u16::MAX as u64,
    u32: u32::MAX as u64,
    u64: i64::MAX as u64,
    usize: i64::MAX as u64,
}

impl<'de, T: Integer> Deserialize<'de> for Whole<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct WholeVisitor<T>(PhantomData<T>);

        impl<T: Integer> Visitor<'_> for WholeVisitor<T> {
            type Value = Whole<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a whole number from 0 to {}, without quotes", T::MAX)
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Whole<T>, E> {
                T::try_from(number).map(Whole).map_err(|_| {
                    E::custom(format!(
                        "{number} is out of range: use a whole number from 0 to {}",
                        T::MAX
                    ))
                })
            }
        }

        from.deserialize_any(WholeVisitor(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Queues {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Whole(count) = Whole::<u64>::deserialize(from)?;
        Self::try_from(count).map_err(D::Error::custom)
    }
}

/// `true` or `false`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Switch(pub(super) bool);

impl<'de> Deserialize<'de> for Switch {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct SwitchVisitor;

        impl Visitor<'_> for SwitchVisitor {
            type Value = Switch;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true or false, without quotes")
            }

            fn visit_bool<E: Error>(self, on: bool) -> Result<Switch, E> {
                Ok(Switch(on))
            }
        }

        from.deserialize_any(SwitchVisitor)
    }
}

/// The name of a congestion control algorithm.
#[derive(Clone, Copy, Debug)]
pub(super) struct Congestion(Algorithm);

impl<'de> Deserialize<'de> for Congestion {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        name.parse().map(Self).map_err(D::Error::custom)
    }
}

/// The name of a policy of MTU probing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probing(MtuProbing);

impl<'de> Deserialize<'de> for Probing {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        name.parse().map(Self).map_err(D::Error::custom)
    }
}

/// Declares a `deserialize_with` function that parses a string as the flag of the same name does.
macro_rules! as_flag {
    ($($name:ident: $kind:ty = $parse:path,)+) => {$(
        pub(super) fn $name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<$kind>, D::Error> {
            let text = String::deserialize(from)?;
            $parse(&text).map(Some).map_err(|must| {
                D::Error::custom(format!("'{text}' cannot be used: {must}"))
            })
        }
    )+};
}

as_flag! {
    net4: Ipv4Net = values::parse_net4,
    net6: Ipv6Net = values::parse_net6,
    ip4: Ipv4Addr = values::parse_ip4,
    ip6: Ipv6Addr = values::parse_ip6,
    offload: OffloadMode = values::parse_offload,
    mode: u32 = values::parse_mode,
    admin: SocketAddr = parse_admin,
    dashboard: SocketAddr = parse_dashboard,
    log_format: LogFormat = parse_format,
    sandbox: Sandbox = parse_sandbox,
}

/// Reads the URL of a proxy. What is wrong says so itself: the text has a password.
pub(super) fn upstream<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Upstream>, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map(Some).map_err(D::Error::custom)
}

impl<'de> Deserialize<'de> for RuleList {
    /// Reads a list of rules, or one text with a semicolon between them: rules have commas themselves.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(
            untagged,
            expecting = "expected a list of rules in quotes, in brackets"
        )]
        enum Form {
            List(Vec<String>),
            Text(String),
        }
        let texts = match Form::deserialize(from)? {
            Form::List(texts) => texts,
            Form::Text(text) => text.split(';').map(str::to_owned).collect(),
        };
        let texts = texts.iter().map(|text| text.trim());
        let texts = texts.filter(|text| !text.is_empty());
        Self::parse(texts).map_err(D::Error::custom)
    }
}

/// A list of texts, each parsed as a flag would be.
#[derive(Clone, Debug)]
pub(super) struct List<T>(pub(super) Vec<T>);

impl<'de, T: FromStr<Err = String>> Deserialize<'de> for List<T> {
    /// Reads a list, or one text with commas as on the command line.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(
            untagged,
            expecting = "expected a list of texts in quotes, in brackets"
        )]
        enum Form {
            List(Vec<String>),
            Text(String),
        }
        let texts = match Form::deserialize(from)? {
            Form::List(texts) => texts,
            Form::Text(text) => text
                .split(',')
                .map(|part| part.trim().to_owned())
                .filter(|part| !part.is_empty())
                .collect(),
        };
        if texts.len() > MAX_LIST {
            let text = format!(
                "the list has {} entries: use at most {MAX_LIST}",
                texts.len()
            );
            return Err(D::Error::custom(text));
        }
        let parse = |text: &String| {
            let parsed = text.parse::<T>();
            parsed.map_err(|must| D::Error::custom(format!("'{text}' cannot be used: {must}")))
        };
        texts.iter().map(parse).collect::<Result<_, _>>().map(Self)
    }
}

/// A value of the file and the field of the stack's configuration that it is for.
pub(super) trait Setting<T> {
    /// Writes the value into the field.
    fn set(self, slot: &mut T);

    /// Returns the value of the field as the file writes it.
    fn show(slot: &T) -> String;
}

impl<T: Integer> Setting<T> for Whole<T> {
    fn set(self, slot: &mut T) {
        *slot = self.0;
    }

    fn show(slot: &T) -> String {
        let text = slot.to_string();
        // More than the file can say is no limit.
        let is_limit = text.parse::<u64>().is_ok_and(|number| number <= T::MAX);
        if is_limit { text } else { String::new() }
    }
}

impl<T: Integer> Setting<Option<T>> for Whole<T> {
    fn set(self, slot: &mut Option<T>) {
        *slot = Some(self.0);
    }

    fn show(slot: &Option<T>) -> String {
        slot.as_ref()
            .map_or_else(String::new, <Self as Setting<T>>::show)
    }
}

impl Setting<Algorithm> for Congestion {
    fn set(self, slot: &mut Algorithm) {
        *slot = self.0;
    }

    fn show(slot: &Algorithm) -> String {
        quoted(slot)
    }
}

impl Setting<MtuProbing> for Probing {
    fn set(self, slot: &mut MtuProbing) {
        *slot = self.0;
    }

    fn show(slot: &MtuProbing) -> String {
        quoted(slot)
    }
}

impl Setting<bool> for Switch {
    fn set(self, slot: &mut bool) {
        *slot = self.0;
    }

    fn show(slot: &bool) -> String {
        slot.to_string()
    }
}

impl Setting<Duration> for Span {
    fn set(self, slot: &mut Duration) {
        *slot = self.0;
    }

    fn show(slot: &Duration) -> String {
        quoted(humantime::format_duration(*slot))
    }
}

impl Setting<Option<Duration>> for Span {
    fn set(self, slot: &mut Option<Duration>) {
        // Zero switches it off.
        *slot = (self.0 > Duration::ZERO).then_some(self.0);
    }

    fn show(slot: &Option<Duration>) -> String {
        <Self as Setting<Duration>>::show(&slot.unwrap_or_default())
    }
}

/// Returns a text as TOML writes it.
pub(crate) fn quoted(text: impl Display) -> String {
    toml::Value::String(text.to_string()).to_string()
}
