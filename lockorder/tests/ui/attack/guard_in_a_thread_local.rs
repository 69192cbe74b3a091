//! A held lock is put where the closure of a leaf, or another task, would find it.
#![allow(unused)]
use lockorder::{HeldMutex, Key, LockCtx, Mutex};
use std::cell::RefCell;

mod levels {
    lockorder::lock_order! {
        pub domain Dom;
        level A, B;
        Dom => A => B;
    }
}
use levels::{A, B, Dom};

static SA: Mutex<A, u32> = Mutex::new(0);

thread_local! {
    static HELD: RefCell<Option<HeldMutex<'static, Dom, A, u32>>> = const { RefCell::new(None) };
    static CTX: RefCell<Option<LockCtx<'static, Dom>>> = const { RefCell::new(None) };
    static KEY: RefCell<Option<Key<Dom>>> = const { RefCell::new(None) };
}

fn main() {
    let mut key = Key::<Dom>::take().unwrap();
    HELD.with(|held| *held.borrow_mut() = Some(SA.hold(key.ctx())));
    KEY.with(|key| {
        let mut key = key.borrow_mut();
        CTX.with(|ctx| *ctx.borrow_mut() = Some(key.as_mut().unwrap().ctx()));
    });
}
