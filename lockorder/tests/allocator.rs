//! An allocator that locks: it is called wherever anything allocates, under every lock and in the
//! checks themselves.
// The allocator is what is tested.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::thread;

use lockorder::{Deferred, Key, Leaf, Mutex, lockdep};

mod memory {
    lockorder::lock_order! { pub(crate) domain Memory; level Bytes; Memory => Bytes; }
}
mod levels {
    lockorder::lock_order! { pub(crate) domain Dom; level A, B; Dom => A => B; }
}
mod other {
    lockorder::lock_order! { pub(crate) domain Other; level X, Y; Other => X => Y; }
}
use levels::{A, B, Dom};
use other::{Other, X, Y};

static CALLS: Leaf<memory::Memory, u64> = Leaf::new(0);
static BYTES: lockdep::Mutex<memory::Bytes, usize> = lockdep::Mutex::new(0);

struct Counts;

// SAFETY: the system's allocator does it.
unsafe impl GlobalAlloc for Counts {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS
            .with(|calls| *calls += 1)
            .expect("nothing allocates in there");
        *BYTES.lock() += layout.size();
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        CALLS
            .with(|calls| *calls += 1)
            .expect("nothing allocates in there");
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counts = Counts;

#[test]
fn an_allocator_under_every_lock() {
    static SA: Mutex<A, Vec<u32>> = Mutex::new(Vec::new());
    static SB: lockdep::Mutex<B, Vec<u32>> = lockdep::Mutex::new(Vec::new());
    static SX: Mutex<X, Vec<u32>> = Mutex::new(Vec::new());
    static SY: lockdep::Mutex<Y, Vec<u32>> = lockdep::Mutex::new(Vec::new());
    static GARBAGE: Deferred<Dom, Vec<u32>> = Deferred::new();
    let before = CALLS.with(|calls| *calls).expect("not in a leaf");
    thread::scope(|s| {
        for turn in 0..4 {
            s.spawn(move || {
                for round in 0..100 {
                    Key::<Dom>::run(|key| {
                        SA.with(&mut key.ctx(), |a, _| {
                            a.push(turn);
                            SB.lock().push(round);
                            Key::<Other>::run(|key| {
                                SX.with(&mut key.ctx(), |x, _| {
                                    x.push(turn);
                                    SY.lock().push(round);
                                });
                            });
                            GARBAGE.push(vec![turn]);
                        });
                        GARBAGE.drop_all(key);
                    });
                }
            });
        }
    });
    let calls = CALLS.with(|calls| *calls).expect("not in a leaf") - before;
    assert!(calls > 400, "{calls}");
    assert!(*BYTES.lock() > 0);
}
