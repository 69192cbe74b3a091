//! An ordinary lock cannot be held over an await, and no asynchronous one is taken under it.
#![allow(unused)]
use lockorder::task::{AsyncMutex, TaskCtx, scope};
use lockorder::{Key, Mutex};

mod levels {
    lockorder::lock_order! {
        pub domain Stack;
        level Session, Table;
        Stack => Session => Table;
    }
}
use levels::{Session, Stack, Table};

static SESSION: AsyncMutex<Session, u32> = AsyncMutex::const_new(0);
static TABLE: Mutex<Table, u32> = Mutex::new(0);

fn main() {
    drop(scope::<Stack, _>(async |ctx| {
        ctx.sync(|thread| {
            TABLE.with(thread, |n, _| {
                SESSION.lock(ctx).await;
                *n += 1;
            })
        });
    }));
    drop(scope::<Stack, _>(async |ctx| {
        ctx.sync(|thread| async { TABLE.lock(thread).0 }).unwrap().await;
    }));
    drop(scope::<Stack, _>(async |ctx| {
        ctx.sync(|thread| SESSION.try_lock(thread).is_some());
    }));
}
