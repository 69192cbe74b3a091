//! Reads the stack at each scrape.

use std::fmt;
use std::sync::Arc;

use netstack::base::DropReason;
use netstack::base::counters::Counter;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::control::Target;
use crate::control::protocol::WorkerRow;
use crate::control::stats;

/// Counters, drops, objects of the MIBs and gauges of one stack.
#[derive(Debug)]
pub(super) struct StackCollector {
    target: Arc<Target>,
}

impl StackCollector {
    pub(super) fn new(target: &Arc<Target>) -> Self {
        Self {
            target: Arc::clone(target),
        }
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> Result<(), fmt::Error> {
    let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    gauge.encode(metric)
}

fn counter(encoder: MetricEncoder<'_>, value: u64) -> Result<(), fmt::Error> {
    ConstCounter::new(value).encode(encoder)
}

impl Collector for StackCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let stack = &self.target.stack();
        let counters = stack.counters();
        for &one in Counter::ALL {
            let metric =
                encoder.encode_descriptor(one.label(), one.help(), None, MetricType::Counter)?;
            counter(metric, counters.count(one))?;
        }
        let help =
            "Packets that captures of the control socket missed: their clients were too slow";
        let metric =
            encoder.encode_descriptor(stats::CAPTURE_LOST, help, None, MetricType::Counter)?;
        counter(metric, self.target.captures.lost())?;
        let help = "Packets that were discarded, by reason";
        let mut drops =
            encoder.encode_descriptor("dropped_packets", help, None, MetricType::Counter)?;
        for &reason in DropReason::ALL {
            let labels = [("reason", reason.label())];
            counter(drops.encode_family(&labels)?, counters.dropped(reason))?;
        }
        let help = "Objects of the MIBs, by their names in nstat";
        let mut mib = encoder.encode_descriptor("mib", help, None, MetricType::Counter)?;
        for (name, value) in stack.mib().iter() {
            // This one goes up and down; it is among the gauges.
            if name != "TcpCurrEstab" {
                counter(mib.encode_family(&[("name", name)])?, value)?;
            }
        }
        for (name, value) in stats::gauges(stack) {
            let (name, help) = match name {
                "memory_used" | "memory_allocated" | "memory_limit" => {
                    (format!("{name}_bytes"), "Memory for packets".to_owned())
                }
                "memory_level" => (
                    name.to_owned(),
                    "How short memory is: 0 ease, 1 pressure, 2 limit".to_owned(),
                ),
                _ => (
                    name.to_owned(),
                    format!("The number of {} now", name.replace('_', " ")),
                ),
            };
            gauge(&mut encoder, &name, &help, value)?;
        }
        for (name, value) in stats::activities(&self.target) {
            let help = match name {
                "recording" => "The stack is recorded",
                "recording_ended" => {
                    "The recording has ended: its limit, its disk or a request of the program; the log says which"
                }
                "recording_parts" => "The parts of the recording that were begun after the first",
                "recording_cut_off" => {
                    "Connections that were cut off where a part of the recording began"
                }
                "recording_pause_micros" => "The longest pause where a part of the recording began",
                _ => "The number of captures through the control socket now",
            };
            gauge(&mut encoder, name, help, value)?;
        }
        let workers = stats::workers(stack);
        let lines = workers.first().map(WorkerRow::counts).into_iter().flatten();
        for (place, (name, _)) in lines.enumerate() {
            let name = format!("worker_{name}");
            let help = "The work of each worker";
            let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
            for (number, worker) in workers.iter().enumerate() {
                let labels = [("worker", number)];
                let value = worker.counts().get(place).map_or(0, |count| count.1);
                counter(family.encode_family(&labels)?, value)?;
            }
        }
        let help = "Messages and packets of other threads that wait for each worker";
        let mut queues =
            encoder.encode_descriptor("worker_queue", help, None, MetricType::Gauge)?;
        for (number, worker) in workers.iter().enumerate() {
            let waiting = ConstGauge::new(i64::try_from(worker.queue).unwrap_or(i64::MAX));
            waiting.encode(queues.encode_family(&[("worker", number)])?)?;
        }
        let uptime = self.target.started.elapsed().as_secs();
        gauge(
            &mut encoder,
            "uptime_seconds",
            "Time since the daemon was started",
            uptime,
        )?;
        let labels = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("tun", &self.target.tun),
        ];
        let help = "The daemon and its device";
        let mut daemon = encoder.encode_descriptor("daemon", help, None, MetricType::Gauge)?;
        ConstGauge::new(1_i64).encode(daemon.encode_family(&labels)?)
    }
}
