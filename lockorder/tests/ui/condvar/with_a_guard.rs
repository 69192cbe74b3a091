//! A guard does not say what else is held.
#![allow(unused)]
use lockorder::{Condvar, Key, Mutex};

mod levels {
    lockorder::lock_order! {
        pub domain D;
        level A, B, C;
        D => A => B => C;
    }
}
use levels::{A, B, C, D};

fn main() {
    let (a, ready) = (Mutex::<A, _>::new(0), Condvar::new());
    let mut key = Key::<D>::take().unwrap();
    let mut root = key.ctx();
    let (mut guard, _) = a.lock(&mut root);
    ready.wait(&mut guard);
}
