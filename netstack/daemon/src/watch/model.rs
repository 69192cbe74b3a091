//! The content of the dashboard: rates between two looks, their history, the busiest flows.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::control::protocol::{Hello, Stats, WorkerRow};
use crate::control::rows::SocketRow;

/// Looks whose throughput is remembered: more than a terminal is wide.
const HISTORY: usize = 512;

/// Most flows that are kept for the table.
const MAX_FLOWS: usize = 256;

/// Most workers: the kernel's limit of queues. A number of the daemon is no reason to trust it.
const MAX_WORKERS: usize = 256;

/// The order of the busiest flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    #[default]
    Throughput,
    RoundTrip,
    Retransmits,
    Memory,
}

impl Order {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::RoundTrip => "round-trip time",
            Self::Retransmits => "retransmissions",
            Self::Memory => "memory",
        }
    }
}

/// One flow.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub(super) row: SocketRow,
    /// Bytes a second, in and out.
    pub(super) rates: (f64, f64),
}

/// One worker.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct WorkerLoad {
    /// Its connections, as the last list had them.
    pub(super) connections: usize,
    /// The share of the time in which it was busy.
    pub(super) busy: f64,
    /// Packets a second, in and out.
    pub(super) packets: (f64, f64),
    /// Bytes a second, in and out.
    pub(super) bytes: (f64, f64),
    pub(super) queue: u64,
}

/// A counter with its rate.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rate {
    pub(super) name: String,
    pub(super) total: u64,
    pub(super) per_second: f64,
}

/// All that is shown.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) title: String,
    pub(super) stats: Stats,
    /// Bits a second, in and out, the latest last.
    pub(super) history: VecDeque<(u64, u64)>,
    pub(super) flows: Vec<Flow>,
    pub(super) flow_count: usize,
    pub(super) workers: Vec<WorkerLoad>,
    /// Reasons that were counted at all, the most frequent now first.
    pub(super) drops: Vec<Rate>,
    pub(super) retransmits: Rate,
    pub(super) opened: Rate,
    pub(super) packets: (f64, f64),
    pub(super) order: Order,
    pub(super) is_paused: bool,
    /// Bytes of each flow at the last list, in and out, and when that was.
    bytes: HashMap<(SocketAddr, SocketAddr), (u64, u64)>,
    listed: Option<Duration>,
    has_looked: bool,
}

impl Model {
    pub(super) fn new(hello: &Hello) -> Self {
        let none = |name: &str| Rate {
            name: name.to_owned(),
            total: 0,
            per_second: 0.0,
        };
        Self {
            title: format!(
                "netstackd {} {} {}",
                hello.version,
                hello.tun,
                hello.addresses.join(" ")
            ),
            stats: Stats::default(),
            history: VecDeque::new(),
            flows: Vec::new(),
            flow_count: 0,
            workers: Vec::new(),
            drops: Vec::new(),
            retransmits: none("retransmitted"),
            opened: none("opened"),
            packets: (0.0, 0.0),
            order: Order::default(),
            is_paused: false,
            bytes: HashMap::new(),
            listed: None,
            has_looked: false,
        }
    }

    /// Takes in what the daemon says at `now`: its counters, and its connections if they were asked for.
    pub(super) fn look(&mut self, stats: &Stats, rows: Option<&[SocketRow]>, now: Duration) {
        let millis = stats.uptime_millis.saturating_sub(self.stats.uptime_millis);
        let seconds = if self.has_looked {
            millis.max(1) as f64 / 1e3
        } else {
            f64::INFINITY
        };
        let before = std::mem::replace(&mut self.stats, stats.clone());
        let rate = |was: &BTreeMap<String, u64>, is: &BTreeMap<String, u64>, name: &str| {
            let total = is.get(name).copied().unwrap_or(0);
            let added = total.saturating_sub(was.get(name).copied().unwrap_or(0));
            Rate {
                name: name.to_owned(),
                total,
                per_second: added as f64 / seconds,
            }
        };
        let counter = |name: &str| rate(&before.counters, &stats.counters, name);
        if self.has_looked {
            let bits = |name: &str| (counter(name).per_second * 8.0) as u64;
            self.history
                .push_back((bits("bytes_in"), bits("bytes_out")));
            if self.history.len() > HISTORY {
                self.history.pop_front();
            }
        }
        self.packets = (
            counter("packets_in").per_second,
            counter("packets_out").per_second,
        );
        self.retransmits = counter("tcp_retransmits");
        self.opened = counter("tcp_passive_opens");
        let drops = stats
            .drops
            .keys()
            .map(|name| rate(&before.drops, &stats.drops, name));
        self.drops = drops.filter(|drop| drop.total > 0).collect();
        self.drops.sort_by(|a, b| {
            let by_rate = b.per_second.total_cmp(&a.per_second);
            by_rate.then(b.total.cmp(&a.total))
        });
        self.has_looked = true;
        self.load(&before, seconds);
        if let Some(rows) = rows {
            self.list(rows, now);
        }
    }

    /// Takes in the work of the workers, which `before` had at the last look.
    fn load(&mut self, before: &Stats, seconds: f64) {
        self.workers.resize_with(
            self.stats.workers.len().min(MAX_WORKERS),
            WorkerLoad::default,
        );
        let none = WorkerRow::default();
        for (number, load) in self.workers.iter_mut().enumerate() {
            let is = self.stats.workers.get(number).unwrap_or(&none);
            let was = before.workers.get(number).unwrap_or(&none);
            let rate =
                |get: fn(&WorkerRow) -> u64| get(is).saturating_sub(get(was)) as f64 / seconds;
            *load = WorkerLoad {
                connections: load.connections,
                busy: (rate(|worker| worker.busy_micros) / 1e6).min(1.0),
                packets: (
                    rate(|worker| worker.packets_in),
                    rate(|worker| worker.packets_out),
                ),
                bytes: (
                    rate(|worker| worker.bytes_in),
                    rate(|worker| worker.bytes_out),
                ),
                queue: is.queue,
            };
        }
    }

    /// Takes in the connections.
    fn list(&mut self, rows: &[SocketRow], now: Duration) {
        let seconds = self
            .listed
            .map(|then| now.saturating_sub(then).as_secs_f64().max(1e-3));
        self.listed = Some(now);
        for load in &mut self.workers {
            load.connections = 0;
        }
        let mut bytes = HashMap::with_capacity(rows.len());
        let mut flows = Vec::with_capacity(rows.len());
        for row in rows {
            let (Some(tcp), Some(peer)) = (&row.tcp, row.peer) else {
                continue;
            };
            let is = (tcp.bytes_received, tcp.bytes_acked);
            let was = self.bytes.get(&(row.local, peer)).copied();
            // Of a flow that is new, everything came since the last list.
            let was = was.unwrap_or_default();
            let rates = seconds.map_or((0.0, 0.0), |seconds| {
                let rate = |is: u64, was: u64| is.saturating_sub(was) as f64 / seconds;
                (rate(is.0, was.0), rate(is.1, was.1))
            });
            if let Some(load) = row.worker.and_then(|worker| self.workers.get_mut(worker)) {
                load.connections += 1;
            }
            bytes.insert((row.local, peer), is);
            flows.push((rates, row));
        }
        self.bytes = bytes;
        self.flow_count = flows.len();
        let order = self.order;
        flows.sort_by(|a, b| key(order, b.1, b.0).total_cmp(&key(order, a.1, a.0)));
        flows.truncate(MAX_FLOWS);
        let flows = flows.into_iter().map(|(rates, row)| Flow {
            row: row.clone(),
            rates,
        });
        self.flows = flows.collect();
    }

    /// Changes what the flows are ordered by; those that are shown at once, others at the next list.
    pub(super) fn set_order(&mut self, order: Order) {
        self.order = order;
        let key = |flow: &Flow| key(order, &flow.row, flow.rates);
        self.flows.sort_by(|a, b| key(b).total_cmp(&key(a)));
    }

    /// Returns the share of the memory's number that is used, from 0 to 1.
    pub(super) fn memory_share(&self) -> f64 {
        let gauge = |name: &str| self.stats.gauges.get(name).copied().unwrap_or(0) as f64;
        (gauge("memory_used") / gauge("memory_limit").max(1.0)).clamp(0.0, 1.0)
    }
}

fn key(order: Order, row: &SocketRow, rates: (f64, f64)) -> f64 {
    let tcp = |get: fn(&crate::control::rows::TcpRow) -> f64| row.tcp.as_ref().map_or(0.0, get);
    match order {
        Order::Throughput => rates.0 + rates.1,
        Order::RoundTrip => tcp(|tcp| tcp.srtt_micros as f64),
        Order::Retransmits => tcp(|tcp| tcp.retransmits.into()),
        Order::Memory => row.memory_bytes as f64,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::watch) fn hello() -> Hello {
        Hello {
            protocol: 1,
            version: "0.1.0".to_owned(),
            tun: "t0".to_owned(),
            pid: 1,
            addresses: vec!["10.77.0.2/24".to_owned()],
            may_change: true,
        }
    }

    pub(in crate::watch) fn row(
        port: u16,
        bytes: u64,
        rtt_micros: u64,
        worker: usize,
    ) -> SocketRow {
        let text = format!(
            r#"{{"netid":"tcp","state":"established","recv_q":0,"send_q":0,"local":"10.77.0.2:7",
            "peer":"10.77.0.1:{port}","worker":{worker},"memory_bytes":0,"datagrams":null,"tcp":{{
            "rto_micros":200000,"srtt_micros":{rtt_micros},"rttvar_micros":1,"min_rtt_micros":1,"mss":1448,
            "cwnd_bytes":14480,"ssthresh_bytes":0,"in_flight_bytes":0,"unsent_bytes":0,"sacked_bytes":0,
            "lost_bytes":0,"send_window_bytes":0,"recv_window_bytes":0,"recv_buffer_bytes":0,
            "out_of_order_bytes":0,"bytes_received":{bytes},"bytes_acked":{bytes},"retransmits":{port},
            "timeouts":0,"recoveries":0,"spurious":0,"pacing_bytes_per_second":null,
            "delivery_bytes_per_second":null,"recovery":null,"ecn":false,"has_reordering":false}}}}"#
        );
        serde_json::from_str(&text).expect("a row")
    }

    pub(in crate::watch) fn stats(seconds: u64, bytes_in: u64, drops: u64) -> Stats {
        let mut stats = Stats {
            uptime_millis: seconds * 1_000,
            ..Stats::default()
        };
        stats.counters.insert("bytes_in".to_owned(), bytes_in);
        stats.counters.insert("tcp_retransmits".to_owned(), drops);
        stats.drops.insert("tcp_paws".to_owned(), drops);
        stats.drops.insert("ip_no_next_header".to_owned(), 5);
        for (name, value) in [("memory_used", 48 << 20), ("memory_limit", 64 << 20)] {
            stats.gauges.insert(name.to_owned(), value);
        }
        let quiet = WorkerRow::default();
        let busy = WorkerRow {
            packets_in: bytes_in / 100,
            bytes_in,
            busy_micros: seconds * 250_000,
            queue: 3,
            ..quiet.clone()
        };
        stats.workers = vec![quiet, busy];
        stats
    }

    #[test]
    fn rates_are_between_two_looks() {
        let mut model = Model::new(&hello());
        let second = Duration::from_secs;
        model.look(
            &stats(10, 1_000, 3),
            Some(&[row(1, 100, 50, 0), row(2, 100, 90, 1)]),
            second(1),
        );
        assert!(model.history.is_empty(), "one look has no rate");
        assert!(model.flows.iter().all(|flow| flow.rates == (0.0, 0.0)));
        model.look(
            &stats(12, 2_000, 7),
            Some(&[row(1, 100, 50, 0), row(2, 500, 90, 1), row(3, 50, 20, 1)]),
            second(3),
        );
        assert_eq!(model.history, [(4_000, 0)]);
        let busiest: Vec<u16> = model
            .flows
            .iter()
            .filter_map(|flow| Some(flow.row.peer?.port()))
            .collect();
        assert_eq!(busiest, [2, 3, 1]);
        assert_eq!(model.flows[0].rates, (200.0, 200.0));
        assert_eq!(model.workers[1].connections, 2);
        assert_eq!(model.workers[1].packets, (5.0, 0.0));
        assert_eq!(model.workers[1].bytes, (500.0, 0.0));
        assert_eq!((model.workers[1].busy, model.workers[1].queue), (0.25, 3));
        assert_eq!(
            (model.workers[0].busy, model.workers[0].connections),
            (0.0, 1)
        );
        assert_eq!(
            (model.retransmits.total, model.retransmits.per_second),
            (7, 2.0)
        );
        let names: Vec<&str> = model.drops.iter().map(|drop| drop.name.as_str()).collect();
        assert_eq!(
            names,
            ["tcp_paws", "ip_no_next_header"],
            "by rate, then by number"
        );
        model.set_order(Order::RoundTrip);
        assert_eq!(model.flows[0].row.peer.map(|peer| peer.port()), Some(2));
        model.set_order(Order::Retransmits);
        assert_eq!(model.flows[0].row.peer.map(|peer| peer.port()), Some(3));
        assert!((model.memory_share() - 0.75).abs() < 1e-9);
    }

    #[test]
    fn a_daemon_that_was_started_again_gives_no_negative_rates() {
        let mut model = Model::new(&hello());
        model.look(
            &stats(1_000, 1 << 40, 9),
            Some(&[row(1, 1 << 30, 1, 0)]),
            Duration::from_secs(1),
        );
        model.look(
            &stats(1, 10, 0),
            Some(&[row(1, 5, 1, 7)]),
            Duration::from_secs(2),
        );
        assert_eq!(model.history, [(0, 0)]);
        assert_eq!(model.flows[0].rates, (0.0, 0.0));
        for at in 0..2 * HISTORY as u64 {
            model.look(&stats(at, at, 0), None, Duration::from_secs(at));
        }
        assert_eq!(model.history.len(), HISTORY);
    }
}
