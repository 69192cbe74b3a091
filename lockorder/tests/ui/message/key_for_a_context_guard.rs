//! The same for the guard form.
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
    let a = Mutex::<A, _>::new(0);
    let mut key = Key::<D>::take().unwrap();
    a.lock(&mut key);
}
