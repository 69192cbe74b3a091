//! An owned set's locks cannot be exchanged while they are held.
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
    let mut key = Key::<Stack>::take().unwrap();
    let mut root = key.ctx();
    let (guards, _) = set.lock(&mut root);
    let _ = set.get_mut();
    drop(guards);
}
