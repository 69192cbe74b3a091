//! Replays captured sessions against a stack on virtual time, and reports what it does otherwise than the captured
//! host did.
//!
//! * **Define.** A [`Plan`] holds the packets of the peer of a TCP session and the actions of the host's
//!   application, with their times and causes: data is written after the data that it answered. An [`Exchange`]
//!   holds the same for datagrams.
//! * **Enforce.** [`Plan::of`] builds one only from a complete session: both SYNs, and no bytes missing
//!   from the capture.
//! * **Consume.** [`run_all`] delivers each packet of the peers to the stack, translated to the sequence numbers
//!   that the stack chose, and not before the stack has sent what the packet acknowledges. So every
//!   difference in the report is the stack's.
//!
//! The peer's packets are played unchanged, with losses, duplicates and wrong checksums, and so are ICMP errors about the
//! host's packets. The stack may segment and
//! time its packets differently from the captured host; its bytes may not differ.

mod datagrams;
mod errors;
mod host;
mod live;
mod ours;
mod places;
mod plan;
mod player;
mod prepare;
mod record;
mod report;
mod run;
mod seen;
mod translate;
mod verdict;

pub use datagrams::Exchange;
pub use host::{Host, Opening, Reading};
pub use live::{Live, LiveOptions};
pub use ours::Ours;
pub use places::Place;
pub use plan::{Clock, Plan, PlanError, Role};
pub use prepare::{Found, Which, prepare};
pub use record::Record;
pub use report::{Difference, Report};
pub use run::{Part, run, run_all};
