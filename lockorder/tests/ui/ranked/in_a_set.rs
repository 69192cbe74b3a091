//! A ranked lock is acquired by its rank, not by its address.
#![allow(unused)]
use lockorder::{Key, LockSet, Mutex, Ranked};

mod levels {
    lockorder::lock_order! {
        pub domain D;
        level A, B, C;
        D => A => B => C;
    }
}
use levels::{A, B, C, D};

fn main() {
    let (one, other) = (Ranked::new(1, Mutex::<A, _>::new(0)), Ranked::new(2, Mutex::<A, _>::new(0)));
    LockSet::try_new((&one, &other)).unwrap();
}
