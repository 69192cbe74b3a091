//! The scenario that a seed stands for.

use std::fmt;
use std::time::Duration;

use impair::Impairment;
use impair::settings::Probability;
use netstack::base::{Config, Rng};

use super::draw::Draw;

/// Payload that fits one packet on every link.
const UNFRAGMENTED_BYTES: u64 = 1_000;

/// A host of a scenario.
#[derive(Clone, Debug)]
pub struct HostPlan {
    /// Its limits and policies.
    pub config: Config,
    /// Its workers.
    pub workers: usize,
    /// The MTU of its device.
    pub mtu: u16,
    /// Its device cuts and merges segments.
    pub offload: bool,
    /// The impairment of its link on the way to the others.
    pub up: Impairment,
    /// The impairment on the way back.
    pub down: Impairment,
}

/// Work of one host with another.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// The number of the host that asks.
    pub from: usize,
    /// The number of the host that answers.
    pub to: usize,
    /// Over IPv6.
    pub is_v6: bool,
    /// Time from the start.
    pub after: Duration,
    /// The seed of what is sent.
    pub seed: u64,
    /// The kind of work.
    pub work: Work,
}

/// A piece of work.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// One connection, both directions busy at once.
    Bulk {
        /// Bytes from the client.
        up: u64,
        /// Bytes from the service.
        down: u64,
    },
    /// One connection, one request after the other.
    Requests {
        /// Requests.
        count: u32,
        /// Bytes of an answer.
        bytes: u64,
        /// Time between an answer and the next request.
        pause: Duration,
    },
    /// One short connection after the other.
    Short {
        /// Connections.
        count: u32,
        /// Bytes in each direction.
        bytes: u64,
    },
    /// Many connections at once, which rest most of the time.
    Idle {
        /// Connections.
        count: u32,
        /// Time between two requests on each.
        rest: Duration,
    },
    /// Datagrams, each echoed.
    Datagrams {
        /// Datagrams.
        count: u32,
        /// Bytes of each, without a number in front.
        bytes: u64,
    },
    /// Pings.
    Pings {
        /// Requests.
        count: u32,
        /// Bytes of each.
        bytes: u64,
    },
    /// Connections that ask for much and read nothing.
    Hoard {
        /// Connections.
        count: u32,
        /// Time until they are reset.
        rest: Duration,
    },
}

/// A disturbance.
#[derive(Clone, Debug)]
pub enum Disturbance {
    /// A host is cut off from all others for a while.
    CutOff(Duration),
    /// A host loses its power, and starts again after a while.
    Restart(Duration),
    /// A host loses one of its addresses, and gets it back after a while.
    Address {
        /// The IPv6 address.
        is_v6: bool,
        /// The while.
        back_after: Duration,
    },
    /// The flows of a host go to other workers.
    Steer,
    /// The link of a host becomes another one.
    Impair(Box<(Impairment, Impairment)>),
}

impl Disturbance {
    /// Returns true if connections may end with an error because of it.
    pub fn ends_connections(&self) -> bool {
        !matches!(self, Self::Steer | Self::Impair(_))
    }
}

/// A disturbance of a host, and its time from the start.
#[derive(Clone, Debug)]
pub struct Disturbed {
    /// Time from the start.
    pub at: Duration,
    /// The number of the host.
    pub host: usize,
    /// The disturbance.
    pub what: Disturbance,
}

/// All that a seed decides before the run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The seed.
    pub seed: u64,
    /// The hosts, by number.
    pub hosts: Vec<HostPlan>,
    /// The work that they do with each other.
    pub asks: Vec<Ask>,
    /// The disturbances, in the order of time.
    pub disturbances: Vec<Disturbed>,
}

impl Scenario {
    /// Returns the scenario of a seed.
    pub fn of(seed: u64) -> Self {
        let mut draw = Draw(Rng::from_u64(seed));
        let hosts: Vec<_> = (0..2 + draw.below(4)).map(|_| draw.host()).collect();
        // In half of the runs nothing happens that could end a connection, so none may end with an error.
        let is_harmless = draw.one_in(2);
        let count = hosts.len();
        let asks = (0..2 + draw.below(8))
            .map(|_| draw.ask(count, !is_harmless))
            .collect();
        let disturbances = if is_harmless {
            draw.below(3)
        } else {
            1 + draw.below(4)
        };
        let mut disturbances: Vec<_> = (0..disturbances)
            .map(|_| draw.disturbance(count, is_harmless))
            .collect();
        disturbances.sort_by_key(|disturbed| disturbed.at);
        let mut scenario = Self {
            seed,
            hosts,
            asks,
            disturbances,
        };
        if scenario.corrupts() {
            scenario.avoid_fragments();
        }
        scenario
    }

    /// Returns true if a link inverts bits.
    fn corrupts(&self) -> bool {
        let changed = |disturbed: &Disturbed| match &disturbed.what {
            Disturbance::Impair(links) => links.0.corrupt != Probability::NEVER,
            _ => false,
        };
        let corrupts = |host: &HostPlan| host.up.corrupt != Probability::NEVER;
        self.hosts.iter().any(corrupts) || self.disturbances.iter().any(changed)
    }

    /// Makes datagrams short enough for one packet: two fragments with an inverted bit each can have the right checksum.
    fn avoid_fragments(&mut self) {
        for ask in &mut self.asks {
            if let Work::Datagrams { bytes, .. } | Work::Pings { bytes, .. } = &mut ask.work {
                *bytes = (*bytes).min(UNFRAGMENTED_BYTES);
            }
        }
    }

    /// Returns true if connections may end with an error.
    pub fn may_fail(&self) -> bool {
        let ends = |disturbed: &Disturbed| disturbed.what.ends_connections();
        let hoards = |ask: &Ask| matches!(ask.work, Work::Hoard { .. });
        self.disturbances.iter().any(ends) || self.asks.iter().any(hoards)
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        for (number, host) in self.hosts.iter().enumerate() {
            let HostPlan {
                config,
                workers,
                mtu,
                offload,
                up,
                down,
            } = host;
            let memory = config.memory_bytes.unwrap_or_default() >> 20;
            let tcp = &config.tcp;
            writeln!(
                f,
                "  host {number}: {workers} workers, {memory} MiB, MTU {mtu}, offload {offload}, {}, SACK {}, \
                 timestamps {}, ECN {}/{}/{}, pacing {}",
                tcp.congestion.name(),
                tcp.sack,
                tcp.timestamps,
                tcp.ecn,
                tcp.ecn_offer,
                tcp.accurate_ecn,
                tcp.pacing
            )?;
            writeln!(f, "    up   {up}")?;
            writeln!(f, "    down {down}")?;
        }
        for Ask {
            from,
            to,
            is_v6,
            after,
            work,
            ..
        } in &self.asks
        {
            let family = if *is_v6 { "IPv6" } else { "IPv4" };
            writeln!(
                f,
                "  after {after:?} {from} asks {to} over {family}: {work:?}"
            )?;
        }
        for Disturbed { at, host, what } in &self.disturbances {
            match what {
                Disturbance::Impair(links) => {
                    writeln!(
                        f,
                        "  at {at:?} host {host}: up {}, down {}",
                        links.0, links.1
                    )?;
                }
                what => writeln!(f, "  at {at:?} host {host}: {what:?}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_link_that_is_drawn_can_be_written() {
        for seed in 0..2_000 {
            let mut draw = Draw(Rng::from_u64(seed));
            let link = draw.impairment(seed % 2 == 0);
            let written = link.to_string();
            assert_eq!(
                written.parse::<Impairment>().ok(),
                Some(link),
                "seed {seed}: {written}"
            );
        }
    }

    #[test]
    fn scenarios_differ_and_have_everything() {
        let all: Vec<_> = (0..500).map(Scenario::of).collect();
        assert_eq!(Scenario::of(3).to_string(), all[3].to_string());
        let text: String = all.iter().map(ToString::to_string).collect();
        let words = [
            "Bulk",
            "Requests",
            "Short",
            "Idle",
            "Datagrams",
            "Pings",
            "Hoard",
            "CutOff",
            "Restart",
            "Address",
            "Steer",
            "loss=",
            "gilbert=",
            "reorder=",
            "duplicate=",
            "corrupt=",
            "rate=",
            "mark=",
            "codel",
            "mtu=",
            "too-big=silent",
            "bbr",
            "cubic",
            "newreno",
            "3 workers",
            "MTU 9000",
        ];
        for word in words {
            assert!(text.contains(word), "{word}");
        }
        assert!(all.iter().any(Scenario::may_fail) && !all.iter().all(Scenario::may_fail));
    }
}
