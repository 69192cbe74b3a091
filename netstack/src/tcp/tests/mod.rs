//! Tests of whole connections.

mod arrives;
mod chaos;
mod ends;
mod events;
mod flow;
mod fuzz;
mod goodput;
mod invariants;
mod link;
mod pump;
mod recovery;
mod rig;
mod transfer;
