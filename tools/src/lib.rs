//! Tools for testing: captures replayed against the stack, scripts, bad links, and fuzz harnesses.
//!
//! The binaries `pcap-inspect` and `pcap-replay` are thin: they parse flags and print what this
//! library finds.
//!
//! | module | |
//! |---|---|
//! | [`capture`] | reads pcap and pcapng files, finds the TCP sessions in them |
//! | [`inspect`] | packets as lines, flows with statistics, data and plots, in one pass |
//! | [`replay`] | plays the peers of a host against a stack, compares what all ends received |
//! | [`virtual_stack`] | one stack on virtual time that exchanges packets with the caller as bytes |
//! | [`fuzz`] | functions that take arbitrary bytes and panic when the stack breaks an invariant |
//! | [`pktscript`] | scripts of packets and socket calls, and what a stack must answer |
//! | [`sim`] | many stacks on virtual time, a run for each seed |
//! | [`impair`] | two TUN devices joined by a bad link |
//! | [`seeds`] | ranges of seeds, as flags have them |
//! | [`live`] | real time: namespaces, TUN devices, a running `netstackd` and its control socket |
//! | [`output`] | exit codes, and a quiet end when the reader of the output has gone |
//!
//! This replays the sessions of a capture, with the stack as the server of each:
//!
//! ```no_run
//! use tools::capture::read;
//! use tools::replay::{Ours, Part, Record, Which, prepare, run_all};
//!
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let (packets, _) = read("capture.pcapng".as_ref())?;
//! let found = prepare(&packets, Which::Servers);
//! let parts: Vec<Part> = found.into_iter().filter_map(|found| found.part.ok()).collect();
//! let mut host = Ours::new(1, 0)?;
//! for report in run_all(parts, &mut host, false, None::<&mut Record<std::fs::File>>)? {
//!     println!("{report}");
//! }
//! # Ok(())
//! # }
//! ```

pub mod capture;
pub mod fuzz;
pub mod impair;
pub mod inspect;
pub mod live;
pub mod output;
pub mod pktscript;
pub mod replay;
pub mod seeds;
pub mod sim;
pub mod virtual_stack;
