//! Fuzz harnesses: functions that take arbitrary bytes and panic when the stack breaks an invariant.
//!
//! The tests run them with a seed and a limited number of iterations; the binary `fuzz` for as long as you like, on a
//! stable compiler; cargo-fuzz (`tools/fuzz`) with the guidance of coverage, on a nightly one.

pub mod between;
pub mod captures;
pub mod dictionary;
pub mod differential;
pub mod guided;
mod input;
pub mod mutation;
mod optional;
mod packets;
pub mod parsers;
pub mod scripts;
pub mod sockets;
pub mod stack;

/// A harness, by the name of its fuzz target and corpus.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// The harness.
    pub harness: fn(&[u8]),
    /// The dictionary of what it reads, in `tools/fuzz/dictionaries`.
    pub dictionary: &'static str,
    /// Length of the inputs that are made for it without a corpus, in bytes.
    pub longest: usize,
}

impl Target {
    const fn new(
        name: &'static str,
        harness: fn(&[u8]),
        dictionary: &'static str,
        longest: usize,
    ) -> Self {
        Self {
            name,
            harness,
            dictionary,
            longest,
        }
    }
}

/// The targets that are more than a parser of packets.
const WHOLE: [Target; 6] = [
    Target::new("stack", stack::fuzz_stack, "tcp", 2_048),
    Target::new("offload", run_offload, "tcp", 2_048),
    Target::new("between", run_between, "tcp", 3_000),
    Target::new("sockets", run_sockets, "tcp", 3_000),
    Target::new("capture", captures::fuzz_capture, "capture", 400),
    Target::new("pktscript", scripts::fuzz_script, "pktscript", 400),
];

fn run_offload(data: &[u8]) {
    stack::fuzz_offload(data);
}

fn run_between(data: &[u8]) {
    between::fuzz_between(data);
}

fn run_sockets(data: &[u8]) {
    sockets::fuzz_sockets(data);
}

/// Returns all targets.
pub fn targets() -> Vec<Target> {
    let parsers = parsers::ALL.iter();
    let parsers = parsers.map(|&(name, harness)| {
        let dictionary = match name {
            "tcp" | "udp" | "icmp" => name,
            _ => "ip",
        };
        Target::new(name, harness, dictionary, 200)
    });
    parsers.chain(WHOLE).collect()
}

/// Reads a number from the environment; `default` if the variable is not set or not a number.
pub fn number_from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}
