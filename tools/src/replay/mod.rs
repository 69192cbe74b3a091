//! Replays the client of a captured TCP session against a stack on virtual time, and reports whether
//! both ends received the same bytes.
//!
//! * **Define.** A [`Plan`] holds the client's packets and the actions of the server's application,
//!   with their times and causes: data is written after the request that it answered.
//! * **Enforce.** [`Plan::of`] builds one only from a complete session: both SYNs, and no bytes missing
//!   from the capture.
//! * **Consume.** [`run`] delivers each client packet to the stack, translated to the sequence numbers
//!   that the stack chose, and not before the stack has sent what the packet acknowledges. So every
//!   difference in the report is the stack's.
//!
//! The client's packets are played unchanged, with losses and duplicates. The stack may segment and
//! time its packets differently from the captured server; its bytes may not differ.

mod host;
mod ours;
mod plan;
mod run;
mod translate;

pub use host::{Host, Reading};
pub use ours::Ours;
pub use plan::{Plan, PlanError};
pub use run::{Difference, Report, run};
