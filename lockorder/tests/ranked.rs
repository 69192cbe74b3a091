//! Several locks of one level, one after the other: a tree walked hand over hand, and transactions
//! that lock their rows as they come.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use lockorder::{Ascending, Key, LockCtx, Mutex, OutOfRank, Ranked, RwLock};

mod levels {
    lockorder::lock_order! {
        pub(crate) domain Db;
        level Index, Node, Row, Log;
        Db => Index => Node => Row => Log;
    }
}
use levels::{Db, Log, Node, Row};

/// A directory tree: the depth is the rank.
type Dir = Arc<Ranked<u32, RwLock<Node, Entries>>>;

#[derive(Debug, Default)]
struct Entries {
    children: BTreeMap<u8, Dir>,
    visits: usize,
}

fn dir(depth: u32) -> Dir {
    Arc::new(Ranked::new(depth, RwLock::new(Entries::default())))
}

/// Walks down a path, making what is missing. Each node is locked before its parent is released.
fn walk(root: &Dir, path: &[u8], ctx: LockCtx<'_, Db>) -> Result<usize, OutOfRank<u32>> {
    let mut chain = Ascending::from_ctx(ctx);
    let mut here = chain.write_arc(root)?;
    for name in path {
        here.visits += 1;
        let depth = lockorder::ArcGuard::owner(&here).rank();
        let child = here
            .children
            .entry(*name)
            .or_insert_with(|| dir(depth + 1))
            .clone();
        let next = chain.write_arc(&child)?;
        here = next;
    }
    here.visits += 1;
    Ok(here.visits)
}

#[test]
fn a_tree_walked_by_many_threads() {
    const THREADS: usize = 6;
    const WALKS: usize = 300;
    let root = dir(0);
    thread::scope(|s| {
        for thread in 0..THREADS {
            let root = &root;
            s.spawn(move || {
                let mut key = Key::<Db>::take().unwrap();
                for n in 0..WALKS {
                    let seed = n * 7 + thread * 13;
                    let path = [0, 1, 2, 3].map(|shift| ((seed >> shift) % 3) as u8);
                    walk(root, &path, key.ctx()).expect("depths ascend");
                }
            });
        }
    });
    // Every walk is counted once on each depth.
    let mut key = Key::<Db>::take().unwrap();
    let mut level = vec![root];
    for depth in 0..=4u32 {
        let mut sum = 0;
        let mut next = Vec::new();
        for dir in &level {
            assert_eq!(dir.rank(), depth);
            let mut ctx = key.ctx();
            let (entries, _) = dir.read(&mut ctx);
            sum += entries.visits;
            next.extend(entries.children.values().cloned());
        }
        assert_eq!(sum, THREADS * WALKS, "depth {depth}");
        level = next;
    }
}

/// A walk that turns back is told, and holds nothing after it has given up.
#[test]
fn a_walk_upwards_is_an_error() {
    let (root, child) = (dir(0), dir(1));
    Key::<Db>::run(|key| {
        let mut root_ctx = key.ctx();
        let mut chain = Ascending::new(&mut root_ctx);
        let down = chain.read_arc(&child).unwrap();
        let error = chain.read_arc(&root).unwrap_err();
        assert_eq!(error, OutOfRank { held: 1, wanted: 0 });
        assert!(
            error
                .to_string()
                .starts_with("the lock of rank 0 may not be waited for after that of rank 1")
        );
        // Without waiting it is allowed.
        assert!(chain.try_write_arc(&root).is_some());
        assert!(chain.try_write_arc(&child).is_none(), "held by this chain");
        drop(down);
    });
}

type Rows = BTreeMap<u64, Ranked<u64, Mutex<Row, i64>>>;

/// Moves one unit along the rows, in the order that the transaction comes across them. Where that
/// does not ascend it gives up, sorts, and begins again: two-phase locking without a deadlock.
fn transaction(
    rows: &Rows,
    ids: &[u64],
    log: &Mutex<Log, u64>,
    retries: &AtomicUsize,
    key: &mut Key<Db>,
) {
    let mut ids = ids.to_vec();
    loop {
        let mut ctx = key.ctx();
        let mut chain = Ascending::new(&mut ctx);
        let mut held = BTreeMap::new();
        let mut refused = false;
        for id in &ids {
            if held.contains_key(id) {
                continue;
            }
            let row = &rows[id];
            let guard = match chain.lock(row) {
                Ok(guard) => Some(guard),
                // Out of order: perhaps it is free.
                Err(_) => chain.try_lock(row),
            };
            match guard {
                Some(guard) => held.insert(*id, guard),
                None => {
                    refused = true;
                    break;
                }
            };
        }
        if refused {
            drop(held);
            retries.fetch_add(1, Ordering::Relaxed);
            ids.sort_unstable();
            continue;
        }
        for pair in ids.windows(2) {
            **held.get_mut(&pair[0]).expect("all are held") -= 1;
            **held.get_mut(&pair[1]).expect("all are held") += 1;
        }
        // What comes after the rows, with all of them held.
        log.with(&mut chain.ctx(), |log, _| *log += 1);
        return;
    }
}

#[test]
fn rows_of_transactions() {
    const THREADS: u64 = 6;
    const EACH: u64 = 400;
    let rows: Rows = (0..8)
        .map(|id| (id, Ranked::new(id, Mutex::new(100))))
        .collect();
    let (log, retries) = (Mutex::new(0), AtomicUsize::new(0));
    thread::scope(|s| {
        for thread in 0..THREADS {
            let (rows, log, retries) = (&rows, &log, &retries);
            s.spawn(move || {
                let mut key = Key::take().unwrap();
                for n in 0..EACH {
                    let seed = n * 31 + thread * 17;
                    let ids = [seed % 8, seed / 3 % 8, seed / 7 % 8, seed / 11 % 8];
                    transaction(rows, &ids, log, retries, &mut key);
                }
            });
        }
    });
    assert_eq!(log.into_inner(), THREADS * EACH);
    let sum: i64 = rows
        .into_values()
        .map(|row| row.into_inner().into_inner())
        .sum();
    assert_eq!(sum, 800);
}

/// Locks beside each other on one depth: the second part of the rank tells them apart.
#[test]
fn ranks_of_two_parts() {
    let nodes = [(1, 4), (1, 5), (2, 0)].map(|rank| Ranked::new(rank, RwLock::<Node, _>::new(0)));
    let mut key = Key::<Db>::take().unwrap();
    let mut ctx = key.ctx();
    let mut chain = Ascending::new(&mut ctx);
    let left = chain.write(&nodes[0]).unwrap();
    let right = chain.write(&nodes[1]).unwrap();
    let below = chain.write(&nodes[2]).unwrap();
    drop((left, below, right));
    assert_eq!(chain.highest(), Some((2, 0)));
}
