//! The condition variables of the raw library do not take these guards.
#![allow(unused)]
use lockorder::{Key, Mutex};

mod levels {
    lockorder::lock_order! {
        pub domain D;
        level A, B, C;
        D => A => B => C;
    }
}
use levels::{A, B, C, D};

fn main() {
    let a = Mutex::<A, _>::new(0);
    let ready = std::sync::Condvar::new();
    let mut key = Key::<D>::take().unwrap();
    let mut root = key.ctx();
    let (guard, _) = a.lock(&mut root);
    let _ = ready.wait(guard);
}
