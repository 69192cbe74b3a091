//! Only who owns its locks is believed to have none twice.
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
    let _ = LockSet::new((&lock, &lock));
    let _ = LockSet::new([Read(&RwLock::<Ip, _>::new(0))]);
    let _ = RetrySet::new([&lock]);
    let _ = OwnedSet::new([&lock, &lock]);
    let _ = OwnedSet::<Vec<&Mutex<Ip, i32>>>::default();
}
