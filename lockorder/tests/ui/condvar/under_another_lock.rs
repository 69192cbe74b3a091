//! A condition variable is waited on with one lock held, not two.
#![allow(unused)]
use lockorder::{Condvar, HeldMutex, Key, Mutex};

mod levels {
    lockorder::lock_order! {
        pub domain D;
        level A, B, C;
        D => A => B => C;
    }
}
use levels::{A, B, C, D};

fn main() {
    let (a, b, ready) = (Mutex::<A, _>::new(0), Mutex::<B, _>::new(0), Condvar::new());
    let mut key = Key::<D>::take().unwrap();
    let mut root = key.ctx();
    let (_a, ctx) = a.lock(&mut root);
    let mut held = b.hold(ctx);
    ready.wait(&mut held);
}
