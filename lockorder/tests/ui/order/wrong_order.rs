//! The plain case: a level that does not come after what is held.
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
    let device = Mutex::<Device, _>::new(0);
    let mut key = Key::<Stack>::take().unwrap();
    device.with(&mut key.ctx(), |_, ctx| {
        ip.with(ctx, |_, _| ());
    });
}
