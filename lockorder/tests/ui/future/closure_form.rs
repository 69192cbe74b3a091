//! The closure form takes no `async` closure whose future borrows the value.
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

async fn wait() {}

fn main() {
    let ip = Mutex::<Ip, u32>::new(0);
    let mut key = Key::<Stack>::take().unwrap();
    let _future = ip.with(&mut key.ctx(), |n, _| async move {
        wait().await;
        *n += 1;
    });
}
