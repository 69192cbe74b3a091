//! Congestion marks between this stack and the kernel: marks of a router slow a stream down, and lose nothing.

use std::fs;

use netstack::Config;
use tests::program;
use tests::transfer::hashed_echo;
use tests::world::{in_namespace, nft, port, serve, targets};

/// Returns a counter of the kernel in this thread's namespace.
fn kernel(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/thread-self/net/netstat").expect("counters");
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let at = names.split_whitespace().position(|word| word == name);
        if let Some(value) = at.and_then(|at| values.split_whitespace().nth(at)) {
            return value.parse().expect("a number");
        }
    }
    panic!("the kernel has no counter {name}");
}

/// Marks a part of what may be marked, in both directions, and counts the segments of the daemon that say that it has
/// reduced its window: each counter has the name of an IP version.
fn mark() {
    for (chain, priority) in [("output", 0), ("input", 0)] {
        nft(&format!(
            "add table inet marks\n\
             add chain inet marks {chain} {{ type filter hook {chain} priority {priority}; }}\n\
             add rule inet marks {chain} ip ecn ect0 numgen inc mod 8 == 0 ip ecn set ce\n\
             add rule inet marks {chain} ip6 ecn ect0 numgen inc mod 8 == 0 ip6 ecn set ce"
        ));
    }
    for version in ["ipv4", "ipv6"] {
        nft(&format!(
            "add counter inet marks {version}\n\
             add rule inet marks input meta nfproto {version} tcp flags & (syn | cwr) == cwr counter name {version}"
        ));
    }
}

/// Returns how many segments of the daemon had CWR, SYNs aside.
fn reductions(version: &str) -> u64 {
    let text = nft(&format!("list counter inet marks {version}"));
    let mut words = text
        .split_whitespace()
        .skip_while(|word| *word != "packets");
    let count = words.nth(1).and_then(|word| word.parse().ok());
    count.unwrap_or_else(|| panic!("no count in: {text}"))
}

fn marked_echo(flags: &[&str]) {
    in_namespace(|| {
        fs::write("/proc/sys/net/ipv4/tcp_ecn", "1").expect("ECN on");
        let _daemon = serve(program!(), flags);
        mark();
        for target in targets(port::ECHO) {
            let (sent, received, _) = hashed_echo(target, 4 << 20).expect("an echo");
            assert!(sent == received, "{target}: the stream differs");
        }
        assert!(kernel("InECT0Pkts") > 0, "our data has no ECT");
        assert!(
            kernel("TCPDeliveredCE") > 0,
            "we did not echo the marks of the kernel's data"
        );
        // Those that are marked at the kernel's input are not counted; it echoes them, and we reduce our window.
        for version in ["ipv4", "ipv6"] {
            assert!(
                reductions(version) > 0,
                "{version}: no reduction for the marks of our data"
            );
        }
    });
}

#[test]
fn the_kernel_and_we_hear_each_others_marks_with_offload() {
    marked_echo(&["--offload", "auto"]);
}

#[test]
fn the_kernel_and_we_hear_each_others_marks_without_offload() {
    marked_echo(&["--offload", "off"]);
}

#[test]
fn ecn_is_on_by_default() {
    let config = Config::default().tcp;
    assert!(config.ecn && config.ecn_offer && config.accurate_ecn);
}
