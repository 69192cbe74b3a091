//! A set is of one level: sorted by address, two levels would be taken in any order.
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
    let ip = Mutex::<Ip, _>::new(0);
    let device = Mutex::<Device, _>::new(0);
    let mut key = Key::<Stack>::take().unwrap();
    let set = LockSet::try_new((&ip, &device)).unwrap();
    set.with(&mut key.ctx(), |_, _| ());
    let _ = OwnedSet::new((ip, device)).with(&mut key.ctx(), |_, _| ());
}
