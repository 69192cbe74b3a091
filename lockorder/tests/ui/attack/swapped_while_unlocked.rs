//! The context of the time without the lock is exchanged for that of another lock.
#![allow(unused)]
use lockorder::{HeldMutex, Key, LockCtx, Mutex};

mod levels {
    lockorder::lock_order! {
        pub domain Dom;
        level A, B;
        Dom => A => B;
    }
}
use levels::{A, B, Dom};

fn exchange<'k>(held: &mut HeldMutex<'k, A, B, u32>, kept: &mut LockCtx<'k, A>) {
    HeldMutex::unlocked(held, |ctx| std::mem::swap(ctx, kept));
}

fn main() {}
