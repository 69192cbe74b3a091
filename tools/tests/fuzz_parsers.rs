//! Runs the parsers' fuzz harnesses on the committed corpus, and on a limited number of mutations of it.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use netstack::base::Rng;
use packet::ip::{IpPacket, IpParseError, Ipv4, Ipv6};
use tools::fuzz::number_from_environment;
use tools::fuzz::parsers::{ALL, Harness, with_header_checksum};

/// Seed and iterations, unless `TOOLS_FUZZ_SEED` and `TOOLS_FUZZ_ITERATIONS` give others.
const SEED: u64 = 0x5eed_0002;
const ITERATIONS: u64 = 100_000;

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(name);
    let mut paths: Vec<_> = fs::read_dir(folder)
        .expect("a corpus")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| fs::read(path).expect("a file"))
        .collect()
}

fn mutate(rng: &mut Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut data = seeds[rng.below(seeds.len() as u32) as usize].clone();
    for _ in 0..=rng.below(6) {
        let len = data.len() as u32;
        match rng.below(8) {
            0 => data.truncate(rng.below(len + 1) as usize),
            1 => {
                let mut more = vec![0; rng.below(40) as usize];
                rng.fill(&mut more);
                data.extend(more);
            }
            2 if len > 1 => {
                let other = &seeds[rng.below(seeds.len() as u32) as usize];
                let at = rng.below(len) as usize;
                data.truncate(at);
                data.extend(other.get(at..).unwrap_or(&[]));
            }
            3 if len > 0 => {
                let at = rng.below(len.min(64)) as usize;
                data[at] = [0, 1, 0x7f, 0x80, 0xff][rng.below(5) as usize];
            }
            _ if len > 0 => {
                let at = rng.below(len.min(100)) as usize;
                data[at] ^= 1 << rng.below(8);
            }
            _ => {}
        }
    }
    data
}

#[test]
fn the_parsers_keep_their_invariants() {
    let seed = number_from_environment("TOOLS_FUZZ_SEED", SEED);
    let iterations = number_from_environment("TOOLS_FUZZ_ITERATIONS", ITERATIONS);
    println!(
        "seed {seed}, {iterations} iterations of each of {} harnesses",
        ALL.len()
    );
    for (name, harness) in ALL {
        let seeds = corpus(name);
        assert!(seeds.len() > 1, "{name} has a corpus");
        for data in &seeds {
            run(name, *harness, data);
        }
        // Random bytes of every length up to 200.
        let mut rng = Rng::from_u64(seed);
        for len in 0..=200 {
            for _ in 0..8 {
                let mut noise = vec![0; len];
                rng.fill(&mut noise);
                run(name, *harness, &noise);
            }
        }
        for iteration in 0..iterations {
            let mut rng = Rng::from_u64(seed.wrapping_add(iteration));
            run(name, *harness, &mutate(&mut rng, &seeds));
        }
    }
}

fn run(name: &str, harness: Harness, data: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| harness(data))).is_err() {
        panic!("{name}: {data:02x?}");
    }
}

/// The mutations of a corpus reach every kind of packet often: otherwise the harnesses test too little.
#[test]
fn mutations_reach_every_kind_of_packet() {
    let seeds = corpus("ip");
    let mut rng = Rng::from_u64(SEED);
    let mut met = std::collections::BTreeMap::new();
    for _ in 0..ITERATIONS {
        let data = mutate(&mut rng, &seeds);
        let mut meet = |what| *met.entry(what).or_insert(0) += 1;
        if data.first().is_some_and(|first| first >> 4 == 4) {
            let data = with_header_checksum(&data).unwrap_or(data);
            match IpPacket::<Ipv4>::parse(&data) {
                Ok(packet) if packet.fragment().is_some() => meet("IPv4 fragment"),
                Ok(packet) if packet.header_len() > 20 => meet("IPv4 with options"),
                Ok(_) => meet("IPv4"),
                Err(IpParseError::ParameterProblem { .. }) => meet("IPv4 with bad options"),
                Err(_) => {}
            }
        } else {
            match IpPacket::<Ipv6>::parse(&data) {
                Ok(packet) if packet.fragment().is_some() => meet("IPv6 fragment"),
                Ok(packet) if packet.header_len() > 40 => meet("IPv6 with extensions"),
                Ok(_) => meet("IPv6"),
                Err(IpParseError::ParameterProblem { .. }) => meet("IPv6 with a bad chain"),
                Err(_) => {}
            }
        }
    }
    println!("of {ITERATIONS}: {met:?}");
    assert_eq!(met.len(), 8);
    assert!(met.values().all(|count| *count >= 50), "{met:?}");
}
