//! The same in the closure form is a lock error: the context in there is the lock's.
#![allow(unused)]
use lockorder::{Key, LockBefore, LockCtx, RwLock};
use std::collections::HashMap;

mod levels {
    lockorder::lock_order! {
        pub domain D;
        level A, B, C;
        D => A => B => C;
    }
}
use levels::{A, B, C, D};

struct S {
    table: RwLock<A, HashMap<u32, u32>>,
}

impl S {
    fn open<P: LockBefore<A>>(&self, ctx: &mut LockCtx<'_, P>, port: u32) {
        self.table.with_write(ctx, |table, _| table.insert(port, port));
    }

    fn input(&self, ctx: &mut LockCtx<'_, D>, port: u32) {
        self.table.with_read(ctx, |table, ctx| match table.get(&port) {
            Some(_) => (),
            None => self.open(ctx, port),
        })
    }
}

fn main() {}
