//! Neither keys nor contexts can be doubled.
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
    let mut key = Key::<Stack>::take().unwrap();
    let other = key.clone();
    let root = key.ctx();
    let same = root.clone();
    let moved = root;
    drop(root);
}
