//! A lock's level is a declared one.
#![allow(unused)]
use lockorder::{Key, LockCtx, Mutex, RwLock};

mod levels {
    lockorder::lock_order! {
        pub domain Stack;
        level Ip, Device;
        Stack => Ip => Device;
    }
}
use levels::{Device, Ip, Stack};

struct Level;

fn main() {
    let lock = Mutex::<Level, _>::new(0);
    let at_the_root = Mutex::<Stack, _>::new(0);
    let mut key = Key::<Stack>::take().unwrap();
    lock.with(&mut key.ctx(), |_, _| ());
    at_the_root.with(&mut key.ctx(), |_, _| ());
}
