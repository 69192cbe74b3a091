//! Contexts of two levels exchanged.
#![allow(unused)]
use std::mem::{replace, swap};

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
    let device = Mutex::<Device, _>::new(0);
    let mut key = Key::<Stack>::take().unwrap();
    let mut root = key.ctx();
    let (_a, mut ip_ctx) = ip.lock(&mut root);
    let (_b, mut device_ctx) = device.lock(&mut ip_ctx);
    swap(&mut ip_ctx, &mut device_ctx);
}
