//! Deferred values are dropped with nothing held.
#![allow(unused)]
use lockorder::{Deferred, Key, Mutex};

mod levels {
    lockorder::lock_order! {
        pub domain D;
        level A, B, C;
        D => A => B => C;
    }
}
use levels::{A, B, C, D};

static GARBAGE: Deferred<D, String> = Deferred::new();

fn main() {
    let a = Mutex::<A, _>::new(0);
    let mut key = Key::<D>::take().unwrap();
    a.with(&mut key.ctx(), |_, _| GARBAGE.drop_all(&mut key));
}
