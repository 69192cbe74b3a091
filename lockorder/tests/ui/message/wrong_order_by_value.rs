//! And where the context is given up for the lock.
#![allow(unused)]
use lockorder::{HeldRead, Key, LockBefore, LockCtx, RwLock};
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
    fn open<P: LockBefore<A>>(&self, ctx: LockCtx<'_, P>, port: u32) {
        self.table.hold_write(ctx).insert(port, port);
    }

    fn input(&self, ctx: LockCtx<'_, D>, port: u32) {
        let mut table = self.table.hold_read(ctx);
        let (table, ctx) = HeldRead::split(&mut table);
        match table.get(&port) {
            Some(_) => (),
            None => self.open(ctx, port),
        }
    }
}

fn main() {}
