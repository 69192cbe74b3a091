//! A leaf lock's closure captures no context, key or guard.
#![allow(unused)]
use lockorder::{Key, Leaf, Mutex};

mod levels {
    lockorder::lock_order! {
        pub domain D;
        level A, B, C;
        D => A => B => C;
    }
}
use levels::{A, B, C, D};

static LEAF: Leaf<D, u32> = Leaf::new(0);

fn main() {
    let a = Mutex::<A, _>::new(0);
    let mut key = Key::<D>::take().unwrap();
    let mut ctx = key.ctx();
    let _ = LEAF.with(|_| a.with(&mut ctx, |_, _| ()));
    let _ = LEAF.with(|_| key.lend(|| ()));
}
