//! `tunbench`: measures the stack behind its TUN device, the kernel's loopback, and the kernel behind a
//! veth pair, in one run.
//!
//! Needs root or user namespaces. Touches no network of the host: it runs in namespaces that end with
//! it.

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use benches::beside::{self, Beside};
use benches::client::idle;
use benches::measure::Measurement;
use benches::netns::Namespace;
use benches::peer::{Family, Peer, Place};
use benches::report::{Idle, NOCOPY, OURS, REFERENCE, Results, Sample};
use benches::{host, server};
use clap::{Parser, ValueEnum as _};

/// Measures the stack behind its TUN device and the kernel's own stack, with the same kernel client.
#[derive(Parser, Debug)]
#[command(version)]
struct Options {
    /// Daemon to measure [default: netstackd in the directory of this program].
    #[arg(long, value_name = "FILE")]
    netstackd: Option<PathBuf>,
    /// Measures only the kernel peers.
    #[arg(long)]
    kernel_only: bool,
    /// Measures only the daemon (no ratios).
    #[arg(long, conflicts_with = "kernel_only")]
    ours_only: bool,
    /// Additional argument for the daemon, such as --daemon-arg=--queues=1; may be repeated.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    daemon_arg: Vec<String>,
    /// Number of rounds; each takes every measurement of every peer once. The report has the medians.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Length of one measurement in milliseconds.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(50..=60_000))]
    millis: u64,
    /// One round of 300 ms per measurement and 2,000 idle connections: a quick look, not a result.
    #[arg(long)]
    quick: bool,
    /// Takes only these measurements.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Measurement>,
    /// Uses only this IP version.
    #[arg(long, value_name = "4|6", value_parser = clap::value_parser!(u8).range(4..=6))]
    ip: Option<u8>,
    /// Number of idle connections in the memory measurement; 0 skips it.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    idle: usize,
    /// Also writes every sample as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also measures these programs, each behind a TUN device of its own: a reflector that checks nothing, and smoltcp.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PROGRAM")]
    beside: Vec<Beside>,
    /// Runs one of these programs (used by the benchmark itself).
    #[arg(long, hide = true, value_enum)]
    serve_beside: Option<Beside>,
    /// Runs the kernel server (used by the benchmark itself).
    #[arg(long, hide = true)]
    serve: bool,
    /// With --serve: discards without copying.
    #[arg(long, hide = true, requires = "serve")]
    nocopy: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = if let Some(program) = options.serve_beside {
        program.serve()
    } else if options.serve {
        server::serve(options.nocopy)
    } else {
        bench(&options)
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of the output has gone, as in `tunbench | head`: the exit code of SIGPIPE.
        Err(error)
            if error
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) =>
        {
            ExitCode::from(141)
        }
        Err(error) => {
            eprintln!("tunbench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(options: &Options) -> Result<()> {
    let daemon = daemon_path(options)?;
    host::become_root()?;
    // The hostile clients are a thousand.
    host::allow_files(options.idle.max(1_000) as u64 + 1_000)?;
    let machine = format!("{}, load {:.2}", host::describe(), host::load());
    let mut stdout = io::stdout();
    writeln!(stdout, "{machine}")?;

    let near = Namespace::new("client")?;
    let far = Namespace::new("server")?;
    let far_too = Namespace::new("server without copies")?;
    let tun = Namespace::new("tun")?;
    near.veth(
        ("veth-c", &[(ip("10.78.0.1")?, 24), (ip("fd78::1")?, 64)]),
        &far,
        ("veth-s", &[(ip("10.78.0.2")?, 24), (ip("fd78::2")?, 64)]),
    )?;
    near.veth(
        ("veth-d", &[(ip("10.79.0.1")?, 24), (ip("fd79::1")?, 64)]),
        &far_too,
        ("veth-t", &[(ip("10.79.0.2")?, 24), (ip("fd79::2")?, 64)]),
    )?;
    let on_loopback = Place {
        client: &near,
        server: &near,
        addresses: [ip("127.0.0.1")?, ip("::1")?],
    };
    let behind_veth = Place {
        client: &near,
        server: &far,
        addresses: [ip("10.78.0.2")?, ip("fd78::2")?],
    };
    let behind_veth_too = Place {
        server: &far_too,
        addresses: [ip("10.79.0.2")?, ip("fd79::2")?],
        ..behind_veth
    };
    let behind_tun = Place {
        client: &tun,
        server: &tun,
        addresses: [ip("10.77.0.2")?, ip("fd77::2")?],
    };

    let mut results = Results::default();
    let families: Vec<Family> = Family::ALL
        .into_iter()
        .zip([4, 6])
        .filter(|(_, number)| options.ip.is_none_or(|only| only == *number))
        .map(|(family, _)| family)
        .collect();
    if let Some(daemon) = &daemon {
        let count = if options.quick {
            options.idle.min(2_000)
        } else {
            options.idle
        };
        for family in families.iter().filter(|_| count > 0) {
            match idle_memory(behind_tun, daemon_command(daemon, options), *family, count) {
                Ok(idle) => results.idle.push(idle),
                Err(error) => results
                    .failures
                    .push(format!("idle, {}: {error:#}", family.label())),
            }
        }
    }
    // Outlives its peers.
    let places = besides(options)?;
    let mut peers = Vec::new();
    if !options.ours_only {
        peers.push(Peer::start("lo", on_loopback, kernel_command()?)?);
        peers.push(Peer::start(REFERENCE, behind_veth, kernel_command()?)?);
        let mut command = kernel_command()?;
        command.arg("--nocopy");
        peers.push(Peer::start(NOCOPY, behind_veth_too, command)?);
    }
    if let Some(daemon) = &daemon {
        peers.push(Peer::start(
            OURS,
            behind_tun,
            daemon_command(daemon, options),
        )?);
    }
    for (program, namespace) in &places {
        peers.push(start_beside(*program, namespace)?);
    }
    results.peers = peers.iter().map(|peer| peer.name).collect();
    rounds(options, &families, &mut peers, &mut results);
    drop(peers);
    write!(stdout, "{}", results.table())?;
    writeln!(stdout, "load at the end {:.2}", host::load())?;
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&results.json(&machine))?;
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    ensure!(
        results.failures.is_empty(),
        "{} measurements failed",
        results.failures.len()
    );
    Ok(())
}

/// Makes a namespace for each of the other programs.
fn besides(options: &Options) -> Result<Vec<(Beside, Namespace)>> {
    let programs = Beside::ALL.into_iter();
    programs
        .filter(|program| options.beside.contains(program))
        .map(|program| Ok((program, Namespace::new(program.name())?)))
        .collect()
}

/// Starts one of the other programs, and gives its device the addresses of the clients.
fn start_beside(program: Beside, namespace: &Namespace) -> Result<Peer<'_>> {
    let net = program.net();
    let addresses = |host: u8| -> Result<[IpAddr; 2]> {
        Ok([
            ip(&format!("10.{net}.0.{host}"))?,
            ip(&format!("fd{net}::{host}"))?,
        ])
    };
    let place = Place {
        client: namespace,
        server: namespace,
        addresses: addresses(2)?,
    };
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--serve-beside", program.name()]);
    let peer = Peer::start(program.name(), place, command)?;
    let [v4, v6] = addresses(1)?;
    namespace.up(beside::DEVICE, &[(v4, 24), (v6, 64)])?;
    Ok(peer)
}

/// Takes every measurement of every peer in turn, round by round, so that other load on the machine
/// disturbs all peers alike.
fn rounds(options: &Options, families: &[Family], peers: &mut [Peer<'_>], results: &mut Results) {
    let (rounds, time) = if options.quick {
        (1, Duration::from_millis(300))
    } else {
        (options.rounds, Duration::from_millis(options.millis))
    };
    for round in 0..rounds {
        for measurement in Measurement::value_variants() {
            if !options.only.is_empty() && !options.only.contains(measurement) {
                continue;
            }
            for family in families {
                for peer in &mut *peers {
                    // That server differs only in discard; the rest would be measured twice.
                    let differs = matches!(measurement, Measurement::TcpIn | Measurement::TcpIn4);
                    // The other programs have no room for a thousand clients.
                    let is_beside = Beside::ALL
                        .iter()
                        .any(|program| program.name() == peer.name);
                    let is_crowd = matches!(measurement, Measurement::Hostile);
                    // smoltcp takes a super-packet of datagrams for one datagram.
                    let merges = peer.name == Beside::Smoltcp.name()
                        && matches!(measurement, Measurement::UdpBulk);
                    let cannot = merges || is_beside && is_crowd;
                    if !peer.is_alive() || peer.name == NOCOPY && !differs || cannot {
                        continue;
                    }
                    match measurement.take(peer, *family, time) {
                        Ok(values) => {
                            results
                                .samples
                                .extend(values.into_iter().map(|(metric, value)| Sample {
                                    peer: peer.name,
                                    family: *family,
                                    metric,
                                    value,
                                }));
                        }
                        Err(error) => {
                            let gone = if peer.is_alive() {
                                ""
                            } else {
                                " (the server ended)"
                            };
                            results.failures.push(format!(
                                "{measurement:?}, {}, {}, round {round}: {error:#}{gone}",
                                peer.name,
                                family.label(),
                            ));
                        }
                    }
                    // Lets the queues of the last measurement drain.
                    thread::sleep(Duration::from_millis(20));
                }
            }
        }
        eprintln!("round {} of {rounds} done", round + 1);
    }
}

/// Time for which connections have been idle when their memory is measured.
const IDLE: Duration = Duration::from_secs(3);

/// Measures the resident memory that `count` idle connections add to a daemon of their own.
fn idle_memory(place: Place<'_>, command: Command, family: Family, count: usize) -> Result<Idle> {
    let settle = Duration::from_millis(500);
    let peer = Peer::start(OURS, place, command)?;
    let echo = peer.service(family, server::ECHO);
    // The first connection also allocates what all share, such as the first slabs.
    let warm = peer.as_client(|| idle::open(echo, 1))?;
    thread::sleep(settle);
    let before = host::resident_bytes(peer.pid())?;
    let connections = peer.as_client(|| idle::open(echo, count))?;
    thread::sleep(IDLE);
    let after = host::resident_bytes(peer.pid())?;
    drop((warm, connections));
    Ok(Idle {
        family,
        connections: count,
        bytes_each: (after as f64 - before as f64) / count as f64,
    })
}

fn ip(text: &str) -> Result<IpAddr> {
    text.parse().with_context(|| format!("address {text}"))
}

fn kernel_command() -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--serve");
    Ok(command)
}

fn daemon_command(path: &PathBuf, options: &Options) -> Command {
    let mut command = Command::new(path);
    command.args(["run", "--tun", "t0"]);
    command.args(["--addr", "10.77.0.2/24", "--addr6", "fd77::2/64"]);
    command.args(["--services", "echo,discard,chargen"]);
    command.args(&options.daemon_arg);
    command
}

fn daemon_path(options: &Options) -> Result<Option<PathBuf>> {
    if options.kernel_only {
        return Ok(None);
    }
    let path = match &options.netstackd {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("netstackd"),
    };
    ensure!(
        path.is_file(),
        "no daemon at {}: cargo build --release --bin netstackd, or name it with --netstackd, \
         or measure the kernel alone with --kernel-only",
        path.display()
    );
    Ok(Some(path))
}
