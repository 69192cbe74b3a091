//! A key cannot lie where another thread finds it.
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

static KEY: Mutex<Ip, Option<Key<Stack>>> = Mutex::new(None);

fn main() {}
