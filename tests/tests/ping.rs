//! Echo requests of many sizes, whole and in fragments.

use netstackd::child::{Counts, Daemon};
use netstackd::probe::ping::{MAX_PING_BYTES, Pinger};
use tests::program;
use tests::world::{BOTH, in_namespace, serve};

/// Every size around an MTU, then steps, then the largest.
fn sizes() -> impl Iterator<Item = usize> {
    (0..=1_600)
        .chain((1_600..MAX_PING_BYTES).step_by(173))
        .chain([MAX_PING_BYTES - 1, MAX_PING_BYTES])
}

fn pings(flags: &[&str]) {
    in_namespace(|| {
        let daemon = serve(program!(), flags);
        let mut sent = 0;
        for target in BOTH {
            let mut pinger = Pinger::new(target, 0x7001).expect("a raw socket");
            for size in sizes() {
                pinger
                    .ping(size)
                    .unwrap_or_else(|why| panic!("{flags:?}: {why}"));
                sent += 1;
            }
        }
        let counts = daemon.counters().expect("counters");
        println!(
            "{flags:?}: {sent} pings answered, {} reassembled, {} fragments sent",
            counts.get("reassembled"),
            counts.get("fragments_out")
        );
        assert_eq!(counts.get("echo_replies"), sent);
        assert!(counts.get("reassembled") > 0 && counts.get("fragments_out") > 0);
        // The kernel announces its new link to groups and routers; no other packet may be dropped.
        let mut drops = counts.drops_since(&Counts::default());
        drops.retain(|(reason, _)| reason != "ip_destination_not_ours" && reason != "icmp_ignored");
        assert_eq!(drops, []);
    });
}

#[test]
fn ping_with_offload() {
    pings(&["--offload", "auto", "--queues", "2"]);
}

#[test]
fn an_address_without_a_subnet_is_pinged_from_its_peer() {
    in_namespace(|| {
        let flags = [
            "--tun",
            "t0",
            "--addr",
            "10.50.0.2/32",
            "--host-addr",
            "172.16.9.1",
        ];
        let flags_v6 = ["--addr6", "fd50::2/128", "--host-addr6", "fd51::9"];
        let daemon = Daemon::start(program!(), &[&flags[..], &flags_v6].concat());
        let _daemon = daemon.unwrap_or_else(|failure| panic!("{failure}"));
        for target in ["10.50.0.2", "fd50::2"] {
            let target = target.parse().expect("an address");
            let mut pinger = Pinger::new(target, 0x7003).expect("a raw socket");
            pinger
                .ping(56)
                .unwrap_or_else(|why| panic!("{target}: {why}"));
        }
    });
}

#[test]
fn ping_without_offload() {
    pings(&["--offload", "off", "--queues", "1"]);
}

#[test]
fn ping_over_the_smallest_and_the_largest_mtu() {
    pings(&["--mtu", "1280", "--queues", "1"]);
    in_namespace(|| {
        let _daemon = serve(program!(), &["--mtu", "65535"]);
        for target in BOTH {
            let mut pinger = Pinger::new(target, 0x7002).expect("a raw socket");
            for size in [0, 1_500, 40_000, MAX_PING_BYTES] {
                pinger.ping(size).expect("an answer");
            }
        }
    });
}
