//! Two stacks with virtual time, over a link that loses, reorders, duplicates and corrupts packets: for
//! every seed a stream arrives intact in both directions, and no connection is left afterwards. Where a link loses every
//! retransmission of what an application left behind, the peer hears of it, and these seeds are few.
//!
//! `NETSTACK_SEED=n` runs one seed, `NETSTACK_SEEDS=n` that many from 0. `NETSTACK_PCAP=DIRECTORY` writes what each side sent
//! and received into a file there.

// The program's own locks, outside of the stacks.
#![allow(clippy::disallowed_types)]

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use netstack::base::{Config, Instant, Rng};
use netstack::device::Device as _;
use netstack::device::memory::{self, Impairment, LinkConfig};
use netstack::device::observe::{Observer, SeenPacket, observe};
use netstack::engine::sim::Simulation;
use netstack::net::{ConnectionEvent, Stack, TcpListener, TcpStream};
use netstack::stack::Host;
use netstack::tcp::Event;
use packet::buf::Audit;
use pcap_file::DataLink;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PORT: u16 = 4_000;
/// No run needs this much virtual time, even with every tenth packet lost.
const LIMIT: Duration = Duration::from_secs(3_600);
/// Timeouts in a row at which a connection may be given up: so many SYNs are sent again, and about as many segments fit into the
/// minute that a peer has for what an application left behind.
const LAST_TIMEOUTS: usize = 6;

/// Writes the packets of one side with their virtual times.
struct Trace(Mutex<PcapWriter<File>>);

impl Trace {
    fn create(path: &Path) -> Self {
        let header = PcapHeader {
            datalink: DataLink::RAW,
            ..PcapHeader::default()
        };
        let file = File::create(path).expect("a file");
        Self(Mutex::new(
            PcapWriter::with_header(file, header).expect("a header"),
        ))
    }
}

impl Observer for Trace {
    fn is_watching(&self) -> bool {
        true
    }

    fn on_packet(&self, packet: SeenPacket<'_>) {
        let bytes = packet.copy(usize::MAX);
        let at = packet.at.saturating_since(Instant::ZERO);
        let packet = PcapPacket::new(at, bytes.len() as u32, &bytes);
        let mut writer = self.0.lock().expect("no panic");
        writer.write_packet(&packet).expect("written");
    }
}

struct Peer {
    stack: Stack,
    place: usize,
    address: IpAddr,
}

fn impairment(rng: &mut Rng) -> Impairment {
    // Each fault is absent in a third of the links, so that faults occur alone and together.
    let mut chance = |limit: u32| {
        if rng.below(3) == 0 {
            0
        } else {
            rng.below(limit)
        }
    };
    Impairment {
        loss_ppm: chance(100_000),
        loss_burst_ppm: chance(500_000),
        duplicate_ppm: chance(50_000),
        reorder_ppm: chance(100_000),
        reorder_by: Duration::from_micros(u64::from(chance(20_000))),
        corrupt_ppm: chance(20_000),
        delay: Duration::from_micros(u64::from(chance(50_000))),
        jitter: Duration::from_micros(u64::from(chance(5_000))),
        bytes_per_second: None,
        queue_bytes: None,
    }
}

fn stacks(seed: u64) -> (Simulation, Peer, Peer) {
    let mut rng = Rng::from_u64(seed);
    let link = LinkConfig {
        mtu: [576, 1_280, 1_500, 9_000][rng.below(4) as usize].max(if seed % 2 == 1 {
            1_280
        } else {
            0
        }),
        tso: rng.below(2) == 0,
        uso: false,
        tx_checksum: rng.below(2) == 0,
        // The stack's own verification must find corruption.
        vouch: false,
        a_to_b: impairment(&mut rng),
        b_to_a: impairment(&mut rng),
        seed: rng.u64(),
    };
    let (a, b) = memory::pair(&link);
    let mut sim = Simulation::new(Instant::from_millis(1_000));
    let v6 = seed % 2 == 1;
    let mut peer = |device: memory::LinkDevice, host: u8| {
        let address = if v6 {
            IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, host.into()))
        } else {
            IpAddr::V4(Ipv4Addr::new(10, 77, 0, host))
        };
        let mut stack_seed = [host; 32];
        stack_seed[..8].copy_from_slice(&seed.to_le_bytes());
        let prefix = if v6 { 64 } else { 24 };
        let mut config = Config::default();
        config.tcp.delayed_ack = Duration::from_millis(u64::from(rng.below(100)));
        config.tcp.recv_buffer_initial = 4_096 << rng.below(7);
        if rng.below(3) == 0 {
            // Little memory: it may be slow, but never stuck.
            config.memory_bytes = Some(Config::MIN_MEMORY_BYTES);
        }
        let caps = device.caps();
        let shared = Host::new(config, &[(address, prefix)], caps, 1, stack_seed).expect("stack");
        let place = match std::env::var_os("NETSTACK_PCAP") {
            Some(directory) => {
                let path = Path::new(&directory).join(format!("{seed}-{host}.pcap"));
                sim.add(&shared, 0, observe(device, Arc::new(Trace::create(&path))))
            }
            None => sim.add(&shared, 0, device),
        };
        Peer {
            stack: Stack::from_host(Arc::clone(&shared)),
            place,
            address,
        }
    };
    let a = peer(a, 1);
    let b = peer(b, 2);
    (sim, a, b)
}

fn stream_bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Rng::from_u64(seed ^ 0x5eed).fill(&mut bytes);
    bytes
}

/// Writes `data` in pieces of random size, then closes its side, and reads to the end. Fails if the connection does.
async fn exchange(
    stream: TcpStream,
    data: Arc<Vec<u8>>,
    expect: Arc<Vec<u8>>,
    seed: u64,
) -> io::Result<()> {
    let (mut read, mut write) = stream.into_split();
    let writing = async {
        let mut rng = Rng::from_u64(seed);
        let mut rest = &data[..];
        while !rest.is_empty() {
            let most = 1 << (1 + rng.below(17));
            let count = (1 + rng.below(most) as usize).min(rest.len());
            write.write_all(&rest[..count]).await?;
            rest = &rest[count..];
        }
        write.shutdown().await
    };
    let reading = async {
        let mut rng = Rng::from_u64(seed + 1);
        let mut got = Vec::with_capacity(expect.len());
        let mut buffer = vec![0; 1 << (1 + rng.below(17))];
        loop {
            let count = read.read(&mut buffer).await?;
            if count == 0 {
                break;
            }
            got.extend_from_slice(&buffer[..count]);
            assert!(
                got.len() <= expect.len(),
                "seed {seed}: more bytes than were sent"
            );
        }
        assert!(got == *expect, "seed {seed}: {} bytes differ", got.len());
        Ok(())
    };
    futures::try_join!(writing, reading).map(drop)
}

/// Returns true if both streams arrived, and false if a link lost everything for so long that one side gave up.
fn run(seed: u64) -> bool {
    let (mut sim, a, b) = stacks(seed);
    // Timeouts in a row.
    let most_timeouts = Arc::new(AtomicUsize::new(0));
    for peer in [&a, &b] {
        let most = Arc::clone(&most_timeouts);
        let subscriber = move |event: &ConnectionEvent| {
            if let Event::RetransmissionTimeout { count } = event.event {
                most.fetch_max(count.into(), Ordering::SeqCst);
            }
        };
        peer.stack.subscribe(subscriber).expect("the first one");
    }
    let mut rng = Rng::from_u64(seed ^ 0xface);
    let len = |rng: &mut Rng| {
        let most = 1 << (10 + rng.below(10));
        rng.below(most) as usize
    };
    let up = Arc::new(stream_bytes(seed, len(&mut rng)));
    let down = Arc::new(stream_bytes(seed + 1, len(&mut rng)));
    let done = Arc::new(AtomicUsize::new(0));

    let listener = TcpListener::bind_now(&b.stack, SocketAddr::new(b.address, PORT)).expect("bind");
    {
        let (up, down, done) = (Arc::clone(&up), Arc::clone(&down), Arc::clone(&done));
        let serve = async move {
            let (stream, _) = listener.accept().await.expect("accept");
            if exchange(stream, down, up, seed).await.is_ok() {
                done.fetch_add(1, Ordering::SeqCst);
            }
        };
        sim.spawn(b.place, Box::pin(serve));
    }
    {
        let (up, down, done) = (Arc::clone(&up), Arc::clone(&down), Arc::clone(&done));
        let (stack, to) = (a.stack.clone(), SocketAddr::new(b.address, PORT));
        let client = async move {
            let Ok(stream) = TcpStream::connect(&stack, to).await else {
                return;
            };
            if exchange(stream, up, down, seed).await.is_ok() {
                done.fetch_add(1, Ordering::SeqCst);
            }
        };
        sim.spawn(a.place, Box::pin(client));
    }
    let limit = sim.now() + LIMIT;
    let finished = sim
        .run_until(limit, |_| done.load(Ordering::SeqCst) == 2)
        .expect("simulation");
    if std::env::var_os("NETSTACK_SEED").is_some() {
        for peer in [&a, &b] {
            let counters = peer.stack.counters();
            let counted: Vec<_> = counters.iter().filter(|(_, count)| *count > 0).collect();
            println!(
                "{} {counted:?} slabs {:?}",
                peer.address,
                peer.stack.slabs_in_use()
            );
        }
        println!(
            "{} bytes up, {} down, ended at {:?}",
            up.len(),
            down.len(),
            sim.now()
        );
    }
    let is_given_up = !finished && most_timeouts.load(Ordering::SeqCst) >= LAST_TIMEOUTS;
    assert!(
        finished || is_given_up,
        "seed {seed}: stalled at {:?}; {} of 2 sides done\na: {:#?}\nb: {:#?}",
        sim.now(),
        done.load(Ordering::SeqCst),
        a.stack.tcp_info(),
        b.stack.tcp_info(),
    );
    let limit = sim.now() + LIMIT;
    let gone = sim
        .run_until(limit, |_| {
            a.stack.connections() + b.stack.connections() == 0
        })
        .expect("simulation");
    assert!(
        gone || is_given_up,
        "seed {seed}: connections left\na: {:?}\nb: {:?}",
        a.stack.tcp_info(),
        b.stack.tcp_info()
    );
    if is_given_up {
        return false;
    }
    for peer in [&a, &b] {
        assert_eq!(
            peer.stack.slabs_in_use(),
            (0, 0),
            "seed {seed}: slabs leaked"
        );
        let audit = peer.stack.audit();
        assert!(audit.iter().all(Audit::is_clean), "seed {seed}: {audit:?}");
    }
    true
}

#[test]
fn streams_arrive_intact_over_bad_links() {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    if let Some(seed) = number("NETSTACK_SEED") {
        println!("arrived: {}", run(seed));
        return;
    }
    let seeds = number("NETSTACK_SEEDS").unwrap_or(1_000);
    println!("seeds 0..{seeds}");
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let given_up = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst) as u64;
                    if seed >= seeds {
                        return;
                    }
                    match std::panic::catch_unwind(|| run(seed)) {
                        Ok(true) => {}
                        Ok(false) => {
                            given_up.fetch_add(1, Ordering::SeqCst);
                            println!("seed {seed}: given up");
                        }
                        Err(_) => failed.lock().expect("no panic").push(seed),
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no panic");
    assert!(failed.is_empty(), "failed with NETSTACK_SEED of {failed:?}");
    let given_up = given_up.into_inner() as u64;
    assert!(given_up <= seeds / 1_000, "{given_up} of {seeds} given up");
}
