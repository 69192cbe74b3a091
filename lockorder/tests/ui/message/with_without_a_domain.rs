//! Of which domain?
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

fn main() {
    let _ = Key::with(|key| ());
}
