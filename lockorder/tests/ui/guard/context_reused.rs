//! The parent context while a guard, or only the child context, lives.
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

fn main() {
    let one = Mutex::<Ip, _>::new(0);
    let other = Mutex::<Ip, _>::new(0);
    let device = Mutex::<Device, _>::new(0);
    let mut key = Key::<Stack>::take().unwrap();
    let mut root = key.ctx();
    let (guard, _) = one.lock(&mut root);
    other.with(&mut root, |_, _| ());
    drop(guard);
    let (guard, mut child) = one.lock(&mut root);
    drop(guard);
    other.with(&mut root, |_, _| ());
    device.with(&mut child, |_, _| ());
}
