//! And so are its levels.
#![allow(unused)]



mod levels {
    lockorder::lock_order! {
        pub domain D;
        level A;
        #[cfg(unix)]
        level B;
        D => A => B;
    }
}

fn main() {}
