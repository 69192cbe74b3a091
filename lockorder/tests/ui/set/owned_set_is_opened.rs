//! An owned set shows its locks only to who has it alone.
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
    let mut set = OwnedSet::new([Mutex::<Ip, _>::new(0), Mutex::new(1)]);
    let _ = set.members();
    let _ = &set.locks;
}
