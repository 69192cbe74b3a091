//! A task's context does not outlive its scope.
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

async fn escape() {
    let mut kept: Option<TaskCtx<'_, Stack>> = None;
    let _ = scope::<Stack, _>(async |ctx| kept = Some(ctx.reborrow())).await;
    let _ = scope::<Stack, _>(async |ctx| ctx).await;
}

fn main() {
    drop(escape());
}
