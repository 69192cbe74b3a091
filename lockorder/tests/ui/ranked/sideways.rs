//! The lock inside of a ranked one is not to be had past its rank.
#![allow(unused)]
use lockorder::{Key, Mutex, Ranked};

mod levels {
    lockorder::lock_order! {
        pub domain D;
        level A, B, C;
        D => A => B => C;
    }
}
use levels::{A, B, C, D};

fn main() {
    let row = Ranked::new(1, Mutex::<A, _>::new(0));
    let mut key = Key::<D>::take().unwrap();
    row.lock.lock(&mut key.ctx());
    row.get_mut();
}
