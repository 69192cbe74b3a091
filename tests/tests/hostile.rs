//! Whatever peers do, others are served: seeded mixes of peers that never read, never acknowledge, leave gaps,
//! send byte by byte, flood UDP sockets and fragments, against stacks with little memory, on virtual time.
//!
//! `NETSTACK_SEED=n` runs one seed, `NETSTACK_SEEDS=n` that many from 0.

use std::time::Duration;

use netstack::base::{Config, Rng};
use tests::forge;
use tests::hostile::{
    BLOBS, CHARGEN, DEAF, DISCARD, ECHO, FILE, Family, Lab, Peer, bind_udp, flag, mss,
};

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
    /// Asks for memory of the application, and never reads it.
    AsksForBlobs,
    /// Asks for data, and takes one segment of it now and then.
    Drips,
    /// Lets the service finish and let go, and takes nothing.
    Orphans,
    /// Opens connections that stay idle.
    Swarms,
}

const KINDS: [Kind; 11] = [
    Kind::NeverAcknowledges,
    Kind::NeverReads,
    Kind::FillsTheDeaf,
    Kind::Asks,
    Kind::Gaps,
    Kind::Bytes,
    Kind::SmallMss,
    Kind::AsksForBlobs,
    Kind::Drips,
    Kind::Orphans,
    Kind::Swarms,
];

struct Hostile {
    kind: Kind,
    peer: Peer,
    len: usize,
    is_open: bool,
    bursts: u16,
    swarm: Vec<Peer>,
}

impl Hostile {
    fn new(kind: Kind, n: u16, family: Family, rng: &mut Rng) -> Self {
        let to = match kind {
            Kind::FillsTheDeaf => DEAF,
            Kind::Asks | Kind::Drips => CHARGEN,
            Kind::AsksForBlobs => BLOBS,
            Kind::Orphans => FILE,
            _ => ECHO,
        };
        let address = family.host(0x100 + n);
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
            bursts: 0,
            swarm: Vec::new(),
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
        self.peer.offer = match self.kind {
            Kind::Asks | Kind::AsksForBlobs => 2_000,
            Kind::NeverReads | Kind::Drips | Kind::Orphans => 0,
            _ => return,
        };
        self.peer.ack(lab);
    }

    /// Sends a burst of what this peer sends.
    fn act(&mut self, lab: &mut Lab) {
        match self.kind {
            Kind::Drips => return self.drip(lab),
            Kind::Swarms => return self.swarm(lab),
            _ => {}
        }
        lab.ignore((self.peer.address, self.peer.port));
        if !self.is_open {
            return;
        }
        let data = [0x41; 1_400];
        for _ in 0..8 {
            match self.kind {
                Kind::Asks | Kind::AsksForBlobs | Kind::Orphans => self.peer.ack(lab),
                Kind::Gaps => {
                    self.peer.next = self.peer.next.wrapping_add(self.len as u32);
                    self.peer.data(lab, &data[..self.len]);
                }
                _ => self.peer.data(lab, &data[..self.len]),
            }
        }
    }
}

impl Hostile {
    /// Takes one segment in ten bursts.
    fn drip(&mut self, lab: &mut Lab) {
        self.bursts += 1;
        self.peer.offer = if self.bursts.is_multiple_of(10) {
            1_400
        } else {
            0
        };
        let heard = self.peer.listen(lab);
        if heard.iter().any(|segment| segment.flags & flag::RST != 0) {
            self.is_open = false;
        }
        let next = heard.iter().find(|segment| segment.seq == self.peer.rcv);
        if let Some(next) = next {
            self.peer.rcv = self.peer.rcv.wrapping_add(next.data.len() as u32);
        }
        if self.is_open {
            self.peer.ack(lab);
        }
    }

    /// Opens three connections more.
    fn swarm(&mut self, lab: &mut Lab) {
        for _ in 0..3 {
            self.bursts += 1;
            let port = 1_000 + self.bursts;
            let mut idle = Peer::new(self.peer.address, port, DISCARD);
            idle.open(lab, &mss(1_400));
            lab.ignore((idle.address, idle.port));
            self.swarm.push(idle);
        }
    }

    /// Ends what it has open.
    fn end(&mut self, lab: &mut Lab) {
        self.peer.listen(lab);
        self.peer.reset(lab);
        for idle in &self.swarm {
            idle.reset(lab);
        }
    }
}

fn udp_flood(lab: &mut Lab, rng: &mut Rng, port: u16) {
    for _ in 0..20 {
        let len = rng.below(1_400) as usize;
        let from = lab.family().host(0x901 + rng.below(200) as u16);
        let source = 1_000 + rng.below(60_000) as u16;
        lab.queue(forge::datagram(from, source, port, &vec![7; len]));
    }
    lab.settle();
}

fn fragments(lab: &mut Lab, rng: &mut Rng) {
    let from = lab.family().host(99);
    for _ in 0..20 {
        let offset = 8 * (1 + rng.below(1_000) as u16);
        let ident = rng.below(60_000) as u16;
        let part = forge::fragment(from, forge::UDP, ident, offset, true, &[9; 1_400]);
        lab.queue(part);
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
    let family = Family::BOTH[rng.below(2) as usize];
    let config = Config {
        memory_bytes: Some(megabytes << 20),
        ..Config::default()
    };
    let mut lab = Lab::new(config, seed, family);
    let unread = bind_udp(lab.handle(), family.ours(), 99);
    let count = 5 + rng.below(120) as u16;
    // One kind alone in a third of the runs, else a mix.
    let only = (rng.below(3) == 0).then(|| KINDS[rng.below(KINDS.len() as u32) as usize]);
    let mut peers: Vec<Hostile> = (0..count)
        .map(|n| {
            let kind = only.unwrap_or_else(|| KINDS[rng.below(KINDS.len() as u32) as usize]);
            Hostile::new(kind, n, family, &mut rng)
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
        "seed {seed}: {count} peers ({only:?}), {family:?}, {megabytes} MiB"
    ));
    println!("{}", lab.handle().counters());
    for hostile in &mut peers {
        hostile.end(&mut lab);
    }
    drop(unread);
    lab.end_deaf();
    lab.wait(Duration::from_secs(5));
    let counters = lab.handle().counters();
    assert_eq!(lab.buffers_in_use(), 0, "seed {seed}: {counters}");
    let left = lab.handle().tcp_info();
    assert!(left.is_empty(), "seed {seed}: {left:?}");
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
    let mut lab = Lab::new(config, 1, Family::V4);
    let address = Family::V4.host(99);
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
