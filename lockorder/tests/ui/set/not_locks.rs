//! A set is of locks.
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
    let lock = Mutex::<Ip, _>::new(0);
    let _ = LockSet::try_new((&lock, &5));
    let _ = LockSet::try_new(&lock);
}
