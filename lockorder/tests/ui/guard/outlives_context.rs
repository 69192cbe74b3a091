//! A guard cannot outlive the context that it was acquired with.
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
    let ip = Mutex::<Ip, _>::new(0);
    let guard = {
        let mut key = Key::<Stack>::take().unwrap();
        let mut root = key.ctx();
        ip.lock(&mut root).0
    };
    drop(guard);
}
