//! A lock that is released for a time is acquired again: no later lock may be held then.
#![allow(unused)]
use lockorder::{HeldMutex, HeldUpgradable, Key, Mutex, RwLock};

mod levels {
    lockorder::lock_order! {
        pub domain D;
        level A, B, C;
        D => A => B => C;
    }
}
use levels::{A, B, C, D};

fn main() {
    let (a, b) = (Mutex::<A, _>::new(0), Mutex::<B, _>::new(0));
    let mut key = Key::<D>::take().unwrap();
    let mut held = a.hold(key.ctx());
    let mut ctx = HeldMutex::ctx(&mut held);
    let (later, _) = b.lock(&mut ctx);
    HeldMutex::unlocked(&mut held, |_| ());
    HeldMutex::bump(&mut held);
    drop(later);
}
