//! Contexts of two scopes are exchanged, or a section's context is kept.
#![allow(unused)]
use lockorder::task::{AsyncMutex, TaskCtx, scope};
use lockorder::{Key, LockCtx, Mutex};

mod levels {
    lockorder::lock_order! {
        pub domain Stack;
        level Session, Table;
        Stack => Session => Table;
    }
}
use levels::{Session, Stack, Table};

fn exchange(first: &mut TaskCtx<'_, Stack>, second: &mut TaskCtx<'_, Stack>) {
    std::mem::swap(first, second);
}

fn keep(ctx: &mut TaskCtx<'_, Stack>) {
    let mut kept: Option<LockCtx<'_, Stack>> = None;
    ctx.sync(|ctx| kept = Some(ctx.reborrow()));
}

fn main() {}
