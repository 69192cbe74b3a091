//! A set is of one level.
#![allow(unused)]
use lockorder::{Key, LockSet, Mutex};

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
    let _ = LockSet::try_new((&a, &b));
}
