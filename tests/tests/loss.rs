//! TCP through a router that drops packets at random, in both directions.

use std::net::SocketAddr;

use netstackd::probe::stream;
use tests::program;
use tests::router::{behind_a_router, lose};
use tests::transfer::hashed_echo;
use tests::world::{V4, V6, in_namespace, port, serve};

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
