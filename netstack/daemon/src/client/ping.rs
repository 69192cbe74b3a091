//! `netstackd ping`: ICMP echo requests from the daemon's addresses, printed as ping does.

use std::net::IpAddr;
use std::time::Duration;

use clap::Args;

use super::connection::{Connection, ControlArgs, strange};
use super::print;
use crate::control::protocol::{End, PingRequest, Reply, Request};
use crate::failure::Failure;
use crate::probe::now;

/// Flags of `ping`.
#[derive(Debug, Args)]
pub struct PingArgs {
    #[command(flatten)]
    control: ControlArgs,
    /// Ends after so many requests.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Seconds between two requests.
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = parse_seconds)]
    interval: Duration,
    /// Bytes of each.
    #[arg(short, long, value_name = "BYTES", default_value_t = 56)]
    size: u16,
    /// Time to live, or hop limit.
    #[arg(short, long, value_name = "TTL", value_parser = clap::value_parser!(u8).range(1..))]
    ttl: Option<u8>,
    /// Seconds that the last one has to be answered.
    #[arg(short = 'W', long, value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    timeout: Duration,
    /// Source: an address of the daemon.
    #[arg(short = 'I', long, value_name = "ADDR")]
    source: Option<IpAddr>,
    /// Sums alone.
    #[arg(short, long)]
    quiet: bool,
    /// The host that is asked.
    #[arg(value_name = "ADDR")]
    address: IpAddr,
}

/// Parses seconds, which may have a fraction.
pub(super) fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse()
        .ok()
        .filter(|seconds| (0.001..=3_600.0).contains(seconds));
    let seconds = seconds.map(Duration::from_secs_f64);
    seconds.ok_or_else(|| "use 0.001 to 3600".to_owned())
}

/// Round trips, in microseconds.
#[derive(Debug, Default)]
struct Times {
    count: f64,
    sum: f64,
    squares: f64,
    least: f64,
    most: f64,
}

impl Times {
    fn add(&mut self, micros: u64) {
        let micros = micros as f64;
        self.least = if self.count == 0.0 {
            micros
        } else {
            self.least.min(micros)
        };
        self.most = self.most.max(micros);
        self.count += 1.0;
        self.sum += micros;
        self.squares += micros * micros;
    }

    fn line(&self) -> String {
        let mean = self.sum / self.count;
        let deviation = (self.squares / self.count - mean * mean).max(0.0).sqrt();
        let [least, mean, most, deviation] =
            [self.least, mean, self.most, deviation].map(|micros| micros / 1e3);
        format!("rtt min/avg/max/mdev = {least:.3}/{mean:.3}/{most:.3}/{deviation:.3} ms\n")
    }
}

/// Pings until the count is reached or SIGINT.
///
/// # Errors
/// No answer came, no daemon answers, or it refuses.
pub(crate) fn run(args: &PingArgs) -> Result<(), Failure> {
    let mut connection = Connection::open(&args.control)?;
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let begun = now();
    connection.send(&Request::Ping(PingRequest {
        address: args.address,
        source: args.source,
        count: args.count,
        interval_millis: millis(args.interval),
        timeout_millis: millis(args.timeout),
        size: args.size,
        ttl: args.ttl,
    }))?;
    connection.stop_at_signal()?;
    print(&format!(
        "PING {} {} bytes of data.\n",
        args.address, args.size
    ))?;
    let mut times = Times::default();
    let end = loop {
        match connection.reply()? {
            Reply::Pong(pong) => {
                if !pong.is_duplicate {
                    times.add(pong.rtt_micros);
                }
                if !args.quiet {
                    let again = if pong.is_duplicate { " (DUP!)" } else { "" };
                    print(&format!(
                        "{} bytes from {}: icmp_seq={} time={:.3} ms{again}\n",
                        pong.bytes + 8,
                        pong.from,
                        pong.seq,
                        pong.rtt_micros as f64 / 1e3
                    ))?;
                }
            }
            Reply::End(end) => break end,
            _ => return Err(strange("the control socket")),
        }
    };
    print(&sums(args.address, end, now().saturating_sub(begun)))?;
    if times.count > 0.0 {
        print(&times.line())?;
        return Ok(());
    }
    Err(Failure::Refused(format!(
        "no answer came from {}: check the route to it and whether it answers echo requests",
        args.address
    )))
}

fn sums(address: IpAddr, end: End, took: Duration) -> String {
    let lost = end.count.saturating_sub(end.answered);
    let percent = lost as f64 * 100.0 / end.count.max(1) as f64;
    format!(
        "\n--- {address} ping statistics ---\n{} packets transmitted, {} received, {percent:.0}% packet loss, time {} ms\n",
        end.count,
        end.answered,
        took.as_millis()
    )
}
