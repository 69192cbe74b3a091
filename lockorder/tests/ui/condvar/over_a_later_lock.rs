//! A thread holds no lock of a later level during a wait.
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
    let mut held = a.hold(key.ctx());
    let mut ctx = HeldMutex::ctx(&mut held);
    let (later, _) = b.lock(&mut ctx);
    ready.wait(&mut held);
    drop(later);
}
