//! A flood of SYNs from random sources: the daemon's memory stays bounded, and kernel clients of the
//! flooded port and of another one are served during the flood and at once after it.

use std::net::{SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use netstackd::probe::flood::SynFlood;
use netstackd::probe::{now, stream};
use tests::program;
use tests::world::{Scratch, SetOnDrop, TUN, V4, in_namespace, port, serve};

/// SYNs per second: more than a test's machine should be asked for would lose packets in the queue of
/// the TUN device, and with them those of the clients.
const RATE: u32 = 40_000;
const CLIENTS: u64 = 200;
const HALF_OPEN: u64 = 1_000;

/// Connects, exchanges and closes `CLIENTS` times; returns how many a second.
fn connections(port: u16) -> f64 {
    let target = SocketAddr::new(V4.into(), port);
    let time = stream::connections(target, CLIENTS, 100).expect("each client is served");
    CLIENTS as f64 / time.as_secs_f64()
}

/// The same with a service of another port, which writes a line and closes.
fn connections_of_another_port() -> f64 {
    let target = SocketAddr::new(V4.into(), port::DAYTIME);
    let start = now();
    for _ in 0..CLIENTS {
        let line = stream::read_all(target, b"").expect("a line, then the end");
        assert!(line.ends_with(b"\r\n"), "{line:?}");
    }
    CLIENTS as f64 / (now() - start).as_secs_f64()
}

#[test]
fn genuine_clients_are_served_during_a_flood() {
    let scratch = Scratch::new("syn-flood");
    let config = scratch.write("config.toml", &format!("max_half_open = {HALF_OPEN}\n"));
    in_namespace(|| {
        let daemon = serve(program!(), &["--config", &config, "--queues", "1"]);
        let before = connections(port::ECHO);
        let resident_before = daemon.resident_bytes();
        let stop = AtomicBool::new(false);
        let (during, other, flooded) = thread::scope(|scope| {
            let stopping = SetOnDrop(&stop);
            let flood = scope.spawn(|| {
                let target = SocketAddrV4::new(V4, port::ECHO);
                let mut flood = SynFlood::new(TUN, target, 1).expect("a packet socket");
                flood.run(Some(RATE), || stop.load(Ordering::Relaxed))
            });
            let start = now();
            let mut during = Vec::new();
            // Long enough that the queue of half-open connections is full.
            while now() - start < std::time::Duration::from_secs(2) {
                during.push(connections(port::ECHO));
            }
            let other = connections_of_another_port();
            drop(stopping);
            (
                during,
                other,
                flood.join().expect("no panic").expect("sent"),
            )
        });
        let counts = daemon.counters().expect("counters");
        let resident = daemon.resident_bytes();
        let after = connections(port::ECHO);
        let during = during.iter().sum::<f64>() / during.len() as f64;
        println!(
            "{:.0} SYNs/s; connections/s: {before:.0} before, {during:.0} during, {other:.0} of another \
             port, {after:.0} after; {} cookies sent, {} returned, {} half open, resident {} then {} KiB",
            flooded.per_second(),
            counts.get("tcp_syn_cookies_sent"),
            counts.get("tcp_syn_cookies_returned"),
            counts.get("half_open"),
            resident_before >> 10,
            resident >> 10,
        );
        assert!(counts.get("tcp_syn_cookies_returned") > 0);
        assert!(counts.get("half_open") <= HALF_OPEN + 8 * 5);
        assert!(flooded.syns > 10 * HALF_OPEN);
        assert!(resident < resident_before + (8 << 20), "memory grew");
        let kept = counts.get("half_open") + counts.get("tcp_syn_cookies_sent");
        assert!(kept > flooded.syns / 10, "most SYNs were lost on the way");
    });
}
