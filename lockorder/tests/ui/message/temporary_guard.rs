//! The commonest mistake: a guard in a `match` lives through its arms. The types are right, and the
//! borrow checker says it: the destructor that it names is the guard's, with its level.
#![allow(unused)]
use lockorder::{Key, LockCtx, RwLock};
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
    fn open(&self, ctx: &mut LockCtx<'_, D>, port: u32) {
        self.table.with_write(ctx, |table, _| table.insert(port, port));
    }

    fn input(&self, ctx: &mut LockCtx<'_, D>, port: u32) {
        match self.table.read(ctx).0.get(&port) {
            Some(_) => (),
            None => self.open(ctx, port),
        }
    }
}

fn main() {}
