//! A function says in its signature what may be held; another level is not it.
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

fn send(device: &Mutex<Device, u32>, ctx: &mut LockCtx<'_, Ip>) {
    device.with(ctx, |n, _| *n += 1);
}

fn main() {
    let device = Mutex::<Device, _>::new(0);
    let other = Mutex::<Device, _>::new(0);
    let mut key = Key::<Stack>::take().unwrap();
    other.with(&mut key.ctx(), |_, ctx| send(&device, ctx));
}
