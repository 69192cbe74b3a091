//! `synflood`: the rate at which kernel clients connect, without and during a flood of SYNs from random sources.
//!
//! ```sh
//! cargo run --release -p tests --bin synflood -- --rate 200000 --seconds 10
//! ```
//!
//! The clients connect, exchange 100 bytes and close, `--clients` times a second in all. The namespace keeps no TIME-WAITs:
//! a kernel whose ports are all in TIME-WAIT searches milliseconds for the port of each new connection. It drops what
//! goes back to the sources of the flood where it comes in, as if they were far away.
//!
//! Needs root, or user namespaces: see the crate's documentation. As `synflood run …` it is the daemon itself.

use std::io::Write as _;
use std::net::{SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use netstackd::child::Daemon;
use netstackd::probe::flood::{Flooded, SynFlood};
use netstackd::probe::{RoundTrips, now, stream};
use tests::world::{TUN, V4, in_namespace, nft, port, serve};

/// Threads that the clients' connections are divided among.
const CLIENT_THREADS: u32 = 8;
/// The kernel's address.
const HOST: &str = "10.77.0.1";
/// Bytes that each connection exchanges.
const MESSAGE: usize = 100;

/// The settings of a measurement.
struct Options {
    /// SYNs per second.
    rate: u32,
    /// Connections per second of all clients; 0: each connects again as soon as it has closed.
    clients: u32,
    /// Length of the part without and of the part with the flood; the warm-up and the part after take a quarter of it.
    time: Duration,
    /// Pairs of a part without and a part with the flood.
    rounds: u32,
    /// The daemon; `None`: this program.
    netstackd: Option<PathBuf>,
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
        clients: 200,
        time: Duration::from_secs(5),
        rounds: 3,
        netstackd: None,
    };
    while let Some(word) = words.next() {
        let value = words.next();
        if let ("--netstackd", Some(path)) = (word.as_str(), &value) {
            options.netstackd = Some(path.into());
            continue;
        }
        let value = value.and_then(|text| text.parse::<u32>().ok());
        match (word.as_str(), value) {
            ("--rate", Some(rate)) => options.rate = rate,
            ("--clients", Some(clients)) => options.clients = clients,
            ("--seconds", Some(seconds)) => options.time = Duration::from_secs(seconds.into()),
            ("--rounds", Some(rounds)) => options.rounds = rounds,
            _ => {
                return Err(format!(
                    "'{word}': use --rate N, --clients N, --seconds N, --rounds N and --netstackd PATH"
                ));
            }
        }
    }
    Ok(options)
}

/// The connections of the clients.
struct Connected {
    count: u64,
    per_second: f64,
    /// The time that each took, from connecting to the answer.
    times: RoundTrips,
}

/// Connects, exchanges and closes for `time`, `per_second` times a second, or without a pause if that is 0.
fn clients(per_second: u32, time: Duration) -> Result<Connected, String> {
    let interval = Duration::from_secs(1) * CLIENT_THREADS;
    let interval = interval.checked_div(per_second).unwrap_or_default();
    let start = now();
    let times = thread::scope(|scope| {
        let client = || client(interval, start, time);
        let clients: Vec<_> = (0..CLIENT_THREADS).map(|_| scope.spawn(client)).collect();
        let mut times = Vec::new();
        for client in clients {
            times.extend(
                client
                    .join()
                    .map_err(|_| "a client panicked".to_owned())??,
            );
        }
        Ok::<_, String>(times)
    })?;
    let count = times.len() as u64;
    let per_second = count as f64 / (now() - start).as_secs_f64();
    Ok(Connected {
        count,
        per_second,
        times: RoundTrips::new(times),
    })
}

/// Connects every `interval`, or later if the connection before took longer; returns the time that each took.
fn client(interval: Duration, start: Duration, time: Duration) -> Result<Vec<Duration>, String> {
    let target = SocketAddr::new(V4.into(), port::ECHO);
    let mut times = Vec::new();
    let mut due = start;
    while now() - start < time {
        thread::sleep(due.saturating_sub(now()));
        times.push(stream::connections(target, 1, MESSAGE)?);
        due = now().max(due + interval);
    }
    Ok(times)
}

/// Runs the clients beside a flood.
fn flooded(options: &Options, seed: u64) -> Result<(Connected, Flooded), String> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let target = SocketAddrV4::new(V4, port::ECHO);
            let mut flood = SynFlood::new(TUN, target, seed)?;
            flood.run(Some(options.rate), || stop.load(Ordering::Relaxed))
        });
        let connected = clients(options.clients, options.time);
        stop.store(true, Ordering::Relaxed);
        let flooded = flood
            .join()
            .map_err(|_| "the flood panicked".to_owned())??;
        Ok((connected?, flooded))
    })
}

fn run(options: &Options) -> Result<(), String> {
    let program = match &options.netstackd {
        Some(path) => path.clone(),
        None => std::env::current_exe().map_err(|e| format!("this program's path: {e}"))?,
    };
    let time_waits = "/proc/sys/net/ipv4/tcp_max_tw_buckets";
    std::fs::write(time_waits, "0").map_err(|e| format!("{time_waits}: {e}"))?;
    let daemon = serve(&program, &[]);
    nft(&format!(
        "table netdev flood {{ chain back {{ type filter hook ingress device {TUN} priority 0; \
         ip daddr != {HOST} drop; }}; }}"
    ));
    let connect = |time| clients(options.clients, time);
    connect(options.time / 4)?;
    for round in 0..options.rounds {
        let at_start = Counted::of(&daemon)?;
        let before = connect(options.time)?;
        let counted = Counted::of(&daemon)?;
        let (during, flood) = flooded(options, round.into())?;
        let seen = Counted::of(&daemon)?;
        let after = connect(options.time / 4)?;
        // The clients' packets arrive beside the flood's: about as many for a connection as without the flood.
        let per_connection = (counted.packets - at_start.packets) as f64 / before.count as f64;
        let syns = (seen.packets - counted.packets) as f64 - per_connection * during.count as f64;
        print(&format!(
            "{:.0} SYNs/s sent, about {:.1} % of them seen; {} half open, {} cookies sent, {} returned; {} MB resident",
            flood.per_second(),
            100.0 * syns / flood.syns.max(1) as f64,
            seen.half_open,
            seen.cookies - counted.cookies,
            seen.returned - counted.returned,
            daemon.resident_bytes() >> 20,
        ));
        for (part, connected) in [("without", &before), ("during", &during), ("after", &after)] {
            let times = [50, 99, 100].map(|percent| connected.times.percentile(percent));
            print(&format!(
                "  {part:8} {:6.0} connections/s ({:.2}); one takes {:.1?}, 99 of 100 at most {:.1?}, the slowest {:.1?}",
                connected.per_second,
                connected.per_second / before.per_second,
                times[0],
                times[1],
                times[2],
            ));
        }
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
