//! The filter words of `ss`: `state established dst 10.0.0.0/8 sport = :80`.

use ipnet::IpNet;
use std::net::IpAddr;

use crate::control::rows::{Endpoint, SocketFilter, SocketState};

/// The states of sockets that have a peer.
const CONNECTED: [SocketState; 8] = [
    SocketState::Established,
    SocketState::SynSent,
    SocketState::FinWait1,
    SocketState::FinWait2,
    SocketState::CloseWait,
    SocketState::LastAck,
    SocketState::Closing,
    SocketState::SynRecv,
];

/// The sockets that a filter without states lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Sockets with a peer.
    Connected,
    /// Those that wait for one.
    Listening,
    /// All.
    All,
}

/// Returns the states of a name, which may be one of a group.
fn states_of(name: &str) -> Option<Vec<SocketState>> {
    let mut states = match name {
        "all" => SocketState::ALL.to_vec(),
        "connected" => [&CONNECTED[..], &[SocketState::TimeWait]].concat(),
        "synchronized" => {
            let mut states = [&CONNECTED[..], &[SocketState::TimeWait]].concat();
            states.retain(|state| !matches!(state, SocketState::SynSent | SocketState::SynRecv));
            states
        }
        "bucket" => vec![SocketState::SynRecv, SocketState::TimeWait],
        "big" => {
            let mut states = SocketState::ALL.to_vec();
            states.retain(|state| !matches!(state, SocketState::SynRecv | SocketState::TimeWait));
            states
        }
        _ => Vec::new(),
    };
    let one = SocketState::ALL.iter().find(|state| state.name() == name);
    states.extend(one.filter(|_| states.is_empty()));
    (!states.is_empty()).then_some(states)
}

/// Adds the words of a filter to it, and the states of `kind` if the words name none.
///
/// # Errors
/// Returns a sentence about the first word that is wrong.
pub(super) fn parse(words: &[String], kind: Kind, filter: &mut SocketFilter) -> Result<(), String> {
    let mut words = words.iter().map(String::as_str).peekable();
    let mut excluded = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "and" | "&&" => {}
            "state" | "exclude" => {
                let name = words.next().unwrap_or_default();
                let states = states_of(name).ok_or_else(|| no_state(name))?;
                let list = if word == "state" {
                    &mut filter.states
                } else {
                    &mut excluded
                };
                list.extend(states);
            }
            "src" | "dst" | "sport" | "dport" => {
                if words
                    .peek()
                    .is_some_and(|next| matches!(*next, "=" | "==" | "eq"))
                {
                    words.next();
                }
                let value = words.next().unwrap_or_default();
                let end = endpoint(word, value)?;
                let is_local = matches!(word, "src" | "sport");
                if is_local {
                    &mut filter.local
                } else {
                    &mut filter.peer
                }
                .push(end);
            }
            _ => {
                return Err(format!(
                    "'{word}' is no word of a filter: use state NAME, exclude NAME, src ADDRESS[:PORT], dst ADDRESS[:PORT], \
                     sport = :PORT, dport = :PORT"
                ));
            }
        }
    }
    if filter.states.is_empty() {
        filter.states = match kind {
            Kind::Connected => CONNECTED.to_vec(),
            Kind::Listening => vec![SocketState::Listening, SocketState::Unconnected],
            Kind::All => SocketState::ALL.to_vec(),
        };
    }
    filter.states.retain(|state| !excluded.contains(state));
    if filter.states.is_empty() {
        return Err("the filter excludes every state: exclude fewer".to_owned());
    }
    Ok(())
}

fn no_state(name: &str) -> String {
    let names: Vec<&str> = SocketState::ALL.iter().map(|state| state.name()).collect();
    format!(
        "'{name}' is no state: use {}, all, connected, synchronized, bucket or big",
        names.join(", ")
    )
}

/// Reads `10.0.0.0/8`, `10.0.0.1:80`, `[fd77::1]:80`, `fd77::/64`, `:80` or, as a port, `80`.
fn endpoint(word: &str, text: &str) -> Result<Endpoint, String> {
    let wrong = || {
        format!(
            "{word} '{text}' is no address or port: write 10.0.0.1, 10.0.0.0/8, 10.0.0.1:80, [fd77::1]:80 or :80"
        )
    };
    let (address, port) = match (text.rsplit_once(':'), word) {
        _ if text.is_empty() => return Err(wrong()),
        (None, "sport" | "dport") => ("", Some(text)),
        // An IPv6 address has colons of its own, unless it is in brackets.
        (Some((address, port)), _) if !address.contains(':') || address.ends_with(']') => {
            (address, Some(port))
        }
        _ => (text, None),
    };
    let port = port.filter(|port| *port != "*").map(str::parse);
    let port = port.transpose().map_err(|_| wrong())?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    let prefix = match address {
        "" | "*" => None,
        _ => {
            let net = address.parse::<IpNet>();
            let net = net.or_else(|_| address.parse::<IpAddr>().map(IpNet::from));
            Some(net.map_err(|_| wrong())?)
        }
    };
    Ok(Endpoint { prefix, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<SocketFilter, String> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        let mut filter = SocketFilter::default();
        parse(&words, Kind::Connected, &mut filter).map(|()| filter)
    }

    #[test]
    fn words_are_understood_as_ss_does() {
        let filter = parsed("state time-wait dst 10.0.0.0/8 sport = :80").expect("good");
        assert_eq!(filter.states, [SocketState::TimeWait]);
        let net = Some("10.0.0.0/8".parse().expect("a net"));
        assert_eq!(
            filter.peer,
            [Endpoint {
                prefix: net,
                port: None
            }]
        );
        assert_eq!(
            filter.local,
            [Endpoint {
                prefix: None,
                port: Some(80)
            }]
        );
        let filter = parsed("dst [fd77::1]:7 and src fd77::2 dport 7").expect("good");
        assert_eq!(filter.peer.len(), 2);
        assert_eq!(filter.peer[0].port, Some(7));
        assert_eq!(filter.local[0].prefix, "fd77::2/128".parse().ok());
        let filter = parsed("exclude time-wait exclude established").expect("good");
        assert!(!filter.states.contains(&SocketState::Established));
        assert!(filter.states.contains(&SocketState::SynSent));
        let all = parsed("state all exclude listening")
            .expect("good")
            .states
            .len();
        assert_eq!(all, SocketState::ALL.len() - 1);
    }

    #[test]
    fn a_wrong_word_is_named() {
        for (text, says) in [
            ("colour red", "'colour'"),
            ("state open", "'open'"),
            ("state", "'' is no state"),
            ("dst ten", "'ten'"),
            ("sport = :http", "':http'"),
            ("dst", "dst ''"),
            ("src 10.0.0.0/33", "10.0.0.0/33"),
            ("state established exclude established", "every state"),
        ] {
            let why = parsed(text).expect_err(text);
            assert!(why.contains(says) && why.contains(": "), "{text}: {why}");
        }
    }
}
