//! `demo`: the daemon in a namespace of its own, driven by the kernel's own sockets.
//!
//! Owns the order of things: enter the namespace, start the daemon as a child, run the checks over
//! both families, ask for the counters, stop it, print the table. Nothing outside the namespace is
//! touched, and nothing is left behind.

mod checks;
mod table;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::child::{Counts, Daemon};
use crate::cli::DemoArgs;
use crate::failure::Failure;
use crate::namespace;
use table::{Outcome, Table};

const TUN: &str = "demo0";
const V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);

/// Runs the demo and prints its table to stdout.
///
/// # Errors
///
/// [`Failure::Check`] when anything did not match; otherwise what kept it from starting.
pub fn run(args: &DemoArgs) -> Result<(), Failure> {
    namespace::enter()?;
    let program = std::env::current_exe()
        .map_err(|e| Failure::Stack(format!("this program cannot be found again: {e}")))?;
    let mut daemon = Daemon::start(&program, &daemon_arguments(args))?;
    println!(
        "netstackd on {TUN} in a network namespace of its own: kernel {} and {}, netstackd {V4} and {V6},\n\
         MTU {}, {} worker(s), offload {}\n",
        daemon.ready("host-addr"),
        daemon.ready("host-addr6"),
        daemon.ready("mtu"),
        daemon.ready("queues"),
        daemon.ready("offload"),
    );
    let mut table = Table::begin();
    let each = Duration::from_secs(args.seconds.into());
    for check in checks::ALL {
        let by_family = [IpAddr::V4(V4), IpAddr::V6(V6)].map(|target| (check.run)(target, each));
        table.row(check.what, by_family);
    }
    let counted = daemon.counters();
    let status = daemon.terminate();
    table.line(
        "stopped by SIGTERM",
        match status {
            Ok(status) if status.success() => Ok("connections closed, exit code 0".to_owned()),
            Ok(status) => Err(format!("{status}: {}", daemon.stderr().trim())),
            Err(why) => Err(why),
        },
    );
    table.line(
        "netstackd's counters",
        counted.map(|counts| summary(&counts)),
    );
    match table.failures() {
        0 => {
            println!("\neverything matched");
            Ok(())
        }
        count => Err(Failure::Check(format!(
            "{count} of the demo's results do not match: see the lines marked FAIL"
        ))),
    }
}

fn daemon_arguments(args: &DemoArgs) -> Vec<String> {
    let mut words = vec![
        format!("--tun={TUN}"),
        format!("--addr={V4}/24"),
        format!("--addr6={V6}/64"),
        format!("--mtu={}", args.mtu),
        format!("--offload={}", args.offload.unwrap_or_default()),
    ];
    words.extend(
        args.queues
            .map(|queues| format!("--queues={}", queues.get())),
    );
    words
}

fn summary(counts: &Counts) -> String {
    let drops = counts.drops_since(&Counts::default());
    let drops = drops
        .into_iter()
        .map(|(reason, count)| format!("{reason} {count}"));
    let drops: Vec<String> = drops.collect();
    let drops = if drops.is_empty() {
        "none".to_owned()
    } else {
        drops.join(", ")
    };
    format!(
        "{} packets in, {} out, {} connections, {} retransmits, dropped: {drops}",
        counts.get("packets_in"),
        counts.get("packets_out"),
        counts.get("tcp_passive_opens"),
        counts.get("tcp_retransmits"),
    )
}

/// What one check found for one family.
type Found = Result<String, String>;

impl From<Found> for Outcome {
    fn from(found: Found) -> Self {
        match found {
            Ok(text) => Self::Matched(text),
            Err(why) => Self::Failed(why),
        }
    }
}
