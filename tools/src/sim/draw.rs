//! The parts of a scenario as a seed draws them: hosts, links, work and disturbances.

use std::time::Duration;

use impair::Impairment;
use netstack::base::congestion::Algorithm;
use netstack::base::{Config, Rng};

use super::scenario::{Ask, Disturbance, Disturbed, HostPlan, Work};

/// Draws parts of a scenario.
pub(super) struct Draw(pub(super) Rng);

impl Draw {
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        self.0.below(bound)
    }

    pub(super) fn one_in(&mut self, count: u32) -> bool {
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
    pub(super) fn impairment(&mut self, may_corrupt: bool) -> Impairment {
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

    pub(super) fn host(&mut self) -> HostPlan {
        HostPlan {
            config: self.config(),
            workers: 1 + self.below(3) as usize,
            mtu: [1_280, 1_400, 1_500, 1_500, 9_000][self.below(5) as usize],
            offload: self.one_in(2),
            up: self.impairment(true),
            down: self.impairment(false),
        }
    }

    pub(super) fn ask(&mut self, hosts: usize, may_hoard: bool) -> Ask {
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

    pub(super) fn disturbance(&mut self, hosts: usize, is_harmless: bool) -> Disturbed {
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
