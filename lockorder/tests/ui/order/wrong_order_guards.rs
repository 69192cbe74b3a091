//! The same with guards, reading and writing.
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
    let ip = RwLock::<Ip, _>::new(0);
    let device = RwLock::<Device, _>::new(0);
    let mut key = Key::<Stack>::take().unwrap();
    let mut root = key.ctx();
    let (_device, mut ctx) = device.read(&mut root);
    let (_ip, _) = ip.write(&mut ctx);
    let _ = ip.try_read(&mut ctx);
}
