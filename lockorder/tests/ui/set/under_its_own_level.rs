//! A set under a lock of its level, and a lock under a set of its level.
#![allow(unused)]
use lockorder::{Key, LockSet, Mutex, OwnedSet, Read, RetrySet, RwLock};

mod levels {
    lockorder::lock_order! {
        pub domain Stack;
        level Ip, Device;
        Stack => Ip => Device;
    }
}
use levels::{Device, Ip, Stack};

fn main() {
    let locks = [Mutex::<Ip, _>::new(0), Mutex::new(1)];
    let one = Mutex::<Ip, _>::new(0);
    let mut key = Key::<Stack>::take().unwrap();
    one.with(&mut key.ctx(), |_, ctx| LockSet::new(&locks).with(ctx, |_, _| ()));
    LockSet::new(&locks).with(&mut key.ctx(), |_, ctx| one.with(ctx, |_, _| ()));
}
