//! Tools for testing: captures replayed against the stack, scripts, bad links, and fuzz harnesses.
//!
//! The binaries `pcap-inspect` and `pcap-replay` are thin: they parse flags and print what this
//! library finds.
//!
//! | module | |
//! |---|---|
//! | [`capture`] | reads pcap and pcapng files, finds the TCP sessions in them |
//! | [`replay`] | plays the client of a session against a stack, compares what both ends received |
//! | [`virtual_stack`] | one stack on virtual time that exchanges packets with the caller as bytes |
//! | [`fuzz`] | functions that take arbitrary bytes and panic when the stack breaks an invariant |
//! | [`pktscript`] | scripts of packets and socket calls, and what a stack must answer |
//! | [`sim`] | many stacks on virtual time, a run for each seed |
//! | [`impair`] | two TUN devices joined by a bad link |
//! | [`output`] | exit codes, and a quiet end when the reader of the output has gone |
//!
//! This replays each session of a capture:
//!
//! ```no_run
//! use tools::capture::{read, sessions};
//! use tools::replay::{Ours, Plan, run};
//!
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! for session in sessions(&read("capture.pcapng".as_ref())?) {
//!     let plan = Plan::of(&session)?;
//!     let mut server = Ours::new(plan.server, 1)?;
//!     println!("{}", run(&plan, &mut server));
//! }
//! # Ok(())
//! # }
//! ```

pub mod capture;
pub mod fuzz;
pub mod impair;
pub mod output;
pub mod pktscript;
pub mod replay;
pub mod sim;
pub mod virtual_stack;
