#![allow(unused)]
use lockorder::{Key, LockSet, Mutex, RwLock};

lockorder::lock_order! {
    pub(crate) domain Root;
    level L7, L6, L5, L4, L3, L2, L1;
    L5 => L7;
    Root => L1;
    L3 => L7;
    L1 => L7;
    Root => L2;
    L1 => L5;
    L2 => L3;
    L1 => L6;
    Root => L3;
    L3 => L4;
    L2 => L5;
}

#[derive(Default)]
pub(crate) struct Locks {
    pub(crate) l1: [RwLock<L1, u64>; 3],
    pub(crate) l2: [Mutex<L2, u64>; 3],
    pub(crate) l3: [RwLock<L3, u64>; 3],
    pub(crate) l4: [Mutex<L4, u64>; 3],
    pub(crate) l5: [RwLock<L5, u64>; 3],
    pub(crate) l6: [Mutex<L6, u64>; 3],
    pub(crate) l7: [RwLock<L7, u64>; 3],
}

fn walk_0(l: &Locks, key: &mut Key<Root>) {
    LockSet::try_new((&l.l2[0], &l.l2[1])).unwrap().with(&mut key.ctx(), |(a, b), ctx| { *a += 1; *b += 1; let _ = &ctx;
    l.l5[1].with_read(ctx, |n, ctx| { let _ = (*n, &ctx);
    LockSet::try_new((&l.l7[2], &l.l7[1])).unwrap().with_read(ctx, |(a, b), ctx| { let _ = (*a + *b, &ctx);
    l.l3[1].with_read(ctx, |n, ctx| { let _ = (*n, &ctx); // refused
    });});});});
}

fn walk_1(l: &Locks, key: &mut Key<Root>) {
    l.l3[2].with_write(&mut key.ctx(), |n, ctx| { *n += 1; let _ = &ctx;
    l.l7[1].with_write(ctx, |n, ctx| { *n += 1; let _ = &ctx;
    l.l7[2].with_read(ctx, |n, ctx| { let _ = (*n, &ctx); // refused
    });});});
}

fn walk_2(l: &Locks, key: &mut Key<Root>) {
    l.l5[0].with_write(&mut key.ctx(), |n, ctx| { *n += 1; let _ = &ctx;
    l.l7[0].with_read(ctx, |n, ctx| { let _ = (*n, &ctx);
    l.l7[2].with_read(ctx, |n, ctx| { let _ = (*n, &ctx); // refused
    });});});
}

fn walk_3(l: &Locks, key: &mut Key<Root>) {
    LockSet::try_new((&l.l2[0], &l.l2[2])).unwrap().with(&mut key.ctx(), |(a, b), ctx| { *a += 1; *b += 1; let _ = &ctx;
    l.l7[1].with_write(ctx, |n, ctx| { *n += 1; let _ = &ctx;
    l.l4[1].with(ctx, |n, ctx| { *n += 1; let _ = &ctx; // refused
    });});});
}

fn walk_4(l: &Locks, key: &mut Key<Root>) {
    l.l1[2].with_write(&mut key.ctx(), |n, ctx| { *n += 1; let _ = &ctx;
    l.l5[2].with_write(ctx, |n, ctx| { *n += 1; let _ = &ctx;
    LockSet::try_new((&l.l7[0], &l.l7[1])).unwrap().with_read(ctx, |(a, b), ctx| { let _ = (*a + *b, &ctx);
    l.l6[0].with(ctx, |n, ctx| { *n += 1; let _ = &ctx; // refused
    });});});});
}

fn walk_5(l: &Locks, key: &mut Key<Root>) {
    l.l3[1].with_write(&mut key.ctx(), |n, ctx| { *n += 1; let _ = &ctx;
    LockSet::new(&l.l4).with(ctx, |all, ctx| { all.map(|n| *n += 1); let _ = &ctx;
    l.l4[2].with(ctx, |n, ctx| { *n += 1; let _ = &ctx; // refused
    });});});
}

fn walk_6(l: &Locks, key: &mut Key<Root>) {
    LockSet::try_new((&l.l6[0], &l.l6[2])).unwrap().with(&mut key.ctx(), |(a, b), ctx| { *a += 1; *b += 1; let _ = &ctx;
    l.l1[0].with_write(ctx, |n, ctx| { *n += 1; let _ = &ctx; // refused
    });});
}

fn walk_7(l: &Locks, key: &mut Key<Root>) {
    l.l1[2].with_write(&mut key.ctx(), |n, ctx| { *n += 1; let _ = &ctx;
    LockSet::try_new((&l.l7[2], &l.l7[0])).unwrap().with_read(ctx, |(a, b), ctx| { let _ = (*a + *b, &ctx);
    l.l2[0].with(ctx, |n, ctx| { *n += 1; let _ = &ctx; // refused
    });});});
}

fn main() {}
