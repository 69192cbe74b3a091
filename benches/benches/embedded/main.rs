//! `embedded`: stacks inside a program that carries the packets itself, as a tunnel does: ours over its packet channel
//! and as a future, netstack-smoltcp, ipstack and, if it is built with `--cfg lwip`, lwIP.
//!
//! All run the same services as tokio tasks in the same kind of runtime, behind the same TUN device, with packets of 1,500
//! bytes, against the same client: kernel sockets. The program reads and writes the packets, and hands them to the
//! stack in the way that the stack offers.
//!
//! ```text
//! cargo bench -p benches --bench embedded                     # one thread for the stack and its services
//! cargo bench -p benches --bench embedded -- --offload        # super-packets between kernel and carrier
//! cargo bench -p benches --bench embedded -- --threads 2      # a runtime with two threads
//! cargo bench -p benches --bench embedded -- --device --offload --threads 2   # services in tasks, and on workers
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
use rustix::thread::{CpuSet, sched_setaffinity};

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
    /// The carrier reads and writes super-packets, and hands the stacks packets of 1,500 bytes none the less.
    #[arg(long)]
    offload: bool,
    /// Only these stacks.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Compares services in tasks of the runtime with services on the workers of the stack, which reads and writes the
    /// device itself.
    #[arg(long)]
    device: bool,
    /// Only the measurements whose names contain one of these.
    #[arg(long, value_delimiter = ',')]
    measure: Vec<String>,
    /// A run that shows that all works, and measures nothing worth knowing.
    #[arg(long)]
    quick: bool,
    /// Passed by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    fn asks_for(&self, metric: &Metric) -> bool {
        let mut names = self.measure.iter();
        (self.offload || !metric.needs_offload)
            && (self.measure.is_empty() || names.any(|name| metric.label.contains(name.as_str())))
    }
}

/// The name of ours where it gets super-packets as the kernel makes them, instead of packets of 1,500 bytes.
const FRAMED: &str = "ours-super";

/// Ours that reads and writes the device itself, served by tasks of the runtime and by tasks on its workers.
const DEVICE: [&str; 2] = ["tun-tasks", "tun-workers"];

/// A stack to compare.
struct Contender {
    name: &'static str,
    /// It is ours: the others are what it is compared with.
    is_ours: bool,
    /// Serves until the thread that waits for it goes away.
    serve: fn(Tun) -> carrier::Served,
}

fn contenders() -> Vec<Contender> {
    vec![
        Contender {
            name: "ours",
            is_ours: true,
            serve: ours::serve,
        },
        Contender {
            name: "ours-busy",
            is_ours: true,
            serve: ours::serve_busy,
        },
        Contender {
            name: FRAMED,
            is_ours: true,
            serve: ours::serve_framed,
        },
        Contender {
            name: DEVICE[0],
            is_ours: true,
            serve: ours::serve_by_tasks,
        },
        Contender {
            name: DEVICE[1],
            // What the tasks are compared with.
            is_ours: false,
            serve: ours::serve_by_workers,
        },
        Contender {
            name: "netstack-smoltcp",
            is_ours: false,
            serve: peers::serve_smoltcp,
        },
        Contender {
            name: "ipstack",
            is_ours: false,
            serve: peers::serve_ipstack,
        },
        #[cfg(lwip)]
        Contender {
            name: "lwIP",
            is_ours: false,
            serve: lwip::serve,
        },
    ]
}

/// A measurement.
struct Metric {
    label: &'static str,
    more_is_better: bool,
    /// The carrier must take super-packets: the client's are cut in the kernel without.
    needs_offload: bool,
    measure: fn(Duration) -> Result<f64>,
}

const METRICS: [Metric; 6] = [
    Metric {
        label: "TCP in, Gb/s",
        more_is_better: true,
        needs_offload: false,
        measure: |time| tcp::bulk_in(service(DISCARD), 1, time).map(tcp::Moved::gbps),
    },
    Metric {
        label: "TCP out, Gb/s",
        more_is_better: true,
        needs_offload: false,
        measure: |time| tcp::bulk_out(service(CHARGEN), 1, time).map(tcp::Moved::gbps),
    },
    Metric {
        label: "UDP 64 B echo, thousand/s",
        more_is_better: true,
        needs_offload: false,
        measure: |time| Ok(udp::echo(service(ECHO), WINDOW, time)?.per_second / 1e3),
    },
    Metric {
        label: "UDP 44 × 1,400 B echo, Gb/s",
        more_is_better: true,
        needs_offload: true,
        measure: |time| udp::bulk_echo(service(ECHO), time).map(tcp::Moved::gbps),
    },
    Metric {
        label: "TCP round trip p50, µs",
        more_is_better: false,
        needs_offload: false,
        measure: |time| Ok(tcp::round_trips(service(ECHO), time)?.p50),
    },
    Metric {
        label: "UDP round trip p50, µs",
        more_is_better: false,
        needs_offload: false,
        measure: |time| Ok(udp::round_trips(service(ECHO), time)?.p50),
    },
];

/// The results of a stack in one round. A measurement that failed has none.
type Results = [Option<f64>; METRICS.len()];

fn service(port: u16) -> SocketAddr {
    (STACK, port).into()
}

/// Takes every measurement that `options` asks for. The reason of one that fails is printed.
fn measure(name: &str, options: &Options) -> Results {
    let time = Duration::from_millis(options.millis);
    METRICS.each_ref().map(|metric| {
        if !options.asks_for(metric) {
            return None;
        }
        (metric.measure)(time)
            .inspect_err(|error| eprintln!("{name}: {}: {error:#}", metric.label))
            .ok()
    })
}

/// Keeps the calling thread on a processor, and what it starts. Where a stack and its client run changes a result more
/// than most stacks do.
fn pin(processor: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(processor);
    sched_setaffinity(None, &set).context("pin a thread to a processor")
}

/// Runs one stack in a namespace of its own, and measures it.
fn run(contender: &Contender, options: &Options, is_pinned: bool) -> Result<Results> {
    let namespace = Namespace::new("embedded")?;
    let tun = namespace.run(|| Tun::create(TUN, options.offload))??;
    namespace.up(TUN, &[(KERNEL.into(), 24)])?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (ready, is_ready) = mpsc::channel();
    let (serve, threads) = (contender.serve, options.threads);
    let server = thread::Builder::new()
        .name(contender.name.to_owned())
        .spawn(move || -> Result<()> {
            if is_pinned {
                pin(1)?;
            }
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
    let measured = namespace.run(|| measure(contender.name, options))?;
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
fn report(contenders: &[Contender], rounds: &[Vec<Results>], options: &Options) {
    print!("{:<28}", "");
    for contender in contenders {
        print!("{:>18}", contender.name);
    }
    println!("{:>20}", "ours / best other");
    for (metric, asked) in METRICS.iter().enumerate() {
        if !options.asks_for(asked) {
            continue;
        }
        let (label, more_is_better) = (asked.label, asked.more_is_better);
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
        let of_all = contenders.iter().zip(&medians);
        let others = of_all.filter(|(contender, _)| !contender.is_ours);
        let others = others.filter_map(|(_, median)| *median);
        let best = match more_is_better {
            true => others.reduce(f64::max),
            false => others.reduce(f64::min),
        };
        for (contender, median) in contenders.iter().zip(&medians) {
            match (median, best) {
                _ if !contender.is_ours => {}
                (Some(ours), Some(best)) => print!("{:>10.2}", ours / best),
                _ => print!("{:>10}", "-"),
            }
        }
        println!();
    }
}

fn main() -> Result<()> {
    let mut options = Options::parse();
    if options.quick {
        (options.rounds, options.millis) = (1, 100);
    }
    ensure!(options.rounds > 0, "--rounds must be at least 1");
    let mut contenders = contenders();
    // Without offload there are no super-packets.
    contenders.retain(|one| options.offload || one.name != FRAMED);
    contenders.retain(|one| options.device == DEVICE.contains(&one.name));
    contenders
        .retain(|one| options.only.is_empty() || options.only.iter().any(|name| name == one.name));
    ensure!(!contenders.is_empty(), "--only names none of the stacks");
    let mut rounds: Vec<Vec<_>> = contenders.iter().map(|_| Vec::new()).collect();
    let is_pinned = thread::available_parallelism()?.get() > 1 && options.threads < 2;
    if is_pinned {
        pin(0)?;
    }
    for number in 0..options.rounds {
        // Each round begins with another stack: none always comes when the machine is warm.
        for offset in 0..contenders.len() {
            let index = (number + offset) % contenders.len();
            let contender = &contenders[index];
            rounds[index].push(
                run(contender, &options, is_pinned).with_context(|| contender.name.to_owned())?,
            );
        }
    }
    report(&contenders, &rounds, &options);
    Ok(())
}
