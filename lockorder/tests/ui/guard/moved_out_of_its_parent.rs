//! A context cannot be moved out of the reference that a function was given.
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

fn steal<'k>(ctx: &mut LockCtx<'k, Ip>) -> LockCtx<'k, Ip> {
    *ctx
}

fn lengthen<'k>(ctx: &mut LockCtx<'k, Ip>) -> LockCtx<'k, Ip> {
    ctx.reborrow()
}

fn main() {}
