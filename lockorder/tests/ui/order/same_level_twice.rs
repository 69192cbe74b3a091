//! Two locks of one level, one after the other: only a set takes both.
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
    let one = Mutex::<Ip, _>::new(0);
    let other = Mutex::<Ip, _>::new(0);
    let mut key = Key::<Stack>::take().unwrap();
    one.with(&mut key.ctx(), |_, ctx| {
        other.with(ctx, |_, _| ());
    });
}
