//! `demo`: the daemon in a namespace of its own, driven by the kernel's own sockets.
//!
//! Enters the namespace, starts the daemon as a child, runs the checks over both families, reads the
//! counters, stops the daemon and prints the table. Touches nothing outside the namespace and leaves
//! nothing behind.

mod checks;
mod table;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::child::{Counts, Daemon};
use crate::cli::DemoArgs;
use crate::console::print_line;
use crate::failure::Failure;
use crate::namespace;
use table::Table;

const TUN: &str = "demo0";
const V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);

/// Runs the demo and prints its table to stdout.
///
/// # Errors
///
/// Returns [`Failure::Check`] if a check failed; otherwise the reason why the demo could not start.
pub fn run(args: &DemoArgs) -> Result<(), Failure> {
    namespace::enter()?;
    let program = std::env::current_exe()
        .map_err(|e| Failure::Stack(format!("cannot find the path of this program: {e}")))?;
    let mut daemon = Daemon::start(&program, &daemon_arguments(args))?;
    print_line(&format!(
        "netstackd on {TUN} in a network namespace of its own: kernel {} and {}, netstackd {V4} and {V6},\n\
         MTU {}, {} worker(s), offload {}",
        daemon.ready("host-addr"),
        daemon.ready("host-addr6"),
        daemon.ready("mtu"),
        daemon.ready("queues"),
        daemon.ready("offload"),
    ));
    print_line("");
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
            print_line("\neverything matched");
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

/// The result of a check for one family: the text of its cell, or why it failed.
type CheckResult = Result<String, String>;
