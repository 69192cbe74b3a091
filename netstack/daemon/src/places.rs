//! Values that say where: addresses, routes, descriptors, the control socket. Each is parsed and checked in one place, as those
//! of [`crate::values`] are.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use netstack::net::{Prefix, Route, RouteKind};
use serde::Deserialize;

use crate::values::MAX_QUEUES;

/// An address of the daemon with its subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub Prefix);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || "write it as ADDRESS/PREFIX, for example 10.77.0.9/24 or fd77::9/64".to_owned();
        text.parse().map(Self).map_err(|_| wrong())
    }
}

/// A route as text: [unreachable|prohibit|blackhole] NET/PREFIX [src ADDRESS] [mtu BYTES].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteText(pub Route);

impl FromStr for RouteText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "write it as [unreachable|prohibit|blackhole] NET/PREFIX [src ADDRESS] [mtu BYTES], for example \
             10.8.0.0/16 mtu 1400"
                .to_owned()
        };
        let mut words = text.split_whitespace().peekable();
        let kind = match words.peek() {
            Some(&"unreachable") => RouteKind::Unreachable,
            Some(&"prohibit") => RouteKind::Prohibit,
            Some(&"blackhole") => RouteKind::Blackhole,
            _ => RouteKind::Link,
        };
        if kind != RouteKind::Link {
            words.next();
        }
        let prefix = match words.next() {
            Some("default") => "0.0.0.0/0".parse(),
            word => word.unwrap_or_default().parse(),
        };
        let mut route = Route::new(prefix.map_err(|_| wrong())?);
        route.kind = kind;
        while let Some(word) = words.next() {
            let value = words.next().unwrap_or_default();
            match word {
                "src" => route.source = Some(value.parse().map_err(|_| wrong())?),
                "mtu" => route.mtu = Some(value.parse().map_err(|_| wrong())?),
                _ => return Err(wrong()),
            }
        }
        Ok(Self(route))
    }
}

/// The descriptors of a TUN device that another program has opened, one for each queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptors(pub Vec<i32>);

impl FromStr for Descriptors {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |word: &str| {
            word.trim()
                .parse()
                .ok()
                .filter(|fd| (3..=65_535).contains(fd))
        };
        let fds: Option<Vec<i32>> = text.split(',').map(number).collect();
        let fds = fds.filter(|fds| fds.len() <= MAX_QUEUES);
        fds.map(Self).ok_or_else(|| {
            "write the number of the descriptor, from 3, or several with commas".to_owned()
        })
    }
}

impl fmt::Display for Descriptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(i32::to_string).collect();
        f.write_str(&words.join(","))
    }
}

impl<'de> Deserialize<'de> for Descriptors {
    /// Reads one number, or a text with commas as on the command line.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "expected the number of a descriptor, or several with commas in quotes"
        )]
        enum Form {
            One(i32),
            Text(String),
        }
        match Form::deserialize(deserializer)? {
            Form::One(fd) => fd.to_string().parse(),
            Form::Text(text) => text.parse(),
        }
        .map_err(serde::de::Error::custom)
    }
}

/// Where the control socket is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum ControlPath {
    /// In the directory of control sockets, by the names of the device and the process.
    #[default]
    Default,
    /// Nowhere.
    Off,
    /// At a path.
    At(PathBuf),
}

impl FromStr for ControlPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("give a path, or none".to_owned()),
            "none" => Ok(Self::Off),
            "default" => Ok(Self::Default),
            path => Ok(Self::At(PathBuf::from(path))),
        }
    }
}

impl TryFrom<String> for ControlPath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for ControlPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Off => f.write_str("none"),
            Self::At(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_written_as_they_are_shown() {
        for text in [
            "10.8.0.0/16",
            "prohibit 192.0.2.0/24",
            "unreachable fd78::/64",
            "10.8.0.0/16 src 10.77.0.2 mtu 1400",
        ] {
            let RouteText(route) = text.parse().expect(text);
            assert_eq!(route.to_string(), text);
        }
        for bad in [
            "",
            "10.8.0.0",
            "10.8.0.0/33",
            "10.8.0.0/16 via 10.77.0.1",
            "10.8.0.0/16 mtu",
            "prohibit",
        ] {
            let why = bad.parse::<RouteText>().expect_err(bad);
            assert!(why.contains("NET/PREFIX"), "{bad}: {why}");
        }
    }

    #[test]
    fn descriptors_are_those_beyond_the_standard_ones() {
        assert_eq!("3".parse(), Ok(Descriptors(vec![3])));
        assert_eq!("3, 4".parse(), Ok(Descriptors(vec![3, 4])));
        for bad in ["", "0", "2", "-1", "three", "3,", "99999999999"] {
            assert!(bad.parse::<Descriptors>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_control_socket_has_a_path_or_none() {
        assert_eq!("none".parse(), Ok(ControlPath::Off));
        assert_eq!("default".parse(), Ok(ControlPath::Default));
        assert_eq!(
            "/run/x.sock".parse(),
            Ok(ControlPath::At(PathBuf::from("/run/x.sock")))
        );
        assert!("".parse::<ControlPath>().is_err());
    }
}
