//! Contexts of two domains exchanged.
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

mod others {
    lockorder::lock_order! { pub domain Other; level Only; Other => Only; }
}

fn main() {
    let mut key = Key::<Stack>::take().unwrap();
    let mut other_key = Key::<others::Other>::take().unwrap();
    swap(&mut key.ctx(), &mut other_key.ctx());
}
