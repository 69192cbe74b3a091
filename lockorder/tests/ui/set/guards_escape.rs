//! The guards of a set, taken out of it, are still bound to the context.
#![allow(unused)]
use lockorder::{Key, LockSet, Mutex, OwnedSet, Read, RetrySet, RwLock};

mod levels {
    lockorder::lock_order! {
        pub domain Stack;
        level Ip, Device;
        Stack => Ip => Device;
    }
}
use levels::{Device, Ip, Stack};

fn main() {
    let locks: Vec<Mutex<Ip, _>> = (0..2).map(Mutex::new).collect();
    let device = Mutex::<Device, _>::new(0);
    let mut key = Key::<Stack>::take().unwrap();
    let mut root = key.ctx();
    let set = LockSet::new(&locks);
    let (mut guards, _) = set.lock(&mut root);
    let mut one = guards.pop();
    let rest = std::mem::take(&mut guards);
    device.with(&mut root, |_, _| ());
    drop((one.take(), rest));
    let escaped = LockSet::new(&locks).lock(&mut root).0;
    drop(escaped);
    let escaped = set.with(&mut root, |all, _| all);
}
