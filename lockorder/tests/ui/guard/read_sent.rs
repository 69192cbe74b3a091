//! The same for a shared guard.
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
    let mut key = Key::<Stack>::take().unwrap();
    let mut root = key.ctx();
    let (guard, _) = ip.read(&mut root);
    std::thread::scope(|s| {
        s.spawn(move || drop(guard));
    });
}
