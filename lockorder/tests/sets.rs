//! Sets: what they acquire, in what order, and what they refuse.

use std::sync::Arc;
use std::thread;

use lockorder::{DuplicateLock, Key, LockSet, Mutex, OwnedSet, Read, RetrySet, RwLock};

mod levels {
    lockorder::lock_order! {
        pub(crate) domain Dom;
        level Before, Level, After;
        Dom => Before => Level => After;
    }
}
use levels::{After, Before, Dom, Level};

type M<T> = Mutex<Level, T>;
type Rw<T> = RwLock<Level, T>;

fn key() -> Key<Dom> {
    Key::take().expect("the thread's key is free")
}

/// Returns for each whether another thread can lock it now.
fn free(locks: &[&M<i32>]) -> Vec<bool> {
    locks.iter().map(|lock| !lock.is_locked()).collect()
}

#[test]
fn tuples_of_different_types() {
    let (a, b, c) = (M::new(1), Rw::new("two".to_owned()), M::new([3u8; 3]));
    let mut key = key();
    let set = LockSet::try_new((&c, &a, &b)).unwrap();
    let length = set.with(&mut key.ctx(), |(c, a, b), _| {
        *a += 1;
        b.push('!');
        c[0] = 9;
        b.len()
    });
    assert_eq!(length, 4);
    assert_eq!(
        (a.into_inner(), b.into_inner(), c.into_inner()),
        (2, "two!".to_owned(), [9, 3, 3])
    );
}

#[test]
fn arrays_slices_and_vectors() {
    let locks: Vec<M<i32>> = (0..5).map(M::new).collect();
    let mut key = key();
    let mut root = key.ctx();

    // All of them, where they lie: neither sort nor check.
    let sum =
        LockSet::new(&locks).with(&mut root, |all, _| all.into_iter().map(|n| *n).sum::<i32>());
    assert_eq!(sum, 10);
    LockSet::new(&locks[1..3]).with(&mut root, |two, _| assert_eq!((*two[0], *two[1]), (1, 2)));

    // Some of them, in any order.
    let some = LockSet::try_new([&locks[4], &locks[0], &locks[2]]).unwrap();
    some.with(&mut root, |[e, a, c], _| {
        assert_eq!((*e, *a, *c), (4, 0, 2))
    });
    let some = LockSet::try_new(vec![&locks[3], &locks[1]]).unwrap();
    some.with(&mut root, |two, _| assert_eq!((*two[0], *two[1]), (3, 1)));

    // None at all.
    let none: [&M<i32>; 0] = [];
    LockSet::try_new(none).unwrap().with(&mut root, |[], _| ());
    let none: Vec<&M<i32>> = Vec::new();
    RetrySet::try_new(none)
        .unwrap()
        .with(&mut root, |none, _| assert!(none.is_empty()));

    // A set that owns a vector of locks, others reaching them through it.
    let set = LockSet::new(locks);
    set.with(&mut root, |all, _| *all.into_iter().last().unwrap() = 40);
    assert_eq!(set.members()[4].with(&mut root, |n, _| *n), 40);
    assert_eq!(set.into_members().len(), 5);
}

#[test]
fn a_lock_that_is_there_twice_is_refused() {
    let locks: Vec<Arc<M<i32>>> = (0..4).map(|n| Arc::new(M::new(n))).collect();
    let twice = vec![
        locks[2].clone(),
        locks[0].clone(),
        locks[3].clone(),
        locks[0].clone(),
    ];
    let refused = DuplicateLock {
        first: 1,
        second: 3,
    };
    assert_eq!(LockSet::try_new(twice.clone()).unwrap_err(), refused);
    assert_eq!(RetrySet::try_new(twice).unwrap_err(), refused);
    assert_eq!(
        LockSet::try_new((&locks[0], &locks[0])).unwrap_err(),
        DuplicateLock {
            first: 0,
            second: 1
        }
    );
    let (a, b) = (M::new(0), Rw::new(0));
    assert_eq!(
        LockSet::try_new((Read(&b), &a, &b))
            .unwrap_err()
            .to_string(),
        "the locks at 0 and 2 of the set are the same one"
    );
    assert!(LockSet::try_new(locks).is_ok());
}

#[test]
fn guards_come_in_the_sets_shape_and_can_go_one_by_one() {
    let (a, b) = (M::new(1), M::new(2));
    let after = Mutex::<After, _>::new(3);
    let mut key = key();
    let mut root = key.ctx();
    let set = LockSet::try_new((&b, &a)).unwrap();
    let ((mut gb, ga), mut ctx) = set.lock(&mut root);
    *gb += 10;
    assert_eq!(free(&[&a, &b]), [false, false]);
    drop(ga);
    assert_eq!(free(&[&a, &b]), [true, false]);
    assert_eq!(after.with(&mut ctx, |n, _| *n + *gb), 15);
    drop(gb);
    assert_eq!(free(&[&a, &b]), [true, true]);
    assert!(set.try_lock(&mut root).is_some());
}

#[test]
fn shared_sets() {
    let locks = [Rw::new(1), Rw::new(2), Rw::new(3)];
    let before = Mutex::<Before, _>::new(());
    let mut key = key();
    before.with(&mut key.ctx(), |(), ctx| {
        let set = LockSet::new(&locks);
        set.with_read(ctx, |[a, b, c], _| {
            assert_eq!(*a + *b + *c, 6);
            thread::scope(|s| {
                s.spawn(|| {
                    // Another reader gets in, a writer does not.
                    let mut key = self::key();
                    let set = LockSet::try_new([&locks[2], &locks[0]]).unwrap();
                    assert_eq!(
                        set.try_with_read(&mut key.ctx(), |[c, a], _| *c - *a),
                        Some(2)
                    );
                    assert!(set.try_with(&mut key.ctx(), |_, _| ()).is_none());
                });
            });
        });
        let (guards, _) = set.read(ctx);
        assert_eq!(*guards[1], 2);
    });
    let owned = OwnedSet::new(Vec::from(locks));
    let sum = owned.with_read(&mut key.ctx(), |all, _| all.into_iter().sum::<i32>());
    assert_eq!(sum, 6);
}

#[test]
fn one_shared_member_in_an_exclusive_set() {
    let rate = Rw::new(2);
    let total = M::new(5);
    let mut key = key();
    rate.with_read(&mut key.ctx(), |_, _| {
        thread::scope(|s| {
            s.spawn(|| {
                let mut key = self::key();
                let set = LockSet::try_new((&total, Read(&rate))).unwrap();
                assert_eq!(set.try_with(&mut key.ctx(), |(t, r), _| *t * *r), Some(10));
            });
        });
    });
}

#[test]
fn owned_sets() {
    let mut set = OwnedSet::new((M::new(1), Rw::new(2), Box::new(M::new(3))));
    let mut key = key();
    set.with(&mut key.ctx(), |(a, b, c), _| *a += *b + *c);
    assert_eq!(*set.get_mut().0.get_mut(), 6);
    let (a, _, _) = set.into_inner();
    assert_eq!(a.into_inner(), 6);
    static LOCKS: OwnedSet<[M<u8>; 3]> = OwnedSet::new([M::new(0), M::new(1), M::new(2)]);
    assert!(LOCKS.try_with(&mut key.ctx(), |[_, _, c], _| *c) == Some(2));
}

#[test]
fn a_set_that_fails_holds_nothing() {
    let (a, b, c) = (M::new(1), M::new(2), M::new(3));
    let mut key = key();
    b.with(&mut key.ctx(), |_, _| {
        thread::scope(|s| {
            s.spawn(|| {
                let mut key = self::key();
                let all = (&a, &b, &c);
                assert!(
                    LockSet::try_new(all)
                        .unwrap()
                        .try_lock(&mut key.ctx())
                        .is_none()
                );
                assert_eq!(free(&[&a, &c]), [true, true]);
                assert!(
                    RetrySet::try_new(all)
                        .unwrap()
                        .try_lock(&mut key.ctx())
                        .is_none()
                );
                assert_eq!(free(&[&a, &c]), [true, true]);
            });
        });
    });
    assert_eq!(free(&[&a, &b, &c]), [true, true, true]);
}

#[test]
fn a_panic_releases_the_set() {
    let (a, b) = (M::new(1), M::new(2));
    let result = thread::scope(|s| {
        s.spawn(|| {
            let mut key = key();
            LockSet::try_new((&a, &b))
                .unwrap()
                .with(&mut key.ctx(), |_, _| panic!("as planned"))
        })
        .join()
    });
    assert!(result.is_err());
    assert_eq!(free(&[&a, &b]), [true, true]);
}

/// Threads take random sets of the same locks, sorted here and retried there: all of them
/// get through, and no increment is lost.
#[test]
fn sets_do_not_wait_for_each_other() {
    const LOCKS: usize = 6;
    const ROUNDS: usize = 3_000;
    let locks: Vec<M<usize>> = (0..LOCKS).map(|_| M::new(0)).collect();
    let increments: usize = thread::scope(|s| {
        let threads: Vec<_> = (0..4u64)
            .map(|thread| {
                let locks = &locks;
                s.spawn(move || {
                    let mut key = key();
                    let mut state = 0x9e37_79b9_7f4a_7c15 ^ thread;
                    let mut random = |below: usize| {
                        state ^= state << 13;
                        state ^= state >> 7;
                        state ^= state << 17;
                        (state % below as u64) as usize
                    };
                    let mut increments = 0;
                    for _ in 0..ROUNDS {
                        let (i, j, k) = (random(LOCKS), random(LOCKS), random(LOCKS));
                        let set = [&locks[i], &locks[j], &locks[k]];
                        let add = |all: [&mut usize; 3]| all.map(|n| *n += 1).len();
                        if random(4) == 0 {
                            if let Ok(set) = RetrySet::try_new(set) {
                                increments += set.with(&mut key.ctx(), |all, _| add(all));
                            }
                        } else if let Ok(set) = LockSet::try_new(set) {
                            increments += set.with(&mut key.ctx(), |all, _| add(all));
                        } else {
                            assert!(i == j || j == k || i == k);
                        }
                    }
                    increments
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    let total: usize = locks.into_iter().map(Mutex::into_inner).sum();
    assert_eq!(total, increments);
}
