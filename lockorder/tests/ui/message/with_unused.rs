//! The result of `Key::with` says if the closure ran, and must be used.
#![allow(unused)]
use lockorder::Key;

mod levels {
    lockorder::lock_order! {
        pub domain D;
        level A, B, C;
        D => A => B => C;
    }
}
use levels::{A, B, C, D};

#[deny(unused_must_use)]
fn main() {
    Key::<D>::with(|_| ());
}
