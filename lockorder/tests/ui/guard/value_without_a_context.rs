//! The value is not to be had without a context, nor is the raw lock. (Formatting a lock
//! does not lock it, and shows no value.)
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

struct Value;

fn main() {
    let ip = Mutex::<Ip, Value>::new(Value);
    let _ = format!("{ip:?}");
    let _ = &*ip;
    let _ = ip.data_ptr();
    let _ = ip.inner;
}
