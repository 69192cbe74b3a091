//! The sessions of a capture that a host takes part in, ready to be replayed.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::datagrams::exchanges;
use super::errors::Index;
use super::plan::{Clock, Plan, PlanError, Role};
use super::run::Part;
use crate::capture::defragment::defragment;
use crate::capture::{Captured, Session, sessions};

/// The host that the stack takes the place of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// The server of each session.
    Servers,
    /// The client of each session.
    Clients,
    /// The host with this address, in each of its roles.
    Host(IpAddr),
}

impl std::str::FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "server" => Ok(Self::Servers),
            "client" => Ok(Self::Clients),
            _ => text
                .parse()
                .map(Self::Host)
                .map_err(|_| format!("\"{text}\" is neither server, client nor an address")),
        }
    }
}

/// A session of the capture.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its name for people: protocol, number and ends.
    pub name: String,
    /// Its number among those of its protocol, from 1.
    pub number: usize,
    /// The session, or why it cannot be replayed.
    pub part: Result<Part, PlanError>,
}

/// Returns the sessions of a capture that the host takes part in. Of both ends of one address, the server is taken.
pub fn prepare(packets: &[Captured], which: Which) -> Vec<Found> {
    let mut clock = Clock::default();
    let times: HashMap<u64, Duration> = packets
        .iter()
        .map(|packet| (packet.number, clock.play(packet.time)))
        .collect();
    let time = |number: u64| times.get(&number).copied().unwrap_or_default();
    let wholes = defragment(packets);
    let errors = Index::of(&wholes, &time);
    let capture_end = times.values().max().copied().unwrap_or_default();
    let mut found: Vec<Found> = Vec::new();
    let sessions = sessions(packets);
    let ends = until(&sessions);
    for ((number, session), until) in (1..).zip(sessions).zip(ends) {
        let Some(role) = role(&session, which) else {
            continue;
        };
        let (ours, peer) = match role {
            Role::Client => (session.client, session.server),
            Role::Server => (session.server, session.client),
        };
        let first = session.segments.first().map_or(0, |segment| segment.number);
        let errors = errors.of_tcp(ours, peer, first, until);
        let part = Plan::with_errors(&session, role, &time, errors).map(|plan| Plan {
            capture_end,
            ..plan
        });
        found.push(Found {
            name: name("TCP", number, session.client, session.server),
            number,
            part: part.map(|plan| Part::Tcp(Box::new(plan))),
        });
    }
    let host = match which {
        Which::Host(host) => Some(host),
        Which::Servers | Which::Clients => None,
    };
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for mut exchange in exchanges(&wholes, host, &time) {
        if exchange.protocol == "UDP" {
            exchange.errors = errors.of_udp(exchange.ours, exchange.peer);
        }
        let count = counts.entry(exchange.protocol).or_default();
        *count += 1;
        if exchange.pings() || (which == Which::Clients && exchange.protocol == "ICMP") {
            continue;
        }
        found.push(Found {
            name: name(exchange.protocol, *count, exchange.peer, exchange.ours),
            number: *count,
            part: Ok(Part::Datagrams(exchange)),
        });
    }
    found
}

/// Returns for each session the number of the packet with which the next one between the same ends begins.
fn until(sessions: &[Session]) -> Vec<u64> {
    let mut next: HashMap<(SocketAddr, SocketAddr), u64> = HashMap::new();
    let mut ends: Vec<u64> = sessions
        .iter()
        .rev()
        .map(|session| {
            let pair = (
                session.client.min(session.server),
                session.client.max(session.server),
            );
            let first = session.segments.first().map_or(0, |segment| segment.number);
            next.insert(pair, first).unwrap_or(u64::MAX)
        })
        .collect();
    ends.reverse();
    ends
}

fn name(protocol: &str, number: usize, from: SocketAddr, to: SocketAddr) -> String {
    if protocol == "ICMP" {
        return format!("{protocol} {number}: {} → {}", from.ip(), to.ip());
    }
    format!("{protocol} {number}: {from} → {to}")
}

fn role(session: &Session, which: Which) -> Option<Role> {
    match which {
        Which::Servers => Some(Role::Server),
        Which::Clients => Some(Role::Client),
        Which::Host(host) if session.server.ip() == host => Some(Role::Server),
        Which::Host(host) if session.client.ip() == host => Some(Role::Client),
        Which::Host(_) => None,
    }
}
