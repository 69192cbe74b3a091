//! `synflood`: the rate at which a kernel client connects, without and during a flood of SYNs from random sources.
//!
//! ```sh
//! cargo run --release -p tests --bin synflood -- --rate 200000 --seconds 10
//! ```
//!
//! Needs root, or user namespaces: see the crate's documentation. As `synflood run …` it is the daemon itself.

use std::io::Write as _;
use std::net::{SocketAddr, SocketAddrV4};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use netstackd::child::Daemon;
use netstackd::probe::flood::{Flooded, SynFlood};
use netstackd::probe::{now, stream};
use tests::world::{V4, in_namespace, port, serve};

/// Connections between two looks at the clock.
const BATCH: u64 = 50;
/// Bytes that each connection exchanges.
const MESSAGE: usize = 100;

/// The settings of a measurement.
struct Options {
    /// SYNs per second.
    rate: u32,
    /// Length of the part without and of the part with the flood; the warm-up and the part after take a quarter of it.
    time: Duration,
    /// Pairs of a part without and a part with the flood.
    rounds: u32,
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("run") {
        return netstackd::main();
    }
    let result =
        options(std::env::args().skip(1)).and_then(|options| in_namespace(|| run(&options)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print(&format!("synflood: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        rate: 200_000,
        time: Duration::from_secs(5),
        rounds: 3,
    };
    while let Some(word) = words.next() {
        let value = words.next().and_then(|text| text.parse::<u32>().ok());
        match (word.as_str(), value) {
            ("--rate", Some(rate)) => options.rate = rate,
            ("--seconds", Some(seconds)) => options.time = Duration::from_secs(seconds.into()),
            ("--rounds", Some(rounds)) => options.rounds = rounds,
            _ => {
                return Err(format!(
                    "'{word}': use --rate N, --seconds N and --rounds N"
                ));
            }
        }
    }
    Ok(options)
}

/// The connections of the client.
struct Connected {
    count: u64,
    per_second: f64,
}

/// Connects, exchanges and closes for `time`.
fn client(time: Duration) -> Result<Connected, String> {
    let target = SocketAddr::new(V4.into(), port::ECHO);
    let (start, mut count) = (now(), 0);
    while now() - start < time {
        stream::connections(target, BATCH, MESSAGE)?;
        count += BATCH;
    }
    let per_second = count as f64 / (now() - start).as_secs_f64();
    Ok(Connected { count, per_second })
}

/// Runs the client beside a flood.
fn flooded(options: &Options, seed: u64) -> Result<(Connected, Flooded), String> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let target = SocketAddrV4::new(V4, port::ECHO);
            let mut flood = SynFlood::new(target, seed)?;
            flood.run(Some(options.rate), || stop.load(Ordering::Relaxed))
        });
        let connected = client(options.time);
        stop.store(true, Ordering::Relaxed);
        let flooded = flood
            .join()
            .map_err(|_| "the flood panicked".to_owned())??;
        Ok((connected?, flooded))
    })
}

fn run(options: &Options) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|e| format!("this program's path: {e}"))?;
    let daemon = serve(&program, &[]);
    client(options.time / 4)?;
    for round in 0..options.rounds {
        let at_start = Counted::of(&daemon)?;
        let before = client(options.time)?;
        let counted = Counted::of(&daemon)?;
        let (during, flood) = flooded(options, round.into())?;
        let seen = Counted::of(&daemon)?;
        let after = client(options.time / 4)?;
        // The client's packets arrive beside the flood's: about as many for a connection as without the flood.
        let per_connection = (counted.packets - at_start.packets) as f64 / before.count as f64;
        let syns = (seen.packets - counted.packets) as f64 - per_connection * during.count as f64;
        print(&format!(
            "{:.0} SYNs/s sent, about {:.1} % of them seen; connections/s: {:.0} without, {:.0} during ({:.2}), {:.0} \
             at once after; {} half open, {} cookies sent, {} returned; {} MB resident",
            flood.per_second(),
            100.0 * syns / flood.syns.max(1) as f64,
            before.per_second,
            during.per_second,
            during.per_second / before.per_second,
            after.per_second,
            seen.half_open,
            seen.cookies - counted.cookies,
            seen.returned - counted.returned,
            daemon.resident_bytes() >> 20,
        ));
    }
    Ok(())
}

/// Counters of the daemon.
struct Counted {
    packets: u64,
    half_open: u64,
    cookies: u64,
    returned: u64,
}

impl Counted {
    fn of(daemon: &Daemon) -> Result<Self, String> {
        let counts = daemon.counters()?;
        Ok(Self {
            packets: counts.get("packets_in"),
            half_open: counts.get("half_open"),
            cookies: counts.get("tcp_syn_cookies_sent"),
            returned: counts.get("tcp_syn_cookies_returned"),
        })
    }
}
