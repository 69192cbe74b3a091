//! The cost of a packet's buffer: `cargo bench -p benches --bench buffers`.
//!
//! Each contender provides a slab of 2 KiB, whose first bytes are written, shares it as a slice and takes
//! it back. "two threads" is the time of one thread while another does the same with the same pool.

#![allow(missing_docs)] // Macros make the items.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Bencher, Criterion, criterion_group, criterion_main};
use crossbeam_queue::ArrayQueue;
use packet::{Payload, Pool};

const SLAB_BYTES: usize = 2048;
const SLABS: usize = 256;

/// A pool made of a lock-free queue of boxes, to which slabs are returned explicitly.
#[derive(Clone)]
struct Queue(Arc<ArrayQueue<Box<[u8]>>>);

impl Queue {
    fn new() -> Self {
        let queue = ArrayQueue::new(SLABS);
        for _ in 0..SLABS {
            let _ = queue.push(vec![0; SLAB_BYTES].into_boxed_slice());
        }
        Self(Arc::new(queue))
    }
}

fn packet(pool: &Pool) -> Option<usize> {
    let mut slab = pool.take()?;
    slab.as_mut_slice().first_chunk_mut::<64>()?.fill(7);
    let payload = slab.freeze(0..64);
    Some(black_box(payload.slice(20..64)).len())
}

fn queue(queue: &Queue) -> Option<usize> {
    let mut slab = queue.0.pop()?;
    slab.first_chunk_mut::<64>()?.fill(7);
    let len = black_box(&slab[20..64]).len();
    let _ = queue.0.push(slab);
    Some(len)
}

fn allocator(_: &()) -> Option<usize> {
    let mut slab = vec![0; SLAB_BYTES];
    slab.first_chunk_mut::<64>()?.fill(7);
    let payload = Payload::from(Bytes::from(slab));
    Some(black_box(payload.slice(20..64)).len())
}

fn alone<P>(b: &mut Bencher<'_>, pool: &P, once: fn(&P) -> Option<usize>) {
    b.iter(|| once(pool));
}

fn beside_another<P: Sync>(b: &mut Bencher<'_>, pool: &P, once: fn(&P) -> Option<usize>) {
    b.iter_custom(|iterations| {
        let (started, stop) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    black_box(once(pool));
                    started.store(true, Ordering::Relaxed);
                }
            });
            while !started.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
            let start = clock();
            for _ in 0..iterations {
                black_box(once(pool));
            }
            let took = start.elapsed();
            stop.store(true, Ordering::Relaxed);
            took
        })
    });
}

#[allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn clock() -> Instant {
    Instant::now()
}

fn slabs(c: &mut Criterion) {
    assert_eq!(
        Pool::new(1, 1).audit(),
        packet::buf::Audit::Unsupported,
        "built with the tests' features: run `cargo bench -p benches --bench buffers`"
    );
    let (pool, plain) = (Pool::new(SLAB_BYTES, SLABS), Queue::new());
    let mut group = c.benchmark_group("a slab, one thread");
    group.bench_function("packet", |b| alone(b, &pool, packet));
    group.bench_function("a queue of boxes", |b| alone(b, &plain, queue));
    group.bench_function("the allocator", |b| alone(b, &(), allocator));
    group.finish();
    let mut group = c.benchmark_group("a slab, two threads");
    group.bench_function("packet", |b| beside_another(b, &pool, packet));
    group.bench_function("a queue of boxes", |b| beside_another(b, &plain, queue));
    group.bench_function("the allocator", |b| beside_another(b, &(), allocator));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(500))
        .sample_size(30);
    targets = slabs
}
criterion_main!(benches);
