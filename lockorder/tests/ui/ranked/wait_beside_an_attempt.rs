//! While what was acquired out of order is held, the context before it waits for nothing.
#![allow(unused)]
use lockorder::{Key, Mutex, TryCtx};

mod levels {
    lockorder::lock_order! {
        pub domain D;
        level A, B, C;
        D => A => B => C;
    }
}
use levels::{A, B, C, D};

fn main() {
    let (a, b, c) = (Mutex::<A, _>::new(0), Mutex::<B, _>::new(0), Mutex::<C, _>::new(0));
    let mut key = Key::<D>::take().unwrap();
    let mut root = key.ctx();
    let (_b, mut ctx) = b.lock(&mut root);
    let (earlier, _) = a.try_lock_unordered(&mut ctx).unwrap();
    c.lock(&mut ctx);
    drop(earlier);
}
