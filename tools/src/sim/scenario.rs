//! The scenario that a seed stands for.

use std::fmt;
use std::time::Duration;

use impair::Impairment;
use impair::settings::Probability;
use netstack::base::congestion::Algorithm;
use netstack::base::{Config, Rng};

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

/// Draws parts of a scenario.
struct Draw(Rng);

impl Draw {
    fn below(&mut self, bound: u32) -> u32 {
        self.0.below(bound)
    }

    fn one_in(&mut self, count: u32) -> bool {
        self.below(count) == 0
    }

    /// Returns a number whose magnitude is uniform rather than itself.
    fn magnitude(&mut self, least_bits: u32, most_bits: u32) -> u64 {
        let bits = least_bits + self.below(most_bits - least_bits + 1);
        let whole = 1_u64 << bits;
        whole + self.0.u64() % whole
    }

    fn millis(&mut self, least: u32, most: u32) -> Duration {
        Duration::from_millis(u64::from(least + self.below(most - least + 1)))
    }

    /// Returns what one direction of a link does. `may_corrupt`: it inverts bits, too. Only one direction of each path
    /// does: the checksum of the Internet sees one bit of a packet, but not always two.
    fn impairment(&mut self, may_corrupt: bool) -> Impairment {
        let mut keys = Vec::new();
        if !self.one_in(4) {
            keys.push(format!("delay={}us", self.magnitude(5, 16)));
        }
        if self.one_in(3) {
            keys.push(format!("jitter={}us", self.magnitude(3, 12)));
        }
        match self.below(6) {
            0 => keys.push(format!("loss={}%", 1 + self.below(8))),
            1 => keys.push(format!("loss=0.{}%", 1 + self.below(9))),
            2 => keys.push(format!(
                "gilbert={}%:{}%",
                1 + self.below(2),
                40 + self.below(50)
            )),
            _ => {}
        }
        if self.one_in(4) {
            keys.push(format!("reorder={}%", 1 + self.below(10)));
            keys.push(format!("reorder-by={}us", self.magnitude(4, 13)));
        }
        if self.one_in(6) {
            keys.push(format!("duplicate={}%", 1 + self.below(5)));
        }
        if may_corrupt && self.one_in(4) {
            keys.push(format!("corrupt={}%", 1 + self.below(3)));
        }
        if self.one_in(3) {
            keys.push(format!("rate={}kbit", self.magnitude(10, 17)));
            keys.push(format!("queue={}p", 20 + self.below(400)));
            if self.one_in(2) {
                keys.push(["drop=head", "drop=codel"][self.below(2) as usize].to_string());
            }
            if self.one_in(3) {
                keys.push(format!("mark={}p", 5 + self.below(40)));
            }
        }
        if self.one_in(8) {
            keys.push(format!(
                "mtu={}",
                [1_280, 1_400, 1_492][self.below(3) as usize]
            ));
            if self.one_in(3) {
                keys.push("too-big=silent".to_string());
            }
        }
        // Every key and value above is one that there is: a test draws thousands.
        keys.join(",").parse().unwrap_or_default()
    }

    fn config(&mut self) -> Config {
        let memory = match self.below(4) {
            0 => 4 << 20,
            1 => 8 << 20,
            _ => 32 << 20,
        };
        let mut config = Config {
            memory_bytes: Some(memory),
            max_connections: 4_096,
            reassembly_timeout: Duration::from_secs(15),
            ..Config::default()
        };
        let tcp = &mut config.tcp;
        tcp.delayed_ack = self.millis(1, 100);
        tcp.recv_buffer_initial = 4_096 << self.below(7);
        tcp.congestion = Algorithm::ALL[self.below(3) as usize];
        // A burst of losses ends by packets, not by time: who sends one a minute must be patient.
        tcp.syn_retries = 14;
        tcp.data_retries = 24;
        tcp.nagle = self.one_in(2);
        tcp.timestamps = !self.one_in(4);
        tcp.sack = !self.one_in(4);
        tcp.ecn = self.one_in(2);
        tcp.ecn_offer = tcp.ecn && self.one_in(2);
        tcp.accurate_ecn = tcp.ecn && self.one_in(2);
        tcp.pacing = self.one_in(2);
        config
    }

    fn host(&mut self) -> HostPlan {
        HostPlan {
            config: self.config(),
            workers: 1 + self.below(3) as usize,
            mtu: [1_280, 1_400, 1_500, 1_500, 9_000][self.below(5) as usize],
            offload: self.one_in(2),
            up: self.impairment(true),
            down: self.impairment(false),
        }
    }

    fn ask(&mut self, hosts: usize, may_hoard: bool) -> Ask {
        let from = self.below(hosts as u32) as usize;
        let to = (from + 1 + self.below(hosts as u32 - 1) as usize) % hosts;
        let work = match self.below(if may_hoard { 8 } else { 7 }) {
            0 | 1 => Work::Bulk {
                up: self.magnitude(0, 17),
                down: self.magnitude(0, 17),
            },
            2 => Work::Requests {
                count: 2 + self.below(20),
                bytes: self.magnitude(0, 14),
                pause: self.millis(0, 3_000),
            },
            3 => Work::Short {
                count: 1 + self.below(20),
                bytes: self.magnitude(0, 11),
            },
            4 => Work::Idle {
                count: 2 + self.below(20),
                rest: self.millis(10, 60_000),
            },
            5 => Work::Datagrams {
                count: 1 + self.below(20),
                bytes: self.magnitude(0, 14),
            },
            6 => Work::Pings {
                count: 1 + self.below(10),
                bytes: self.magnitude(0, 12),
            },
            _ => Work::Hoard {
                count: 1 + self.below(12),
                rest: self.millis(1_000, 20_000),
            },
        };
        Ask {
            from,
            to,
            is_v6: self.one_in(2),
            after: self.millis(0, 5_000),
            seed: self.0.u64(),
            work,
        }
    }

    fn disturbance(&mut self, hosts: usize, is_harmless: bool) -> Disturbed {
        let what = match self.below(if is_harmless { 2 } else { 5 }) {
            0 => Disturbance::Steer,
            1 => Disturbance::Impair(Box::new((self.impairment(true), self.impairment(false)))),
            2 => Disturbance::CutOff(Duration::from_millis(self.magnitude(6, 16))),
            3 => Disturbance::Restart(Duration::from_millis(self.magnitude(0, 14))),
            _ => Disturbance::Address {
                is_v6: self.one_in(2),
                back_after: Duration::from_millis(self.magnitude(6, 15)),
            },
        };
        Disturbed {
            at: self.millis(0, 12_000),
            host: self.below(hosts as u32) as usize,
            what,
        }
    }
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
