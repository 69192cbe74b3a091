//! A lock again, under itself; for reading, too, because a writer may wait in between.
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
    let lock = RwLock::<Ip, _>::new(0);
    let mut key = Key::<Stack>::take().unwrap();
    lock.with_read(&mut key.ctx(), |_, ctx| {
        lock.with_read(ctx, |_, _| ());
    });
}
