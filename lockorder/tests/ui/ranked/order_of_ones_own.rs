//! A rank whose order is the caller's own may say one thing here and another there.
#![allow(unused)]
use lockorder::{Ascending, Key, Mutex, Ranked};

mod levels {
    lockorder::lock_order! {
        pub domain D;
        level A, B, C;
        D => A => B => C;
    }
}
use levels::{A, B, C, D};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
struct Liar;
impl Ord for Liar {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Greater
    }
}

fn main() {
    let row = Ranked::new(Liar, Mutex::<A, _>::new(0));
    let mut key = Key::<D>::take().unwrap();
    let mut root = key.ctx();
    let mut chain = Ascending::<A, Liar>::new(&mut root);
}
