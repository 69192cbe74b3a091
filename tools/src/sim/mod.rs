//! Simulations: many stacks on virtual time, whose whole course one seed decides.
//!
//! A seed draws a [`Scenario`]: hosts with their limits and numbers of workers, links with their impairments, what the
//! hosts do with each other, and what disturbs them. The run turns the workers in an order that the seed decides, too.
//! Two runs of one seed are the same, packet by packet: a seed that fails is the whole report of a fault.
//!
//! In every run this must hold, however bad the links are:
//!
//! * each stream is what was sent, or ends with an error; without a disturbance it does not end with an error;
//! * datagrams and echo replies that arrive are what was sent;
//! * no stack holds more memory than it may;
//! * afterwards nothing is left: no connection, no handshake, no memory;
//! * with the feature `invariants`, what `netstack` checks of itself after each call.
//!
//! | module | |
//! |---|---|
//! | [`scenario`], `draw` | what a seed stands for, and how it is drawn |
//! | [`network`] | a star of links, one for each host |
//! | `port` | the device of a worker, an end of the network |
//! | `service` | what each host answers |
//! | `client` | what hosts ask of each other |
//! | `stream` | a stream whose bytes both ends know |
//! | `world` | the network and the trace, shared by all of them |
//! | [`run`] | a run from its seed to its verdict |
//! | [`trace`] | what happened, as lines and as a digest |

mod client;
mod draw;
pub mod network;
mod port;
pub mod run;
pub mod scenario;
mod service;
mod stream;
pub mod trace;
mod world;

pub use run::{Failure, Options, Report, run};
pub use scenario::Scenario;
