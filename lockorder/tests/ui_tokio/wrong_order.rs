//! One graph for both kinds of locks.
#![allow(unused)]
use lockorder::task::{AsyncRwLock, scope};
use lockorder::{Key, Mutex};

mod levels {
    lockorder::lock_order! {
        pub domain Stack;
        level Session, Table;
        Stack => Session => Table;
    }
}
use levels::{Session, Stack, Table};

static SESSION: Mutex<Session, u32> = Mutex::new(0);
static TABLE: AsyncRwLock<Table, u32> = AsyncRwLock::const_new(0);

fn main() {
    drop(scope::<Stack, _>(async |ctx| {
        let (table, mut ctx) = TABLE.read(ctx).await;
        ctx.sync(|ctx| SESSION.with(ctx, |n, _| *n += *table));
        TABLE.write(&mut ctx).await;
    }));
    let mut key = Key::<Stack>::take().unwrap();
    drop(TABLE.read(&mut key.ctx()));
}
