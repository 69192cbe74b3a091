//! Generic code says what it is going to take, and the caller is held to it.
#![allow(unused)]
use lockorder::LockBefore;
use lockorder::{Key, LockCtx, Mutex, RwLock};

mod levels {
    lockorder::lock_order! {
        pub domain Stack;
        level Ip, Device;
        Stack => Ip => Device;
    }
}
use levels::{Device, Ip, Stack};

fn unsaid<L>(ip: &Mutex<Ip, u32>, ctx: &mut LockCtx<'_, L>) {
    ip.with(ctx, |n, _| *n += 1);
}

fn said<L: LockBefore<Ip>>(ip: &Mutex<Ip, u32>, ctx: &mut LockCtx<'_, L>) {
    ip.with(ctx, |n, _| *n += 1);
}

fn main() {
    let ip = Mutex::<Ip, _>::new(0);
    let device = RwLock::<Device, _>::new(0);
    let mut key = Key::<Stack>::take().unwrap();
    unsaid(&ip, &mut key.ctx());
    said(&ip, &mut key.ctx());
    device.with_read(&mut key.ctx(), |_, ctx| said(&ip, ctx));
}
