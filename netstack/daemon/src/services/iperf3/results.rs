//! The numbers of a test, for its client.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::params::{Params, Protocol};
use super::stream::{Counts, Snapshot};

/// Processor time of this program: of its own code, and of the system for it, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    user: f64,
    system: f64,
}

impl Load {
    /// Returns the time until now; nothing if the system does not say.
    pub(super) fn now() -> Self {
        const PER_SECOND: f64 = 100.0;
        // No disk is read: the system makes this file up.
        let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // Behind the name, which may have spaces: the fields from the third on.
        let fields = text.rsplit_once(')').map(|(_, rest)| rest);
        let field = |number: usize| {
            let word = fields?.split_whitespace().nth(number - 3)?;
            word.parse::<f64>().ok()
        };
        Self {
            user: field(14).unwrap_or_default() / PER_SECOND,
            system: field(15).unwrap_or_default() / PER_SECOND,
        }
    }

    /// Returns the shares of `elapsed` since `earlier`, in percent.
    fn since(self, earlier: Self, elapsed: Duration) -> Self {
        let share = |now: f64, then: f64| {
            let seconds = elapsed.as_secs_f64();
            if seconds > 0.0 {
                (now - then) * 100.0 / seconds
            } else {
                0.0
            }
        };
        Self {
            user: share(self.user, earlier.user),
            system: share(self.system, earlier.system),
        }
    }
}

/// A test that has ended.
#[derive(Debug)]
pub(super) struct Outcome<'a> {
    pub(super) params: &'a Params,
    pub(super) peer: SocketAddr,
    /// Each stream, and its numbers when the beginning was over that does not count.
    pub(super) streams: &'a [(std::sync::Arc<Counts>, Snapshot)],
    /// Time of that which counts.
    pub(super) counted: Duration,
    /// Time of the whole test, and the load before it.
    pub(super) elapsed: Duration,
    pub(super) before: Load,
}

impl Outcome<'_> {
    /// Returns the results as the client reads them.
    pub(super) fn json(&self) -> Value {
        let load = Load::now().since(self.before, self.elapsed);
        let counts_retransmits = match (self.params.protocol, self.params.send) {
            (_, 0) => -1,
            (Protocol::Tcp, _) => 1,
            (Protocol::Udp, _) => 0,
        };
        let streams: Vec<Value> = self.streams.iter().map(|one| self.stream(one)).collect();
        let mut results = json!({
            "cpu_util_total": load.user + load.system,
            "cpu_util_user": load.user,
            "cpu_util_system": load.system,
            "sender_has_retransmits": counts_retransmits,
            "streams": streams,
        });
        if self.params.wants_output {
            results["server_output_text"] = self.text().into();
        }
        results
    }

    fn stream(&self, (counts, omitted): &(std::sync::Arc<Counts>, Snapshot)) -> Value {
        let now = counts.snapshot();
        let retransmits = match (self.params.protocol, counts.sends) {
            (Protocol::Tcp, true) => i64::from(now.retransmits.saturating_sub(omitted.retransmits)),
            _ => -1,
        };
        let jitter = Duration::from_nanos(counts.jitter.load(Ordering::Relaxed));
        json!({
            "id": counts.id,
            "bytes": now.bytes.saturating_sub(omitted.bytes),
            "retransmits": retransmits,
            "jitter": jitter.as_secs_f64(),
            "errors": now.errors,
            "omitted_errors": omitted.errors,
            "packets": now.packets,
            "omitted_packets": omitted.packets,
            "start_time": 0,
            "end_time": self.counted.as_secs_f64(),
        })
    }

    /// Returns the report of this side, which the client prints.
    fn text(&self) -> String {
        let seconds = self.counted.as_secs_f64();
        let mut text = format!(
            "netstackd {}, as a server of iperf3\nAccepted connection from {}\n\
             [ ID]  Interval          Bytes           Mbit/s\n",
            env!("CARGO_PKG_VERSION"),
            self.peer
        );
        for (counts, omitted) in self.streams {
            let now = counts.snapshot();
            let bytes = now.bytes.saturating_sub(omitted.bytes);
            let rate = if seconds > 0.0 {
                bytes as f64 * 8e-6 / seconds
            } else {
                0.0
            };
            let side = if counts.sends { "sender" } else { "receiver" };
            // Writing to a String does not fail.
            let _ = write!(
                text,
                "[{:3}]  0.00-{seconds:.2} s  {bytes:14}  {rate:11.1}  {side}",
                counts.id
            );
            if self.params.protocol == Protocol::Udp && !counts.sends {
                let jitter = counts.jitter.load(Ordering::Relaxed) as f64 / 1e6;
                let (lost, packets) = (now.errors, now.packets);
                let _ = write!(text, "  jitter {jitter:.3} ms  lost {lost}/{packets}");
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_beginning_that_is_left_out_does_not_count() {
        let counts = Arc::new(Counts::new(1, false));
        for (counter, value) in [
            (&counts.bytes, 1_000),
            (&counts.packets, 10),
            (&counts.errors, 2),
            (&counts.jitter, 1_500_000),
        ] {
            counter.store(value, Ordering::Relaxed);
        }
        let omitted = Snapshot {
            bytes: 300,
            packets: 3,
            errors: 1,
            retransmits: 0,
        };
        let wire = json!({"udp": true, "get_server_output": 1});
        let params = Params::parse(wire).expect("good");
        let outcome = Outcome {
            params: &params,
            peer: "10.77.0.1:4000".parse().expect("an address"),
            streams: &[(counts, omitted)],
            counted: Duration::from_secs(2),
            elapsed: Duration::from_secs(3),
            before: Load::now(),
        };
        let json = outcome.json();
        let stream = &json["streams"][0];
        assert_eq!((&stream["id"], &stream["bytes"]), (&json!(3), &json!(700)));
        assert_eq!(stream["packets"], 10);
        assert_eq!(stream["omitted_packets"], 3);
        assert_eq!(
            (&stream["errors"], &stream["omitted_errors"]),
            (&json!(2), &json!(1))
        );
        assert_eq!(stream["jitter"], 0.0015);
        assert_eq!(
            (&json["sender_has_retransmits"], &stream["retransmits"]),
            (&json!(-1), &json!(-1))
        );
        let text = json["server_output_text"].as_str().expect("text");
        assert!(
            text.contains("10.77.0.1:4000") && text.contains("lost 2/10"),
            "{text}"
        );
    }
}
