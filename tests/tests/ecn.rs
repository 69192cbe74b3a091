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

/// Marks a part of what may be marked, in both directions.
fn mark() {
    for (chain, priority) in [("output", 0), ("input", 0)] {
        nft(&format!(
            "add table inet marks\n\
             add chain inet marks {chain} {{ type filter hook {chain} priority {priority}; }}\n\
             add rule inet marks {chain} ip ecn ect0 numgen inc mod 8 == 0 ip ecn set ce\n\
             add rule inet marks {chain} ip6 ecn ect0 numgen inc mod 8 == 0 ip6 ecn set ce"
        ));
    }
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
        // Those that are marked at the kernel's input are not counted; it echoes them, and the stream goes on.
        assert!(
            kernel("TCPDeliveredCE") > 0,
            "we did not echo the marks of the kernel's data"
        );
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
fn ecn_is_on_unless_it_is_turned_off() {
    let config = Config::default().tcp;
    assert!(config.ecn && config.ecn_offer && config.accurate_ecn);
}
