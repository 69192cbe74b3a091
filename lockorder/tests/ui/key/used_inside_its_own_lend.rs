//! While a key is lent it is borrowed: the code called out to takes its own.
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
    let mut key = Key::<Stack>::take().unwrap();
    key.lend(|| ip.with(&mut key.ctx(), |_, _| ()));
}
