//! The constructors of contexts and permits are private.
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
    let ctx = LockCtx::<'static, Stack>::mint();
    let permit = lockorder::set::Permit::<'static, Ip>::mint();
    let key = Key::<Stack>::default();
}
