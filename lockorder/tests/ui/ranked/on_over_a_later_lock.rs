//! A chain does not go on while something of a later level is held.
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

fn main() {
    let rows = [1, 2].map(|rank| Ranked::new(rank, Mutex::<A, _>::new(0)));
    let b = Mutex::<B, _>::new(0);
    let mut key = Key::<D>::take().unwrap();
    let mut root = key.ctx();
    let mut chain = Ascending::new(&mut root);
    let first = chain.lock(&rows[0]).unwrap();
    let mut ctx = chain.ctx();
    let (later, _) = b.lock(&mut ctx);
    let second = chain.lock(&rows[1]).unwrap();
    drop(later);
}
