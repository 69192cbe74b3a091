//! Two futures of a task that both lock: one could hold what the other waits for, unpolled.
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
        let one = SESSION.lock(ctx);
        let other = SESSION.lock(ctx);
        tokio::join!(one, other);
    }));
    drop(scope::<Stack, _>(async |ctx| {
        let mut first = Box::pin(SESSION.lock(ctx));
        tokio::select! {
            _ = &mut first => (),
            _ = std::future::ready(()) => {
                SESSION.lock(ctx).await;
            }
        }
        drop(first);
    }));
}
