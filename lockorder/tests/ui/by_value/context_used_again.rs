//! A context that was consumed is gone until the lock is released.
#![allow(unused)]
use lockorder::{HeldMutex, Key, Mutex};

mod levels {
    lockorder::lock_order! {
        pub domain D;
        level A, B, C;
        D => A => B => C;
    }
}
use levels::{A, B, C, D};

fn main() {
    let (a, b) = (Mutex::<A, _>::new(0), Mutex::<B, _>::new(0));
    let mut key = Key::<D>::take().unwrap();
    let ctx = key.ctx();
    let held = b.hold(ctx);
    a.hold(ctx);
}
