//! A mutex cannot be read with others.
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
    let (a, b) = (Mutex::<Ip, _>::new(0), RwLock::<Ip, _>::new(0));
    let mut key = Key::<Stack>::take().unwrap();
    LockSet::try_new((&a, &b)).unwrap().with_read(&mut key.ctx(), |_, _| ());
    LockSet::try_new((Read(&a), &b)).unwrap().with(&mut key.ctx(), |_, _| ());
}
