//! `embedded`: stacks inside a program that carries the packets itself, as a tunnel does: ours over its packet channel
//! and as a future, netstack-smoltcp, ipstack and, if it is built with `--cfg lwip`, lwIP.
//!
//! All run the same services as tokio tasks in the same kind of runtime, behind the same TUN device with single packets of
//! 1,500 bytes, against the same client: kernel sockets. The program reads and writes the packets, and hands them to the
//! stack in the way that the stack offers.
//!
//! ```text
//! cargo bench -p benches --bench embedded                     # one thread for the stack and its services
//! cargo bench -p benches --bench embedded -- --threads 2      # a runtime with two threads
//! RUSTFLAGS="--cfg lwip" cargo bench -p benches --bench embedded   # needs libclang to build
//! ```
//!
//! Needs root, or the root of a user namespace.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use benches::client::{tcp, udp};
use benches::netns::Namespace;
use benches::server::{CHARGEN, DISCARD, ECHO};
use clap::Parser;

mod carrier;
#[cfg(lwip)]
mod lwip;
mod ours;
mod peers;
mod services;

use carrier::Tun;

/// The address of each stack. The kernel has the one before it.
const STACK: [u8; 4] = [10, 77, 0, 2];
const KERNEL: [u8; 4] = [10, 77, 0, 1];
const TUN: &str = "t0";
/// Datagrams in flight in the UDP echo.
const WINDOW: usize = 128;

/// Compares stacks inside a program that carries their packets.
#[derive(Parser, Debug)]
struct Options {
    /// Rounds; each measures every stack once.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Time of each measurement.
    #[arg(long, default_value_t = 1_000)]
    millis: u64,
    /// Threads of the runtime of the stack and its services; 0: one that is the program's only one.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// A run that shows that all works, and measures nothing worth knowing.
    #[arg(long)]
    quick: bool,
    /// Passed by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A stack to compare.
struct Contender {
    name: &'static str,
    /// Serves until the thread that waits for it goes away.
    serve: fn(Tun) -> carrier::Served,
}

fn contenders() -> Vec<Contender> {
    vec![
        Contender {
            name: "ours",
            serve: ours::serve,
        },
        Contender {
            name: "netstack-smoltcp",
            serve: peers::serve_smoltcp,
        },
        Contender {
            name: "ipstack",
            serve: peers::serve_ipstack,
        },
        #[cfg(lwip)]
        Contender {
            name: "lwIP",
            serve: lwip::serve,
        },
    ]
}

/// A measurement, with the direction in which it is better.
const METRICS: [(&str, bool); 5] = [
    ("TCP in, Gb/s", true),
    ("TCP out, Gb/s", true),
    ("UDP 64 B echo, thousand/s", true),
    ("TCP round trip p50, µs", false),
    ("UDP round trip p50, µs", false),
];

fn service(port: u16) -> SocketAddr {
    (STACK, port).into()
}

/// Takes every measurement once. A measurement that fails gives nothing, and its reason is printed.
fn measure(name: &str, time: Duration) -> [Option<f64>; METRICS.len()] {
    let shown = |metric: usize, result: Result<f64>| {
        result
            .inspect_err(|error| eprintln!("{name}: {}: {error:#}", METRICS[metric].0))
            .ok()
    };
    [
        shown(
            0,
            tcp::bulk_in(service(DISCARD), 1, time).map(tcp::Moved::gbps),
        ),
        shown(
            1,
            tcp::bulk_out(service(CHARGEN), 1, time).map(tcp::Moved::gbps),
        ),
        shown(
            2,
            udp::echo(service(ECHO), WINDOW, time).map(|echoed| echoed.per_second / 1e3),
        ),
        shown(
            3,
            tcp::round_trips(service(ECHO), time).map(|trips| trips.p50),
        ),
        shown(
            4,
            udp::round_trips(service(ECHO), time).map(|trips| trips.p50),
        ),
    ]
}

/// Runs one stack in a namespace of its own, and measures it.
fn run(contender: &Contender, options: &Options) -> Result<[Option<f64>; METRICS.len()]> {
    let namespace = Namespace::new("embedded")?;
    let tun = namespace.run(|| Tun::create(TUN))??;
    namespace.up(TUN, &[(KERNEL.into(), 24)])?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (ready, is_ready) = mpsc::channel();
    let (serve, threads) = (contender.serve, options.threads);
    let server = thread::Builder::new()
        .name(contender.name.to_owned())
        .spawn(move || -> Result<()> {
            let mut builder = match threads {
                0 => tokio::runtime::Builder::new_current_thread(),
                _ => tokio::runtime::Builder::new_multi_thread(),
            };
            let runtime = builder
                .worker_threads(threads.max(1))
                .enable_all()
                .build()?;
            let served = runtime.block_on(async {
                let served = tokio::spawn(serve(tun));
                ready.send(()).context("the benchmark has ended")?;
                tokio::select! {
                    ended = served => ended.context("the stack panicked")?,
                    _ = stopped => Ok(()),
                }
            });
            // Its tasks may wait for one another.
            runtime.shutdown_background();
            served
        })?;
    is_ready.recv().context("the server did not start")?;
    let measured =
        namespace.run(|| measure(contender.name, Duration::from_millis(options.millis)))?;
    let _ = stop.send(());
    server
        .join()
        .map_err(|_| anyhow!("{} panicked", contender.name))??;
    Ok(measured)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Prints the medians of every stack, and ours in relation to the best of the others.
fn report(contenders: &[Contender], rounds: &[Vec<[Option<f64>; METRICS.len()]>]) {
    print!("{:<28}", "");
    for contender in contenders {
        print!("{:>18}", contender.name);
    }
    println!("{:>18}", "ours / best other");
    for (metric, (label, more_is_better)) in METRICS.iter().enumerate() {
        let of = |index: usize| {
            median(
                rounds[index]
                    .iter()
                    .filter_map(|round| round[metric])
                    .collect(),
            )
        };
        let medians: Vec<Option<f64>> = (0..contenders.len()).map(of).collect();
        print!("{label:<28}");
        for value in &medians {
            match value {
                Some(value) => print!("{value:>18.2}"),
                None => print!("{:>18}", "-"),
            }
        }
        let others = medians[1..].iter().flatten().copied();
        let best = match more_is_better {
            true => others.reduce(f64::max),
            false => others.reduce(f64::min),
        };
        match (medians[0], best) {
            (Some(ours), Some(best)) => println!("{:>18.2}", ours / best),
            _ => println!("{:>18}", "-"),
        }
    }
}

fn main() -> Result<()> {
    let mut options = Options::parse();
    if options.quick {
        (options.rounds, options.millis) = (1, 100);
    }
    ensure!(options.rounds > 0, "--rounds must be at least 1");
    let contenders = contenders();
    let mut rounds: Vec<Vec<_>> = contenders.iter().map(|_| Vec::new()).collect();
    for number in 0..options.rounds {
        // Each round begins with another stack: none always comes when the machine is warm.
        for offset in 0..contenders.len() {
            let index = (number + offset) % contenders.len();
            let contender = &contenders[index];
            rounds[index]
                .push(run(contender, &options).with_context(|| contender.name.to_owned())?);
        }
    }
    report(&contenders, &rounds);
    Ok(())
}
