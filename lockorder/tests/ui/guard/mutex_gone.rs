//! A mutex cannot be moved, taken apart or opened while a guard lives.
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
    let mut ip = Mutex::<Ip, _>::new(0);
    let mut key = Key::<Stack>::take().unwrap();
    let mut root = key.ctx();
    let (guard, _) = ip.lock(&mut root);
    *ip.get_mut() = 1;
    let _ = ip.into_inner();
    drop(guard);
}
