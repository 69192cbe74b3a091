use super::*;

#[test]
fn the_last_holder_gives_the_slab_back() {
    let pool = Pool::new(64, 1);
    let slab = pool.take().expect("first");
    assert!(pool.take().is_none(), "the cap holds");
    let one = slab.freeze(0..10);
    let two = one.slice(2..4);
    drop(one);
    assert_eq!(pool.in_use(), 1);
    drop(two);
    assert_eq!(pool.in_use(), 0);
    assert!(pool.take().is_some());
}

#[test]
fn unused_slabs_do_not_keep_their_pool_alive() {
    let pool = Pool::new(64, 4);
    let (a, b) = (pool.take().expect("a"), pool.take().expect("b"));
    drop(a);
    let held = b.freeze(0..8);
    let weak = pool.downgrade();
    drop(pool);
    assert!(weak.upgrade().is_none(), "slabs do not keep their pool");
    assert_eq!(held.len(), 8);
    drop(held);
}

fn address(slab: &mut SlabMut) -> usize {
    slab.as_mut_slice().as_ptr().addr()
}

#[test]
fn the_slab_used_last_is_taken_first() {
    let pool = Pool::new(64, 8);
    let mut slabs: Vec<_> = (0..4).map_while(|_| pool.take()).collect();
    let addresses: Vec<_> = slabs.iter_mut().map(address).collect();
    assert_eq!((pool.in_use(), slabs.len()), (4, 4));
    slabs.into_iter().for_each(drop);
    assert_eq!(pool.in_use(), 0);
    // The pool allocates no slab while it has unused ones.
    let mut again: Vec<_> = (0..4).map_while(|_| pool.take()).collect();
    let found: Vec<_> = again.iter_mut().map(address).collect();
    assert!(found.iter().eq(addresses.iter().rev()));
}

#[test]
fn a_slab_returns_no_matter_which_thread_drops_it() {
    let pool = Pool::new(64, 1);
    let mut slab = pool.take().expect("first");
    let first = address(&mut slab);
    let payload = slab.freeze(0..8);
    std::thread::scope(|scope| {
        scope.spawn(move || drop(payload));
    });
    // Another thread can take it too, although it is on this thread's free list.
    for _ in 0..2 {
        let pool = pool.clone();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut slab = pool.take().expect("the only one");
                assert_eq!(address(&mut slab), first);
                assert!(pool.take().is_none());
            });
        });
    }
    assert_eq!(address(&mut pool.take().expect("back")), first);
    assert_eq!(pool.in_use(), 0);
}

/// Two threads drop the same slab at the same moment: it may be kept or freed, but the pool can always
/// hand out its full number of slabs afterwards.
#[test]
fn no_slab_is_lost_between_two_last_holders() {
    const ROUNDS: usize = 20_000;
    const SLABS: usize = 3;
    let pool = Pool::new(64, SLABS);
    let turn = std::sync::atomic::AtomicUsize::new(0);
    let (sender, receiver) = std::sync::mpsc::sync_channel::<Payload>(1);
    let mut made = std::collections::HashSet::new();
    std::thread::scope(|scope| {
        let turn = &turn;
        scope.spawn(move || {
            for (round, payload) in receiver.into_iter().enumerate() {
                turn.store(2 * round + 1, std::sync::atomic::Ordering::Release);
                while turn.load(std::sync::atomic::Ordering::Acquire) < 2 * round + 2 {
                    std::hint::spin_loop();
                }
                drop(payload);
            }
        });
        for round in 0..ROUNDS {
            let mut slab = loop {
                match pool.take() {
                    Some(slab) => break slab,
                    // The other thread still holds it.
                    None => std::thread::yield_now(),
                }
            };
            made.insert(address(&mut slab));
            let payload = slab.freeze(0..8);
            sender.send(payload.clone()).expect("the receiver is alive");
            while turn.load(std::sync::atomic::Ordering::Acquire) < 2 * round + 1 {
                std::hint::spin_loop();
            }
            turn.store(2 * round + 2, std::sync::atomic::Ordering::Release);
            drop(payload);
        }
        drop(sender);
    });
    println!("{} allocations in {ROUNDS} rounds", made.len());
    assert_eq!(pool.in_use(), 0);
    assert!(pool.audit().is_clean(), "{:?}", pool.audit());
    let all: Vec<_> = (0..SLABS).map_while(|_| pool.take()).collect();
    assert_eq!(all.len(), SLABS, "the pool still has all its slabs");
    assert!(pool.take().is_none());
}

#[test]
fn memory_of_one_size_is_freed_for_another() {
    let buffers = Buffers::with_limit(65_536, 300_000, 0);
    let large: Vec<_> = std::iter::from_fn(|| buffers.take_large()).collect();
    assert_eq!(large.len(), 4);
    drop(large);
    let used = |buffers: &Buffers| (buffers.memory_use().used, buffers.memory_use().allocated);
    assert_eq!(used(&buffers), (0, 4 * cost(65_536)));
    let small: Vec<_> = std::iter::from_fn(|| buffers.copy(b"x")).collect();
    assert_eq!(small.len(), 300_000 / cost(SMALL_SLAB_BYTES));
    drop(small);
    let exact = buffers.copy_exact(&[1; 200_000]).expect("freed for it");
    assert!(used(&buffers).1 <= 300_000);
    assert!(buffers.copy_exact(&[1; 200_000]).is_none());
    drop(exact);
    assert_eq!(buffers.memory_use().used, 0);
}

#[test]
fn a_peak_is_given_back_to_the_system() {
    let buffers = Buffers::with_limit(65_536, 64 << 20, 0);
    let peak: Vec<_> = (0..200).map_while(|_| buffers.copy(&[1; 60_000])).collect();
    drop(peak);
    assert_eq!(buffers.trim(), 0, "all were needed since the last time");
    assert!(buffers.is_trimmable());
    // Of the rest, one is needed.
    drop(buffers.copy(&[1; 60_000]));
    let [kept, _] = KEPT_SLABS;
    assert_eq!(buffers.trim(), 200 - kept);
    assert_eq!(buffers.memory_use().allocated, kept * cost(65_536));
    assert_eq!((buffers.trim(), buffers.is_trimmable()), (0, false));
}

/// Any number of greedy flows get the same share, and there is something left for the next one.
#[test]
fn greedy_flows_leave_something_for_the_next_one() {
    for flows in [1, 10, 100, 1_000] {
        let buffers = Buffers::with_limit(65_536, 16 << 20, 4);
        let accounts: Vec<Account> = (0..flows).map(|_| Account::default()).collect();
        let mut held = Vec::new();
        for _ in 0..3_000 {
            for account in &accounts {
                let memory = buffers.charging(account);
                if memory.room(usize::MAX) >= 1_000 {
                    held.extend(memory.copy(&[3; 1_000]));
                }
            }
        }
        buffers.note_level();
        let state = buffers.memory_use();
        assert!(state.level < Level::Limit, "{flows} flows: {state:?}");
        let pinned: Vec<usize> = accounts.iter().map(Account::pinned).collect();
        let (least, most) = (pinned.iter().min(), pinned.iter().max());
        assert!(
            most <= least.map(|least| least + 3 * 2_200).as_ref(),
            "{flows}: {least:?} to {most:?}"
        );
        let next = Account::default();
        assert!(buffers.charging(&next).room(0) >= FLOOR_BYTES);
        assert!(buffers.charging(&next).copy(&[1; FLOOR_BYTES]).is_some());
    }
}

/// Threads take, share, append, thaw and drop slabs at random; none is in use at the end.
#[test]
fn contracts_hold_under_threads() {
    const THREADS: u64 = 4;
    const STEPS: usize = 4000;
    let pool = Pool::new(64, 24);
    let (sender, receiver) = std::sync::mpsc::channel::<Payload>();
    std::thread::scope(|scope| {
        for seed in 1..=THREADS {
            let (pool, sender) = (pool.clone(), sender.clone());
            scope.spawn(move || {
                let mut held: Vec<Payload> = Vec::new();
                let mut state = seed * 0x9e37_79b9;
                for _ in 0..STEPS {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    let at = state as usize % held.len().max(1);
                    match state >> 32 & 7 {
                        0 | 1 => {
                            if let Some(mut slab) = pool.take() {
                                slab.as_mut_slice().fill(seed as u8);
                                held.push(slab.freeze(0..32));
                            }
                        }
                        2 if !held.is_empty() => {
                            let part = held[at].slice(8..16);
                            assert!(part.windows(2).all(|pair| pair[0] == pair[1]));
                            // The receiver may drop it at any moment.
                            sender.send(part).expect("the receiver is alive");
                        }
                        3 if !held.is_empty() => {
                            let byte = held[at][0];
                            held[at].try_append(&[byte; 4]);
                        }
                        4 if !held.is_empty() => drop(held.swap_remove(at)),
                        5 if !held.is_empty() => held.truncate(at),
                        6 if !held.is_empty() => {
                            // A slab with one holder can be written again.
                            match held.swap_remove(at).into_mut() {
                                Ok(mut slab) => {
                                    slab.as_mut_slice().fill(seed as u8);
                                    held.push(slab.freeze(8..40));
                                }
                                Err(payload) => held.push(payload),
                            }
                        }
                        _ => {}
                    }
                }
            });
        }
        drop(sender);
        scope.spawn(move || receiver.into_iter().for_each(drop));
    });
    assert_eq!(pool.in_use(), 0);
    assert!(pool.audit().is_clean(), "{:?}", pool.audit());
}

#[test]
fn an_exhausted_pool_returns_none() {
    let buffers = Buffers::new(65_600, 2, 3);
    let held: Vec<_> = (0..3).map_while(|_| buffers.copy(&[1; 100])).collect();
    assert_eq!(held.len(), 3);
    assert!(buffers.copy(&[1; 100]).is_none());
    let large: Vec<_> = (0..2).map_while(|_| buffers.copy(&[1; 3000])).collect();
    assert_eq!(large.len(), 2);
    assert!(buffers.copy(&[1; 3000]).is_none());
    assert!(buffers.copy(&vec![0; 65_601]).is_none());
    drop((held, large));
    assert!(buffers.copy(&[1; 3000]).is_some());
    assert_eq!(buffers.large().in_use() + buffers.small().in_use(), 0);
}

#[test]
fn a_slice_extends_over_the_next_one_of_the_same_memory() {
    let buffers = Buffers::new(64, 2, 2);
    let data: Vec<u8> = (0..64).collect();
    let slabs = [(); 2].map(|()| buffers.copy(&data).expect("slab"));
    let own = Payload::from(bytes::Bytes::from(data.clone()));
    for whole in [&slabs[0], &own] {
        let mut front = whole.slice(0..10);
        for other in [
            whole.slice(11..20),
            whole.slice(9..20),
            whole.slice(0..10),
            slabs[1].slice(10..20),
            Payload::from(bytes::Bytes::from(data.clone())).slice(10..20),
            Payload::default(),
        ] {
            let len = other.len();
            let other = front.extend_over(other).expect_err("elsewhere");
            assert_eq!((front.len(), other.len()), (10, len));
        }
        front.extend_over(whole.slice(10..20)).expect("the next");
        assert_eq!(front[..], data[..20]);
    }
    drop((slabs, own));
    assert_eq!(buffers.large().in_use() + buffers.small().in_use(), 0);
}

#[test]
fn slices_stay_within_their_slab() {
    let buffers = Buffers::new(64, 1, 1);
    let data: Vec<u8> = (0..64).collect();
    let mut payload = buffers.copy(&data).expect("slab");
    assert_eq!(&payload.split_to(10)[..], &data[..10]);
    assert_eq!(&payload[..], &data[10..]);
    assert_eq!(&payload.slice(2..4)[..], &data[12..14]);
    assert_eq!(&payload.slice(50..99)[..], &data[60..]);
    assert!(payload.slice(99..100).is_empty());
    payload.truncate(100);
    payload.advance(50);
    assert_eq!(&payload[..], &data[60..]);
    payload.advance(9);
    assert_eq!((payload.len(), payload.is_empty()), (0, true));
    assert_eq!(&payload.split_to(5)[..], b"");
    // A payload converts to `Bytes` from both kinds of memory.
    let whole = Payload::from(bytes::Bytes::from(data.clone()));
    let part = bytes::Bytes::from(whole.slice(3..9));
    assert_eq!(part, data[3..9]);
    drop(payload);
    let part = bytes::Bytes::from(buffers.copy(&data).expect("slab").slice(3..9));
    assert_eq!(part, data[3..9]);
    assert_eq!(buffers.small().in_use(), 1);
    drop(part);
    assert_eq!(buffers.small().in_use(), 0);
    // An empty slice keeps no slab in use.
    let empty = buffers.copy(&data).expect("slab").slice(5..5);
    let chunks = crate::Chunks::from(empty);
    assert!(chunks.is_empty());
    assert_eq!(buffers.small().in_use(), 0);
}

#[test]
fn appending_needs_the_only_holder() {
    let pool = Pool::new(8, 1);
    let mut slab = pool.take().expect("slab");
    slab.as_mut_slice()[..2].copy_from_slice(b"ab");
    let mut payload = slab.freeze(0..2);
    assert_eq!(payload.try_append(b"cd"), 2);
    let shared = payload.clone();
    assert_eq!(payload.try_append(b"ef"), 0);
    drop(shared);
    assert_eq!(payload.try_append(b"efghij"), 4);
    assert_eq!(&payload[..], b"abcdefgh");
}
