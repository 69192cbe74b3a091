//! Why edges between domains are data: the orphan rule.
#![allow(unused)]
use lockorder::{Level, LockAfter};

mod levels {
    lockorder::lock_order! {
        pub domain D;
        level A, B, C;
        D => A => B => C;
    }
}
use levels::{A, B, C, D};

// What `Leaf => extern net::Net` would have to write for all levels of `Net` at once.
mod app {
    lockorder::lock_order! { pub domain App; level Leaf; App => Leaf; }
}
unsafe impl<L: Level<Domain = levels::D>> LockAfter<app::Leaf> for L {}

fn main() {}
