// lockorder, this workspace's.

use lockorder::*;
mod levels {
    lockorder::lock_order! { pub domain Stack; level A, B, C; Stack => A => B => C; }
}
use levels::*;

/// Refused, E0277: `A` under `B`.
mod wrong_order {
    fn main() {
        let (a, b) = (Mutex::<A, u64>::new(0), Mutex::<B, u64>::new(0));
        let mut key = Key::<Stack>::take().unwrap();
        b.with(&mut key.ctx(), |_, ctx| a.with(ctx, |_, _| ()));
    }
}

/// Refused: one error that spells the cycle out.
mod cycle {
    mod wrong {
        lockorder::lock_order! { pub domain D; level A, B; D => A => B; B => A; }
    }
    fn main() {}
}

/// Runs: two ways from `A` to `D`.
mod diamond {
    mod diamond {
        lockorder::lock_order! {
            pub domain Dom;
            level A, B, C, D;
            Dom => A => B => D;
            A => C => D;
        }
    }
    fn main() {
        let (a, d) = (
            Mutex::<diamond::A, u64>::new(0),
            Mutex::<diamond::D, u64>::new(0),
        );
        let mut key = Key::<diamond::Dom>::take().unwrap();
        a.with(&mut key.ctx(), |_, ctx| d.with(ctx, |_, _| ()));
    }
}

/// Refused, E0200: the order changed elsewhere, without `unsafe`.
mod order_changed_elsewhere {
    impl LockAfter<C> for A {}
    fn main() {}
}

/// Runs: a thread's second key is not to be had.
mod second_root {
    fn main() {
        let _key = Key::<Stack>::take().unwrap();
        assert!(Key::<Stack>::take().is_none());
    }
}

/// Refused, E0499: a second root context while a lock is held.
mod second_root_while_holding {
    fn main() {
        let a = Mutex::<A, u64>::new(0);
        let mut key = Key::<Stack>::take().unwrap();
        let mut root = key.ctx();
        let (_guard, _) = a.lock(&mut root);
        a.with(&mut key.ctx(), |_, _| ());
        drop(_guard);
    }
}

/// Refused, E0597: a guard outlives its key.
mod guard_outlives_its_scope {
    fn main() {
        let a = Mutex::<A, u64>::new(0);
        let guard = {
            let mut key = Key::<Stack>::take().unwrap();
            let mut root = key.ctx();
            a.lock(&mut root).0
        };
        drop(guard);
    }
}

/// Refused: the reference outlives the closure.
mod reference_outlives_the_closure {
    fn main() {
        let a = Mutex::<A, u64>::new(0);
        let mut key = Key::<Stack>::take().unwrap();
        let value = a.with(&mut key.ctx(), |value, _| value);
        *value = 1;
    }
}

/// Runs: two locks of one level, as a set and by rank; the wrong rank, and the same lock twice,
/// are error values.
mod two_of_one_level {
    fn main() {
        let (a, b) = (Mutex::<A, u64>::new(0), Mutex::<A, u64>::new(0));
        let mut key = Key::<Stack>::take().unwrap();
        let mut root = key.ctx();
        LockSet::try_new((&b, &a))
            .unwrap()
            .with(&mut root, |_, _| ());
        assert!(LockSet::try_new((&a, &a)).is_err());
        let rows = [1u32, 2].map(|rank| Ranked::new(rank, Mutex::<A, u64>::new(0)));
        let mut chain = Ascending::new(&mut root);
        let _second = chain.lock(&rows[1]).unwrap();
        assert!(chain.lock(&rows[0]).is_err());
    }
}

/// Refused, E0277: two levels in one set.
mod two_levels_in_a_set {
    fn main() {
        let (a, b) = (Mutex::<A, u64>::new(0), Mutex::<B, u64>::new(0));
        let _ = LockSet::try_new((&a, &b));
    }
}

/// Runs: an attempt out of order.
mod attempt_out_of_order {
    fn main() {
        let (a, b) = (Mutex::<A, u64>::new(0), Mutex::<B, u64>::new(0));
        let mut key = Key::<Stack>::take().unwrap();
        b.with(&mut key.ctx(), |_, ctx| {
            assert!(a.try_lock_unordered(ctx).is_some())
        });
    }
}

/// Refused, E0277: a wait after an attempt out of order.
mod wait_after_an_attempt {
    fn main() {
        let (a, b, c) = (
            Mutex::<A, u64>::new(0),
            Mutex::<B, u64>::new(0),
            Mutex::<C, u64>::new(0),
        );
        let mut key = Key::<Stack>::take().unwrap();
        b.with(&mut key.ctx(), |_, ctx| {
            let (_a, mut ctx) = a.try_lock_unordered(ctx).unwrap();
            c.with(&mut ctx, |_, _| ());
        });
    }
}

/// Refused, E0499: a function that needs nothing held is called under a lock.
mod nothing_held_as_an_argument {
    fn call_out(_: &mut Key<Stack>) {}
    fn main() {
        let a = Mutex::<A, u64>::new(0);
        let mut key = Key::<Stack>::take().unwrap();
        let mut root = key.ctx();
        let (_guard, _) = a.lock(&mut root);
        call_out(&mut key);
        drop(_guard);
    }
}

/// Runs: an upgrade, a mapped guard, a guard that owns an `Arc`.
mod guards {
    fn main() {
        let names = RwLock::<A, u64>::new(0);
        let pair = Mutex::<A, _>::new((1, 2));
        let shared = std::sync::Arc::new(Mutex::<A, u64>::new(0));
        let mut key = Key::<Stack>::take().unwrap();
        let ctx = HeldWrite::release(HeldUpgradable::upgrade(names.hold_upgradable(key.ctx())));
        let (guard, _) = shared.lock_arc(ctx);
        drop(guard);
        let mut root = key.ctx();
        assert_eq!(
            *MutexGuard::map(pair.lock(&mut root).0, |pair| &mut pair.1),
            2
        );
    }
}
