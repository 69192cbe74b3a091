//! A sorted set keeps an order of addresses: locks that move with it are refused.
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
    let _ = LockSet::try_new([Mutex::<Ip, _>::new(0)]);
    let _ = LockSet::new((Mutex::<Ip, _>::new(0), Mutex::<Ip, _>::new(1)));
}
