//! Keys, contexts and permits have private fields.
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

use std::marker::PhantomData;

fn main() {
    let key = Key::<Stack> { domain: PhantomData, thread: PhantomData };
    let ctx = LockCtx::<'static, Stack> { level: PhantomData, parent: PhantomData };
    let permit = lockorder::set::Permit::<'static, Ip> { level: PhantomData, time: PhantomData };
}
