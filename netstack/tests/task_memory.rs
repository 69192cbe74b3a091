//! The task of a connection takes the memory of the future that a handler returns, once.
// The allocator shows what is taken.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use netstack::base::{Config, Instant};
use netstack::device::Device as _;
use netstack::device::memory::{LinkConfig, LinkDevice, pair};
use netstack::engine::sim::Simulation;
use netstack::net::{Stack, TcpListener, TcpStream};
use netstack::stack::Host;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Length of what the handler's future holds while it waits, in bytes: unlike that of anything else.
const HELD: usize = 77_777;
/// The stream, and what the compiler adds.
const BESIDE: usize = 1_024;

/// Allocations of the length of the future.
static FUTURES: AtomicUsize = AtomicUsize::new(0);

struct Counts;

// SAFETY: the system's allocator does it.
unsafe impl GlobalAlloc for Counts {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if (HELD..HELD + BESIDE).contains(&layout.size()) {
            FUTURES.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counts = Counts;

fn add(sim: &mut Simulation, device: LinkDevice, last: u8) -> (Stack, usize) {
    let address = ([10, 77, 0, last].into(), 24);
    let host = Host::new(Config::default(), &[address], device.caps(), 1, [last; 32]);
    let host = host.expect("a stack");
    let place = sim.add(&host, 0, device);
    (Stack::from_host(host), place)
}

async fn answer(mut stream: TcpStream) {
    let mut held = [0; HELD];
    let read = stream.read_exact(&mut held[..4]).await;
    read.expect("a question");
    stream.write_all(&held[..4]).await.expect("an answer");
}

#[test]
fn a_served_connection_takes_its_future_once() {
    let (a, b) = pair(&LinkConfig::default());
    let mut sim = Simulation::new(Instant::from_millis(1));
    let (client, place) = add(&mut sim, a, 1);
    let (server, _) = add(&mut sim, b, 2);
    let at: SocketAddr = "10.77.0.2:7".parse().expect("an address");
    let listener = TcpListener::bind_now(&server, at).expect("a free port");
    let serving = listener.serve(|stream, _| answer(stream));
    let _serving = serving.expect("it serves");
    sim.spawn(place, async move {
        for _ in 0..3 {
            let mut stream = TcpStream::connect(&client, at).await.expect("connected");
            stream.write_all(b"ping").await.expect("a question");
            let mut answer = [0; 4];
            stream.read_exact(&mut answer).await.expect("an answer");
            assert_eq!(&answer, b"ping");
        }
    });
    sim.run(Instant::from_millis(60_000)).expect("it ends");
    assert_eq!(FUTURES.load(Ordering::Relaxed), 3);
}
