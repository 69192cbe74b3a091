//! A level that turns into another type of its name, by an attribute that is no `cfg` itself.
#![allow(unused)]

mod other {
    pub struct A;
}
mod levels {
    use super::other::*;
    lockorder::lock_order! {
        pub domain Dom;
        #[cfg_attr(all(), cfg(any()))]
        level A;
        level B;
        Dom => A => B;
    }
}

fn main() {}
