//! `netstackd stats`: the daemon's counters as `nstat` prints the kernel's, at once or again and again with rates.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::thread;
use std::time::Duration;

use clap::Args;

use super::connection::{Connection, ControlArgs, strange};
use super::{json_line, print};
use crate::control::protocol::{Reply, Request, Stats};
use crate::failure::Failure;

/// Flags of `stats`.
#[derive(Debug, Args)]
pub struct StatsArgs {
    #[command(flatten)]
    control: ControlArgs,
    /// Prints again after so many seconds: what was added since, and the rate a second.
    #[arg(short, long, value_name = "SECONDS", value_parser = parse_interval)]
    interval: Option<u32>,
    /// Ends after so many prints with an interval.
    #[arg(short, long, value_name = "N", requires = "interval")]
    count: Option<u64>,
    /// Counters that are zero, too.
    #[arg(short, long)]
    zeros: bool,
    /// One JSON object a line.
    #[arg(short, long)]
    json: bool,
    /// Names that are wanted; '*' stands for any letters [default: all].
    #[arg(value_name = "PATTERN")]
    patterns: Vec<String>,
}

fn parse_interval(text: &str) -> Result<u32, String> {
    let seconds = text
        .parse()
        .ok()
        .filter(|seconds| (1..=86_400).contains(seconds));
    seconds.ok_or_else(|| "use 1 to 86400".to_owned())
}

/// A counter by its name: what it counts is added up; a gauge goes up and down.
type Values = BTreeMap<String, (u64, bool)>;

/// Prints the counters.
///
/// # Errors
/// No daemon answers.
pub(crate) fn run(args: &StatsArgs) -> Result<(), Failure> {
    let mut connection = Connection::open(&args.control)?;
    let mut before = read(&mut connection)?;
    let Some(seconds) = args.interval else {
        return print(&text_of(args, &before, None)?);
    };
    let mut printed = 0;
    while args.count.is_none_or(|most| printed < most) {
        thread::sleep(Duration::from_secs(seconds.into()));
        let now = read(&mut connection)?;
        print(&text_of(args, &now, Some(&before))?)?;
        before = now;
        printed += 1;
    }
    Ok(())
}

fn read(connection: &mut Connection) -> Result<Stats, Failure> {
    connection.send(&Request::Stats {})?;
    match connection.reply()? {
        Reply::Stats(stats) => Ok(*stats),
        _ => Err(strange("the control socket")),
    }
}

/// Returns all values by the names that they are printed with.
fn values(stats: &Stats) -> Values {
    let mut values = Values::new();
    let mut add = |prefix: &str, part: &BTreeMap<String, u64>, is_gauge: bool| {
        for (name, value) in part {
            let is_gauge = is_gauge || name == "TcpCurrEstab";
            values.insert(format!("{prefix}{name}"), (*value, is_gauge));
        }
    };
    add("", &stats.mib, false);
    add("netstack.", &stats.counters, false);
    add("drop.", &stats.drops, false);
    add("now.", &stats.gauges, true);
    for (number, worker) in stats.workers.iter().enumerate() {
        let counts = worker.counts().map(|(name, value)| (name, value, false));
        let gauges = worker.gauges().map(|(name, value)| (name, value, true));
        for (name, value, is_gauge) in counts.into_iter().chain(gauges) {
            let prefix = if is_gauge { "now." } else { "" };
            values.insert(format!("{prefix}worker.{number}.{name}"), (value, is_gauge));
        }
    }
    values
}

fn text_of(args: &StatsArgs, now: &Stats, before: Option<&Stats>) -> Result<String, Failure> {
    let earlier = before.map(values).unwrap_or_default();
    let seconds = before.map_or(0.0, |before| {
        now.uptime_millis
            .saturating_sub(before.uptime_millis)
            .max(1) as f64
            / 1e3
    });
    let rows = values(now)
        .into_iter()
        .filter_map(|(name, (value, is_gauge))| {
            let was = earlier.get(&name).map_or(0, |(value, _)| *value);
            let shown = if is_gauge {
                value
            } else {
                value.saturating_sub(was)
            };
            let rate = match before {
                Some(_) if !is_gauge => shown as f64 / seconds,
                _ => 0.0,
            };
            let is_wanted = args.patterns.is_empty()
                || args.patterns.iter().any(|pattern| matches(pattern, &name));
            (is_wanted && (args.zeros || shown > 0)).then_some((name, shown, rate))
        });
    if args.json {
        let rows: BTreeMap<String, serde_json::Value> = rows
            .map(|(name, value, rate)| (name, serde_json::json!({"value": value, "rate": rate})))
            .collect();
        return json_line(&rows);
    }
    let mut text = String::from("#netstackd\n");
    for (name, value, rate) in rows {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{name:<40}{value:<16}{rate:>12.1}");
    }
    Ok(text)
}

/// Returns whether a name matches a pattern with '*'.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(rest) = name.strip_prefix(head) else {
        return false;
    };
    // The first place at which the rest of the pattern matches will do, so this looks at each once.
    tail.is_empty()
        || rest
            .char_indices()
            .any(|(at, _)| matches(tail, &rest[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_have_stars() {
        for (pattern, name, is_match) in [
            ("Tcp*", "TcpInSegs", true),
            ("Tcp*", "IpInReceives", false),
            ("*Segs", "TcpInSegs", true),
            ("drop.*_x*", "drop.tcp_xy", true),
            ("TcpInSegs", "TcpInSegs", true),
            ("TcpIn", "TcpInSegs", false),
            ("*", "ä", true),
        ] {
            assert_eq!(matches(pattern, name), is_match, "{pattern} {name}");
        }
    }

    #[test]
    fn with_an_interval_counters_are_differences_and_gauges_are_not() {
        let args = StatsArgs {
            control: ControlArgs { control: None },
            interval: Some(2),
            count: None,
            zeros: false,
            json: false,
            patterns: Vec::new(),
        };
        let mut before = Stats::default();
        before.mib.insert("TcpInSegs".to_owned(), 100);
        before.gauges.insert("connections".to_owned(), 7);
        let mut now = before.clone();
        now.uptime_millis = 2_000;
        now.mib.insert("TcpInSegs".to_owned(), 150);
        let text = text_of(&args, &now, Some(&before)).expect("text");
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(lines[1], ["TcpInSegs", "50", "25.0"]);
        assert_eq!(lines[2], ["now.connections", "7", "0.0"]);
    }
}
