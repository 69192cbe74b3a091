//! Made by `generate.rs`.
#![allow(clippy::unwrap_used, dead_code, unused_must_use)]

use lockorder::{Key, LockSet, Mutex, RwLock};

lockorder::lock_order! {
    pub(crate) domain Root;
    level L5, L4, L3, L2, L1;
    L2 => L5;
    Root => L2;
    L1 => L2;
    L4 => L5;
    L1 => L4;
    Root => L5;
    Root => L3;
    L2 => L3;
    Root => L1;
}

#[derive(Default)]
pub(crate) struct Locks {
    pub(crate) l1: [RwLock<L1, u64>; 3],
    pub(crate) l2: [Mutex<L2, u64>; 3],
    pub(crate) l3: [RwLock<L3, u64>; 3],
    pub(crate) l4: [Mutex<L4, u64>; 3],
    pub(crate) l5: [RwLock<L5, u64>; 3],
}

fn walk_0(l: &Locks, key: &mut Key<Root>) {
LockSet::try_new((&l.l2[1], &l.l2[2])).unwrap().with(&mut key.ctx(), |(a, b), ctx| { *a += 1; *b += 1; let _ = &ctx;
l.l5[1].with_write(ctx, |n, ctx| { *n += 1; let _ = &ctx;
});});
}

fn walk_1(l: &Locks, key: &mut Key<Root>) {
l.l2[1].with(&mut key.ctx(), |n, ctx| { *n += 1; let _ = &ctx;
l.l3[1].with_read(ctx, |n, ctx| { let _ = (*n, &ctx);
});});
}

fn walk_2(l: &Locks, key: &mut Key<Root>) {
LockSet::try_new((&l.l4[2], &l.l4[0])).unwrap().with(&mut key.ctx(), |(a, b), ctx| { *a += 1; *b += 1; let _ = &ctx;
l.l5[2].with_write(ctx, |n, ctx| { *n += 1; let _ = &ctx;
});});
}

fn walk_3(l: &Locks, key: &mut Key<Root>) {
LockSet::try_new((&l.l4[1], &l.l4[2])).unwrap().with(&mut key.ctx(), |(a, b), ctx| { *a += 1; *b += 1; let _ = &ctx;
LockSet::try_new((&l.l5[1], &l.l5[2])).unwrap().with_read(ctx, |(a, b), ctx| { let _ = (*a + *b, &ctx);
});});
}

fn walk_4(l: &Locks, key: &mut Key<Root>) {
LockSet::try_new((&l.l4[2], &l.l4[1])).unwrap().with(&mut key.ctx(), |(a, b), ctx| { *a += 1; *b += 1; let _ = &ctx;
LockSet::try_new((&l.l5[1], &l.l5[2])).unwrap().with_read(ctx, |(a, b), ctx| { let _ = (*a + *b, &ctx);
});});
}

fn walk_5(l: &Locks, key: &mut Key<Root>) {
LockSet::try_new((&l.l4[2], &l.l4[1])).unwrap().with(&mut key.ctx(), |(a, b), ctx| { *a += 1; *b += 1; let _ = &ctx;
LockSet::try_new((&l.l5[0], &l.l5[2])).unwrap().with_read(ctx, |(a, b), ctx| { let _ = (*a + *b, &ctx);
});});
}

fn walk_6(l: &Locks, key: &mut Key<Root>) {
l.l3[1].with_write(&mut key.ctx(), |n, ctx| { *n += 1; let _ = &ctx;
});
}

fn walk_7(l: &Locks, key: &mut Key<Root>) {
l.l1[1].with_read(&mut key.ctx(), |n, ctx| { let _ = (*n, &ctx);
l.l2[1].with(ctx, |n, ctx| { *n += 1; let _ = &ctx;
l.l5[0].with_write(ctx, |n, ctx| { *n += 1; let _ = &ctx;
});});});
}

fn walk_8(l: &Locks, key: &mut Key<Root>) {
LockSet::try_new((&l.l4[2], &l.l4[1])).unwrap().with(&mut key.ctx(), |(a, b), ctx| { *a += 1; *b += 1; let _ = &ctx;
LockSet::try_new((&l.l5[0], &l.l5[1])).unwrap().with_read(ctx, |(a, b), ctx| { let _ = (*a + *b, &ctx);
});});
}

fn walk_9(l: &Locks, key: &mut Key<Root>) {
l.l1[2].with_read(&mut key.ctx(), |n, ctx| { let _ = (*n, &ctx);
LockSet::new(&l.l2).with(ctx, |all, ctx| { all.map(|n| *n += 1); let _ = &ctx;
l.l3[2].with_read(ctx, |n, ctx| { let _ = (*n, &ctx);
});});});
}

fn walk_10(l: &Locks, key: &mut Key<Root>) {
LockSet::try_new((&l.l1[0], &l.l1[1])).unwrap().with_read(&mut key.ctx(), |(a, b), ctx| { let _ = (*a + *b, &ctx);
l.l4[0].with(ctx, |n, ctx| { *n += 1; let _ = &ctx;
LockSet::try_new((&l.l5[0], &l.l5[1])).unwrap().with_read(ctx, |(a, b), ctx| { let _ = (*a + *b, &ctx);
});});});
}

fn walk_11(l: &Locks, key: &mut Key<Root>) {
l.l5[1].with_read(&mut key.ctx(), |n, ctx| { let _ = (*n, &ctx);
});
}

pub(crate) const WALKS: [fn(&Locks, &mut Key<Root>); 12] = [walk_0, walk_1, walk_2, walk_3, walk_4, walk_5, walk_6, walk_7, walk_8, walk_9, walk_10, walk_11];
