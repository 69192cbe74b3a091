//! Tests of whole programs and whole stacks, and the helpers that they share.
//!
//! # Where a test goes
//!
//! | kind | place | needs |
//! |---|---|---|
//! | unit | `#[cfg(test)]` in the module that it tests | nothing |
//! | lock orders that must not compile | `lockorder/tests/ui*` | nothing |
//! | TCP alone: two pure state machines on a rig with virtual time | `netstack/src/tcp/tests` (`rig.rs`) | nothing |
//! | conformance of the packet formats, also compared with another parser | `packet/tests` | nothing |
//! | simulation: whole stacks over an imperfect link, with virtual time and a seed | `simulation.rs`, `hand_over.rs`, `same_turn.rs`; against segments made by hand: `handshakes.rs`, `time_wait.rs` here | nothing |
//! | whole stacks against hostile peers, on virtual time | `attacks/`, `hostile.rs` here | nothing |
//! | sockets under tokio, over a link in memory | `tokio_sockets.rs`, `tokio_examples.rs`, `waiting.rs`, `ends.rs` and others here | nothing |
//! | sockets under axum, hyper, rustls, quinn, hickory | `tests/ecosystem` | nothing |
//! | devices: the TUN devices alone against the real kernel | `netstack/tests/device_tun` | a network namespace |
//! | conformance of the answers to malformed packets | `malformed/` here | a network namespace |
//! | real kernel: the daemon behind a TUN device, the kernel as its peer | the other files here | a network namespace |
//! | command line of the daemon: messages and exit codes | `cli.rs` here | a network namespace, two tests root |
//! | fuzz smoke: each fuzz harness with a seed and a limit | `tools/tests/fuzz_*.rs` | nothing for parsers, a network namespace for the stack |
//! | captures and their replay, command line of the tools | `tools/tests`, other files | a network namespace |
//! | the benchmark itself | `benches/tests` | a network namespace |
//! | layering: which module may name which | `layering.rs` here | nothing |
//! | documents: their names exist, their examples compile | `ledger/`, `readme.rs`, `embedding.rs` here | nothing, a network namespace for the README's example |
//!
//! # A fast subset
//!
//! `cargo fast` runs tests that need nothing, in less than a minute once they are built. `.cargo/config.toml` lists them.
//!
//! `docs/rfc/*.md` name the tests of each requirement: rename them there, too.
//!
//! # What a network namespace needs
//!
//! Tests make their network namespaces themselves and touch no network of the host. That takes root, or
//! user namespaces and access to `/dev/net/tun` for everybody. [`world::in_namespace`] uses what there
//! is: without root it starts its test program once more as root of a new user namespace. Where neither
//! is possible a test fails and says so; it is never skipped. Tests of `tools` do not start again: run
//! them as `unshare --user --map-root-user cargo test`. The tests that run programs as another user need
//! root ([`world::require_root`]).
//!
//! The tools that the tests run are `ip`, `nft` and `curl` (Debian: iproute2, nftables, curl); those of `exec`, `proxy` and `iperf3` need
//! `ping`, `git`, `iperf3`, `python3` and `script`, too (iputils-ping, git, iperf3, python3, bsdutils), those of `dashboard` `chromium`.

pub mod browser;
pub mod file_graph;
pub mod forge;
pub mod hostile;
pub mod jobs;
pub mod layers;
pub mod pair;
pub mod pipes;
pub mod raw_peer;
pub mod recorded;
pub mod router;
pub mod soak;
pub mod supervisor;
pub mod transfer;
pub mod upstream;
pub mod world;

/// Compiles the Rust blocks of the guide.
#[cfg(doctest)]
#[doc = include_str!("../../docs/EMBEDDING.md")]
mod embedding {}
