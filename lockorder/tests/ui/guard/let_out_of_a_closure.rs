//! Neither the value nor the context gets out of the closure form.
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
    let mut root = key.ctx();
    let value = ip.with(&mut root, |n, _| n);
    let ctx = ip.with(&mut root, |_, ctx| ctx);
    let mut kept: Option<LockCtx<'_, Ip>> = None;
    ip.with(&mut root, |_, ctx| kept = Some(ctx.reborrow()));
    let mut kept: Option<&mut LockCtx<'_, Ip>> = None;
    ip.with(&mut root, |_, ctx| kept = Some(ctx));
}
