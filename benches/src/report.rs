//! The report: medians and ratios as a table, and all samples as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::measure::{METRICS, Metric, Target};
use crate::peer::Family;

/// The peer that the ratios refer to.
pub const REFERENCE: &str = "veth";
/// The kernel behind veth whose server does not copy what it discards.
pub const NOCOPY: &str = "nocopy";
/// The column of this project's stack.
pub const OURS: &str = "ours";

/// One measured value.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Name of the peer.
    pub peer: &'static str,
    /// IP version of the measurement.
    pub family: Family,
    /// Metric of the value.
    pub metric: Metric,
    /// Value in the metric's unit.
    pub value: f64,
}

/// Resident memory of idle connections.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    /// IP version of the connections.
    pub family: Family,
    /// Number of connections.
    pub connections: usize,
    /// Bytes of the server's resident memory per connection.
    pub bytes_each: f64,
}

/// Resident bytes that an idle connection may cost.
pub const IDLE_TARGET_BYTES: f64 = 2048.0;

/// All results of a run.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// Names of the peers, in the order of the columns.
    pub peers: Vec<&'static str>,
    /// All samples.
    pub samples: Vec<Sample>,
    /// Memory of the daemon's idle connections.
    pub idle: Vec<Idle>,
    /// Descriptions of the failures.
    pub failures: Vec<String>,
}

/// Returns the middle value, or the mean of the two middle values; `None` if there are no values.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(*values.get(values.len() / 2 - 1)?, upper))
}

impl Results {
    fn values(&self, peer: &str, family: Family, metric: Metric) -> impl Iterator<Item = f64> {
        self.samples
            .iter()
            .filter(move |s| s.peer == peer && s.family == family && s.metric == metric)
            .map(|sample| sample.value)
    }

    /// Returns the median of a metric; `None` if it was not measured.
    pub fn median(&self, peer: &str, family: Family, metric: Metric) -> Option<f64> {
        median(self.values(peer, family, metric))
    }

    /// Returns the tables, one per family, in Markdown.
    pub fn table(&self) -> String {
        let mut out = String::new();
        for family in Family::ALL {
            if !self.samples.iter().any(|sample| sample.family == family) {
                continue;
            }
            let _ = write!(out, "\n| {:<46} |", family.label());
            for peer in &self.peers {
                let _ = write!(out, " {peer:>7} |");
            }
            out.push_str(" ours/veth | to reach |\n|");
            out.push_str(&"-".repeat(48));
            out.push('|');
            for _ in &self.peers {
                out.push_str("--------:|");
            }
            out.push_str("----------:|----------|\n");
            for metric in METRICS {
                self.row(&mut out, family, metric);
            }
            for idle in self.idle.iter().filter(|idle| idle.family == family) {
                let label = format!("resident bytes per idle connection ({})", idle.connections);
                let _ = write!(out, "| {label:<46} |");
                for peer in &self.peers {
                    let shown = if *peer == OURS {
                        format!("{:.0}", idle.bytes_each)
                    } else {
                        "–".to_owned()
                    };
                    let _ = write!(out, " {shown:>7} |");
                }
                let met = met_or_missed(idle.bytes_each <= IDLE_TARGET_BYTES);
                let _ = writeln!(out, " {:>9} | ≤ {IDLE_TARGET_BYTES} {met} |", "–");
            }
        }
        for failure in &self.failures {
            let _ = writeln!(out, "failed: {failure}");
        }
        out
    }

    fn row(&self, out: &mut String, family: Family, metric: Metric) {
        if !self
            .samples
            .iter()
            .any(|s| s.family == family && s.metric == metric)
        {
            return;
        }
        let _ = write!(out, "| {:<46} |", metric.label);
        for peer in &self.peers {
            let shown = self.median(peer, family, metric).map_or("–".into(), number);
            let _ = write!(out, " {shown:>7} |");
        }
        let ratio = self.ratio(family, metric);
        let shown = ratio.map_or("–".into(), |ratio| format!("{ratio:.2}"));
        let (goal, met) = match metric.target {
            Target::AtLeast(least) => (format!("≥ {least}"), ratio.map(|r| r >= least)),
            Target::AtMost(most) => (format!("≤ {most}"), ratio.map(|r| r <= most)),
            Target::None => (String::new(), None),
        };
        let _ = writeln!(
            out,
            " {shown:>9} | {goal} {} |",
            met.map_or("", met_or_missed)
        );
    }

    fn ratio(&self, family: Family, metric: Metric) -> Option<f64> {
        let ours = self.median(OURS, family, metric)?;
        let reference = self.median(REFERENCE, family, metric)?;
        (reference > 0.0).then_some(ours / reference)
    }

    /// Returns all samples and medians.
    pub fn json(&self, machine: &str) -> Value {
        let mut rows = Vec::new();
        for family in Family::ALL {
            for metric in METRICS {
                for peer in &self.peers {
                    let Some(middle) = self.median(peer, family, metric) else {
                        continue;
                    };
                    let values: Vec<f64> = self.values(peer, family, metric).collect();
                    rows.push(json!({
                        "family": family.label(), "metric": metric.key, "peer": peer,
                        "median": middle, "samples": values,
                    }));
                }
            }
        }
        let idle: Vec<Value> = self
            .idle
            .iter()
            .map(|idle| {
                json!({
                    "family": idle.family.label(), "connections": idle.connections,
                    "bytes_each": idle.bytes_each,
                })
            })
            .collect();
        json!({ "machine": machine, "rows": rows, "idle": idle, "failures": self.failures })
    }
}

fn met_or_missed(met: bool) -> &'static str {
    if met { "met" } else { "missed" }
}

fn number(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 1.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{TCP_IN_1, TCP_P50};

    #[test]
    fn medians() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn the_table_compares_the_ratio_of_medians_with_the_target() {
        let sample = |peer, metric, value| Sample {
            peer,
            family: Family::V4,
            metric,
            value,
        };
        let results = Results {
            peers: vec![REFERENCE, OURS],
            samples: vec![
                sample(REFERENCE, TCP_IN_1, 80.0),
                sample(OURS, TCP_IN_1, 44.0),
                sample(REFERENCE, TCP_P50, 50.0),
                sample(OURS, TCP_P50, 60.0),
            ],
            ..Results::default()
        };
        let table = results.table();
        assert!(table.contains("0.55 | ≥ 0.5 met"), "{table}");
        assert!(table.contains("1.20 | ≤ 1.1 missed"), "{table}");
        assert!(!table.contains("IPv6"), "{table}");
    }
}
