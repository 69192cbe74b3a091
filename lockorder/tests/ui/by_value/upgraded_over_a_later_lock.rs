//! An upgrade waits for readers, who may wait for what is later.
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
    let (a, b) = (RwLock::<A, _>::new(0), Mutex::<B, _>::new(0));
    let mut key = Key::<D>::take().unwrap();
    let mut held = a.hold_upgradable(key.ctx());
    let mut ctx = HeldUpgradable::ctx(&mut held);
    let (later, _) = b.lock(&mut ctx);
    let written = HeldUpgradable::upgrade(held);
    drop(later);
}
