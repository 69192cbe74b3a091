//! The context of a closure exchanged for one of its level from outside, which the `unsafe`
//! constructor is needed for even to have.
#![allow(unused)]
use std::mem::{replace, swap};

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
    let mut second_key = unsafe { Key::<Stack>::assume() };
    let mut root = second_key.ctx();
    let mut outer: LockCtx<'_, Ip> = root.descend();
    ip.with(&mut key.ctx(), |_, ctx| swap(ctx, &mut outer));
    ip.with(&mut key.ctx(), |_, ctx| drop(replace(&mut outer, ctx.reborrow())));
}
