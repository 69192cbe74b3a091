//! In the closure form there is no guard to forget: the lock is released when it ends.
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
    let ip = Mutex::<Ip, String>::new(String::new());
    let mut key = Key::<Stack>::take().unwrap();
    ip.with(&mut key.ctx(), |value, ctx| {
        std::mem::forget(*value);
        std::mem::forget(*ctx);
    });
}
