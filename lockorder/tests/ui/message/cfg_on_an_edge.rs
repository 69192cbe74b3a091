//! An order is the same in every build.
#![allow(unused)]



mod levels {
    lockorder::lock_order! {
        pub domain D;
        level A, B;
        D => A;
        #[cfg(unix)]
        A => B;
    }
}

fn main() {}
