//! While a guard of one chain lives there is no second chain.
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
    let mut key = Key::<D>::take().unwrap();
    let mut root = key.ctx();
    let second = {
        let mut chain = Ascending::new(&mut root);
        chain.lock(&rows[1]).unwrap()
    };
    let mut chain = Ascending::new(&mut root);
    let first = chain.lock(&rows[0]).unwrap();
    drop(second);
}
