//! A flow that moves to another queue goes on: its segments are handed over to the worker that owns it.
//!
//! Two stacks with two workers each, over two links. During a transfer the queues of either side, or of
//! both, change places.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use netstack::base::counters::Counter;
use netstack::base::{Config, Instant, Rng};
use netstack::device::Device as _;
use netstack::device::memory::{self, Impairment, LinkConfig};
use netstack::device::observe::{Direction, Observer, SeenPacket, observe};
use netstack::engine::sim::Simulation;
use netstack::net::{Stack, TcpListener, TcpStream};
use netstack::stack::Host;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const BYTES: usize = 3_000_000;

/// Counts the packets that a device shows, by direction.
#[derive(Default)]
struct Seen([AtomicUsize; 2]);

impl Observer for Seen {
    fn is_watching(&self) -> bool {
        true
    }

    fn on_packet(&self, packet: SeenPacket<'_>) {
        let place = usize::from(packet.direction() == Direction::Out);
        self.0[place].fetch_add(1, Ordering::SeqCst);
    }
}

fn run(seed: u64) {
    let delay = Impairment {
        delay: Duration::from_millis(2),
        ..Impairment::default()
    };
    let link = |seed| LinkConfig {
        tso: true,
        tx_checksum: true,
        a_to_b: delay.clone(),
        b_to_a: delay.clone(),
        seed,
        ..LinkConfig::default()
    };
    let (a0, b0) = memory::pair(&link(seed));
    let (a1, b1) = memory::pair(&link(seed + 1));
    let mut sim = Simulation::new(Instant::from_millis(1));
    let mut host = |address: &str, devices: [memory::LinkDevice; 2]| {
        let seen = Arc::new(Seen::default());
        let address = address.parse().expect("address");
        let caps = devices[0].caps();
        let shared = Host::new(
            Config::default(),
            &[(address, 24)],
            caps,
            2,
            [seed as u8; 32],
        )
        .expect("stack");
        let places = devices
            .into_iter()
            .enumerate()
            .map(|(index, device)| {
                let observer = Arc::clone(&seen);
                sim.add(&shared, index, observe(device, observer))
            })
            .collect::<Vec<_>>();
        (Stack::from_host(Arc::clone(&shared)), places, seen)
    };
    let (client, at_client, seen_by_client) = host("10.77.0.1", [a0, a1]);
    let (server, at_server, seen_by_server) = host("10.77.0.2", [b0, b1]);

    let to: SocketAddr = "10.77.0.2:7".parse().expect("address");
    let listener = TcpListener::bind_now(&server, to).expect("bind");
    listener
        .serve(|stream, _| tests::transfer::echo(stream))
        .expect("serve");
    let mut sent = vec![0; BYTES];
    Rng::from_u64(seed).fill(&mut sent);
    let sent = Arc::new(sent);
    let got = Arc::new(AtomicUsize::new(0));
    let task = {
        let (client, sent, got) = (client.clone(), Arc::clone(&sent), Arc::clone(&got));
        async move {
            let stream = TcpStream::connect(&client, to).await.expect("connect");
            let (mut read, mut write) = stream.into_split();
            let writing = async {
                write.write_all(&sent).await.expect("write");
                write.shutdown().await.expect("shutdown");
            };
            let reading = async {
                let mut buffer = vec![0; 10_000];
                let mut at = 0;
                loop {
                    let count = read.read(&mut buffer).await.expect("read");
                    if count == 0 {
                        break;
                    }
                    assert!(
                        buffer[..count] == sent[at..at + count],
                        "seed {seed}: differs at {at}"
                    );
                    at += count;
                    got.store(at, Ordering::SeqCst);
                }
            };
            futures::join!(writing, reading);
        }
    };
    sim.spawn(at_client[0], Box::pin(task));

    let limit = sim.now() + Duration::from_secs(600);
    let mut rng = Rng::from_u64(seed);
    for swap in 0..6 {
        let until = BYTES / 8 * (swap + 1);
        let reached = sim
            .run_until(limit, |_| got.load(Ordering::SeqCst) >= until)
            .expect("simulation");
        assert!(
            reached,
            "seed {seed}: stalled before swap {swap} at {}",
            got.load(Ordering::SeqCst)
        );
        match rng.below(3) {
            0 => sim.swap_devices(at_server[0], at_server[1]),
            1 => sim.swap_devices(at_client[0], at_client[1]),
            _ => {
                sim.swap_devices(at_server[0], at_server[1]);
                sim.swap_devices(at_client[0], at_client[1]);
            }
        }
    }
    let done = sim
        .run_until(limit, |_| got.load(Ordering::SeqCst) == BYTES)
        .expect("simulation");
    assert!(
        done,
        "seed {seed}: {} of {BYTES} bytes",
        got.load(Ordering::SeqCst)
    );
    // What was handed over last is taken in, too.
    let settled = sim.now() + Duration::from_secs(1);
    sim.run_until(settled, |_| false).expect("simulation");
    for (stack, seen) in [(&client, seen_by_client), (&server, seen_by_server)] {
        let counted = [Counter::PacketsIn, Counter::PacketsOut]
            .map(|counter| stack.counters().count(counter) as usize);
        let seen = [0, 1].map(|place| seen.0[place].load(Ordering::SeqCst));
        assert_eq!(seen, counted, "seed {seed}: each packet is seen once");
    }
    let handed =
        client.counters().count(Counter::HandedOver) + server.counters().count(Counter::HandedOver);
    assert!(handed > 0, "seed {seed}: nothing was handed over");
    let again = client.counters().count(Counter::TcpRetransmits)
        + server.counters().count(Counter::TcpRetransmits);
    assert_eq!(again, 0, "seed {seed}: retransmits on a lossless link");
}

#[test]
fn a_flow_survives_changing_queues() {
    println!("seeds 0..50");
    for seed in 0..50 {
        run(seed);
    }
}
