//! TCP through a router that drops packets at random, in both directions.
//!
//! The router is a namespace between the client and the TUN device: a sender would notice packets that
//! its own host drops.

use std::net::SocketAddr;
use std::thread;

use netstackd::probe::stream;
use tests::program;
use tests::transfer::hashed_echo;
use tests::world::{V4, V6, in_namespace, ip, nft, port, serve};

/// The client's addresses, of the daemon's own subnets.
const CLIENT_V4: &str = "10.77.0.9";
const CLIENT_V6: &str = "fd77::9";

/// Runs `client` in a namespace behind this one, over a link without segmentation offload.
fn behind_a_router<T: Send>(client: impl FnOnce() -> T + Send) -> T {
    for setting in ["ipv4/conf/all/forwarding", "ipv6/conf/all/forwarding"] {
        std::fs::write(format!("/proc/sys/net/{setting}"), "1").expect("forwarding");
    }
    ip("link add r0 type veth peer name c0");
    ip("link set r0 up");
    ip("addr add 10.78.0.1/24 dev r0");
    ip("addr add fd78::1/64 dev r0 nodad");
    ip(&format!("route add {CLIENT_V4}/32 dev r0"));
    ip(&format!("route add {CLIENT_V6}/128 dev r0"));
    let router = rustix::thread::gettid().as_raw_nonzero();
    thread::scope(|scope| {
        let (give, take) = std::sync::mpsc::channel();
        let (moved, wait) = std::sync::mpsc::channel();
        let client = scope.spawn(move || {
            in_namespace(move || {
                give.send(rustix::thread::gettid().as_raw_nonzero())
                    .expect("the router listens");
                wait.recv().expect("the link arrives");
                ip("link set c0 up gso_max_segs 1");
                ip(&format!("addr add {CLIENT_V4}/32 dev c0"));
                ip(&format!("addr add {CLIENT_V6}/128 dev c0 nodad"));
                ip("route add 10.78.0.1 dev c0");
                ip(&format!("route add {V4} via 10.78.0.1 src {CLIENT_V4}"));
                ip("route add fd78::1 dev c0");
                ip(&format!("route add {V6} via fd78::1 src {CLIENT_V6}"));
                client()
            })
        });
        let thread_id = take.recv().expect("the client's thread");
        println!("router {router}, client {thread_id}");
        ip(&format!("link set c0 netns {thread_id}"));
        moved.send(()).expect("the client waits");
        client
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Installs the loss in the namespace of the router.
fn lose(percent: u32) {
    nft(&format!(
        "table inet loss {{ chain forward {{ type filter hook forward priority 0; \
         numgen random mod 100 < {percent} counter drop; }}; }}"
    ));
}

fn lossy(percent: u32, mebibytes: u64, flags: &[&str]) {
    in_namespace(|| {
        let daemon = serve(program!(), flags);
        lose(percent);
        behind_a_router(|| {
            for address in [V4.into(), V6.into()] {
                let target = SocketAddr::new(address, port::ECHO);
                let (sent, received, moved) = hashed_echo(target, mebibytes << 20)
                    .unwrap_or_else(|why| panic!("{percent} % loss, {flags:?}: {why}"));
                assert_eq!(sent, received, "{percent} % loss, {flags:?}, {target}");
                println!(
                    "{percent} % loss each way, {flags:?}: {mebibytes} MiB each way with {target}, \
                     {:.3} Gb/s",
                    moved.gigabits_per_second()
                );
            }
        });
        let counts = daemon.counters().expect("counters");
        println!(
            "{percent} % loss: {} retransmits, {} timeouts, drops {:?}",
            counts.get("tcp_retransmits"),
            counts.get("tcp_timeouts"),
            counts.drops_since(&Default::default())
        );
        assert!(counts.get("tcp_retransmits") > 0, "nothing was lost");
    });
}

#[test]
fn one_percent() {
    lossy(1, 32, &["--offload", "off", "--queues", "1"]);
}

#[test]
fn one_percent_of_offloaded_packets() {
    lossy(1, 64, &["--offload", "on", "--queues", "2"]);
}

#[test]
fn five_percent() {
    lossy(5, 8, &["--offload", "off", "--queues", "1"]);
}

#[test]
fn five_percent_of_offloaded_packets() {
    lossy(5, 16, &["--offload", "on", "--queues", "2"]);
}

/// One direction alone: one side sends only data, the other only acknowledgements.
#[test]
fn one_way_each() {
    in_namespace(|| {
        let daemon = serve(program!(), &["--offload", "off", "--queues", "1"]);
        lose(2);
        behind_a_router(|| {
            let at = |port| SocketAddr::new(V4.into(), port);
            let moved = stream::upload_bytes(at(port::DISCARD), 16 << 20).expect("all of it");
            println!("2 % loss, in: {:.3} Gb/s", moved.gigabits_per_second());
            let moved = stream::download_bytes(at(port::CHARGEN), 16 << 20).expect("the pattern");
            println!("2 % loss, out: {:.3} Gb/s", moved.gigabits_per_second());
        });
        let counts = daemon.counters().expect("counters");
        println!(
            "{} retransmits, {} timeouts, drops {:?}",
            counts.get("tcp_retransmits"),
            counts.get("tcp_timeouts"),
            counts.drops_since(&Default::default())
        );
        assert!(counts.get("tcp_retransmits") > 0, "nothing was lost");
    });
}
