//! The context of the time without the lock does not outlive it.
#![allow(unused)]
use lockorder::{HeldMutex, Key, LockCtx, Mutex};

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
    let mut held = b.hold(key.ctx());
    let kept = HeldMutex::unlocked(&mut held, |ctx| a.hold(ctx.reborrow()));
}
