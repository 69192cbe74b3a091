//! Two contexts of one level: the second is not to be had while the first can be used.
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
    let mut root = key.ctx();
    let (_a, mut first) = ip.lock(&mut root);
    let (_b, mut second) = ip.lock(&mut root);
    swap(&mut first, &mut second);
}
