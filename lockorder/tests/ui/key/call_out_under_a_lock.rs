//! A function that takes the key cannot be called while a lock is held, by guard or in a closure.
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

fn wake(key: &mut Key<Stack>) {
    key.lend(|| ());
}

fn main() {
    let ip = Mutex::<Ip, _>::new(0);
    let mut key = Key::<Stack>::take().unwrap();
    ip.with(&mut key.ctx(), |_, _| wake(&mut key));
    let mut root = key.ctx();
    let (_held, _) = ip.lock(&mut root);
    wake(&mut key);
    drop(_held);
}
