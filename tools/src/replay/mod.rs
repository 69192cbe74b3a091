//! Plays the client of a captured TCP session against a stack on virtual time, and says whether the
//! same bytes came out on both ends.
//!
//! * **Define.** A [`Plan`] is what the client sent and what the server's application did, with the
//!   times and the causes: data is written after the request that it answered.
//! * **Enforce.** [`Plan::of`] builds it only from a session that is whole: both SYNs, no bytes
//!   missing from the capture.
//! * **Consume.** [`run`] gives each client packet to the stack, translated to the sequence numbers
//!   that the stack chose, no earlier than what the client could have known; so every difference in
//!   the outcome is the stack's.
//!
//! The client's packets are played as they are, lost and duplicated ones included. What the stack
//! sends may be cut and timed differently from what was captured; its bytes may not differ.

mod host;
mod ours;
mod plan;
mod run;
mod translate;

pub use host::{Host, Reading};
pub use ours::Ours;
pub use plan::{Plan, PlanError};
pub use run::{Difference, Report, run};
