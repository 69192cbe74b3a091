//! Whatever peers do, others are served: seeded mixes of peers that never read, never acknowledge, leave gaps,
//! send byte by byte, flood UDP sockets and fragments, against stacks with little memory, on virtual time.
//!
//! `NETSTACK_SEED=n` runs one seed, `NETSTACK_SEEDS=n` that many from 0.

use std::net::Ipv4Addr;
use std::time::Duration;

use netstack::base::{Config, Rng};
use tests::forge;
use tests::hostile::{CHARGEN, DEAF, ECHO, Lab, OURS, Peer, bind_udp, mss};

/// The way in which a peer is hostile.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Sends to the echo service, and acknowledges nothing that comes back.
    NeverAcknowledges,
    /// Sends to the echo service, and closes its window.
    NeverReads,
    /// Sends to a service that does not read.
    FillsTheDeaf,
    /// Asks for data without end, and never reads it.
    Asks,
    /// Sends every second segment.
    Gaps,
    /// Sends byte by byte.
    Bytes,
    /// Announces the smallest MSS.
    SmallMss,
}

const KINDS: [Kind; 7] = [
    Kind::NeverAcknowledges,
    Kind::NeverReads,
    Kind::FillsTheDeaf,
    Kind::Asks,
    Kind::Gaps,
    Kind::Bytes,
    Kind::SmallMss,
];

struct Hostile {
    kind: Kind,
    peer: Peer,
    len: usize,
    is_open: bool,
}

impl Hostile {
    fn new(kind: Kind, n: u16, rng: &mut Rng) -> Self {
        let to = match kind {
            Kind::FillsTheDeaf => DEAF,
            Kind::Asks => CHARGEN,
            _ => ECHO,
        };
        let address = Ipv4Addr::new(10, 77, 1 + (n >> 8) as u8, n as u8);
        let len = match kind {
            Kind::Bytes => 1,
            Kind::SmallMss => 40,
            _ => 1 + rng.below(1_400) as usize,
        };
        Self {
            kind,
            peer: Peer::new(address, 20_000 + n, to),
            len,
            is_open: false,
        }
    }

    fn open(&mut self, lab: &mut Lab) {
        let size = match self.kind {
            Kind::SmallMss => 48,
            _ => 1_400,
        };
        // With a window scale, so that windows are as large as they can be.
        let mut options = mss(size);
        options.extend_from_slice(&[1, 3, 3, 7]);
        self.is_open = self.peer.open(lab, &options);
        if let Kind::NeverReads | Kind::Asks = self.kind {
            self.peer.offer = if matches!(self.kind, Kind::Asks) {
                2_000
            } else {
                0
            };
            self.peer.ack(lab);
        }
    }

    /// Sends a burst of what this peer sends.
    fn act(&mut self, lab: &mut Lab) {
        lab.ignore((self.peer.address, self.peer.port));
        if !self.is_open {
            return;
        }
        let data = [0x41; 1_400];
        for _ in 0..8 {
            match self.kind {
                Kind::Asks => self.peer.ack(lab),
                Kind::Gaps => {
                    self.peer.next = self.peer.next.wrapping_add(self.len as u32);
                    self.peer.data(lab, &data[..self.len]);
                }
                _ => self.peer.data(lab, &data[..self.len]),
            }
        }
    }
}

fn udp_flood(lab: &mut Lab, rng: &mut Rng, port: u16) {
    for _ in 0..20 {
        let len = rng.below(1_400) as usize;
        let datagram = forge::udp(1_000 + rng.below(60_000) as u16, port, &vec![7; len]);
        let from = Ipv4Addr::new(10, 77, 9, 1 + rng.below(200) as u8);
        let packet = forge::ipv4_with(from, OURS, forge::UDP, &[], &datagram);
        lab.queue(forge::sealed(packet));
    }
    lab.settle();
}

fn fragments(lab: &mut Lab, rng: &mut Rng) {
    for _ in 0..20 {
        let offset = 8 * (1 + rng.below(1_000) as u16);
        let ident = rng.below(60_000) as u16;
        lab.queue(forge::ipv4_fragment(
            OURS,
            forge::UDP,
            ident,
            offset,
            true,
            &[9; 1_400],
        ));
    }
    lab.settle();
}

/// Prints who holds the memory.
fn explain(lab: &Lab) {
    println!("{}", lab.handle().counters());
    println!(
        "buffers {:?}, {:?}",
        lab.handle().slabs_in_use(),
        lab.handle().audit()
    );
    let mut by_port = std::collections::BTreeMap::<u16, (usize, usize)>::new();
    for (local, _, info) in lab.handle().tcp_info() {
        let sum = by_port.entry(local.port()).or_default();
        *sum = (sum.0 + 1, sum.1 + info.memory);
    }
    println!("connections and memory by port: {by_port:?}");
}

fn run(seed: u64) {
    println!("seed {seed}");
    let mut rng = Rng::from_u64(seed);
    let megabytes = [1, 2, 4, 15][rng.below(4) as usize];
    let config = Config {
        memory_bytes: Some(megabytes << 20),
        ..Config::default()
    };
    let mut lab = Lab::new(config, seed);
    let unread = bind_udp(lab.handle(), 99);
    let count = 5 + rng.below(120) as u16;
    // One kind alone in a third of the runs, else a mix.
    let only = (rng.below(3) == 0).then(|| KINDS[rng.below(KINDS.len() as u32) as usize]);
    let mut peers: Vec<Hostile> = (0..count)
        .map(|n| {
            let kind = only.unwrap_or_else(|| KINDS[rng.below(KINDS.len() as u32) as usize]);
            Hostile::new(kind, n, &mut rng)
        })
        .collect();
    for peer in &mut peers {
        peer.open(&mut lab);
    }
    for step in 0..200u16 {
        for peer in &mut peers {
            peer.act(&mut lab);
        }
        udp_flood(&mut lab, &mut rng, 99);
        fragments(&mut lab, &mut rng);
        lab.wait(Duration::from_millis(20));
        if step % 20 == 19 {
            let memory = lab.handle().memory();
            assert!(lab.ping(), "seed {seed}, step {step}: a ping, {memory:?}");
            let took = lab.exchange(40_000 + step, 3_000, Duration::from_secs(1));
            if took.is_none() {
                explain(&lab);
            }
            assert!(
                took.is_some(),
                "seed {seed}, step {step}: a connection, {memory:?}"
            );
        }
    }
    lab.report(&format!(
        "seed {seed}: {count} peers ({only:?}), {megabytes} MiB"
    ));
    println!("{}", lab.handle().counters());
    for hostile in &mut peers {
        hostile.peer.listen(&mut lab);
        hostile.peer.reset(&mut lab);
    }
    drop(unread);
    lab.end_deaf();
    lab.wait(Duration::from_secs(5));
    let counters = lab.handle().counters();
    assert_eq!(lab.buffers_in_use(), 0, "seed {seed}: {counters}");
    let memory = lab.handle().memory();
    let most = 4 << 20;
    assert!(
        memory.allocated < most.min(memory.limit),
        "seed {seed}: {memory:?}"
    );
    assert!(
        lab.ping()
            && lab
                .exchange(50_000, 50_000, Duration::from_secs(5))
                .is_some()
    );
}

#[test]
fn whatever_peers_do_others_are_served() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("NETSTACK_SEED") {
        Some(seed) => run(seed),
        None => (0..number("NETSTACK_SEEDS").unwrap_or(12)).for_each(run),
    }
}

/// One connection that takes all it can and acknowledges nothing; what it acknowledges in the end is heard.
#[test]
fn one_connection_does_not_stop_the_stack() {
    let config = Config {
        max_large_slabs: 16,
        max_small_slabs: 64,
        ..Config::default()
    };
    let mut lab = Lab::new(config, 1);
    let address = Ipv4Addr::new(10, 77, 0, 99);
    let mut peer = Peer::new(address, 20_000, ECHO);
    let mut options = mss(1_460);
    options.extend_from_slice(&[1, 3, 3, 7]);
    assert!(peer.open(&mut lab, &options));
    let mut end = peer.rcv;
    for _ in 0..160 {
        peer.data(&mut lab, &[b'e'; 1_448]);
        lab.wait(Duration::from_millis(1));
        for segment in peer.listen(&mut lab) {
            end = end.max(segment.seq.wrapping_add(segment.data.len() as u32));
        }
        assert!(lab.ping());
    }
    lab.wait(Duration::from_millis(500));
    assert!(
        lab.exchange(40_000, 3_000, Duration::from_secs(1))
            .is_some()
    );
    peer.rcv = end;
    peer.next = peer.una;
    for _ in 0..20 {
        peer.ack(&mut lab);
        lab.wait(Duration::from_millis(50));
        for segment in peer.listen(&mut lab) {
            peer.rcv = segment.seq.wrapping_add(segment.data.len() as u32);
        }
        assert!(lab.ping());
    }
    assert!(
        lab.exchange(40_001, 3_000, Duration::from_secs(1))
            .is_some()
    );
    lab.wait(Duration::from_secs(5));
    assert_eq!(lab.buffers_in_use(), 0, "{}", lab.handle().counters());
    lab.report("one connection");
}
