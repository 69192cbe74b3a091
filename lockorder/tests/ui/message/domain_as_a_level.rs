//! A domain is not a level.
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
    let root = Mutex::<D, _>::new(0);
}
