//! Workers, timers and turns.
//!
//! A [`worker::Worker`] owns one device queue, the timers of its connections and the tasks that run
//! beside them; [`threads`] turns workers on the machine's clock, [`future`] inside a program's runtime or loop,
//! [`sim`] on virtual time.

#[cfg(any(test, feature = "invariants"))]
mod check;
pub mod clock;
pub mod future;
mod loopback;
mod onlookers;
mod pauses;
pub mod sim;
mod tasks;
pub mod threads;
mod turn;
pub mod wheel;
pub mod worker;

/// Gives back the memory of values that are gone, as far as no other lies behind it: what a crowd of connections leaves.
fn trim<T>(slab: &mut slab::Slab<T>) {
    /// Values for which a slab keeps its memory.
    const KEPT: usize = 1_024;
    if slab.capacity() > KEPT && slab.len() < slab.capacity() / 4 {
        slab.shrink_to_fit();
    }
}
