//! Neither a locked value nor the right to lock can be carried over an `.await` of a task
//! that may move between threads.
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

fn spawn(task: impl Future + Send + 'static) {
    drop(task);
}

static IP: Mutex<Ip, u32> = Mutex::new(0);

async fn wait() {}

fn main() {
    spawn(async {
        let mut key = Key::<Stack>::take().unwrap();
        wait().await;
        drop(key);
    });
    spawn(async {
        Key::<Stack>::with(async |key: &mut Key<Stack>| {
            let mut root = key.ctx();
            let (mut guard, _) = IP.lock(&mut root);
            wait().await;
            *guard += 1;
        })
        .unwrap()
        .await;
    });
}
