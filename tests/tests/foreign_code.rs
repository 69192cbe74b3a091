//! Code of the program that the stack calls, clones or drops — wakers, services, owners of payloads,
//! subscribers, devices — may call the stack back: nothing is locked when it runs.
//!
//! Two stacks with virtual time. Each piece of code below asks its own stack something, which
//! panics if it runs under a lock.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use netstack::base::{Config, Instant};
use netstack::device::Device as _;
use netstack::device::memory::{self, Impairment, LinkConfig};
use netstack::engine::sim::Simulation;
use netstack::net::{ConnectionEvent, Stack, TcpListener, TcpStream, UdpSocket};
use netstack::stack::Host;
use netstack::tcp::{Event, State};
use packet::Payload;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LIMIT: Duration = Duration::from_secs(600);

struct World {
    sim: Simulation,
    client: Stack,
    server: Stack,
}

const SERVER: &str = "10.77.0.2:80";

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn world(impairment: Impairment) -> World {
    let link = LinkConfig {
        a_to_b: impairment,
        seed: 7,
        ..LinkConfig::default()
    };
    let (a, b) = memory::pair(&link);
    let mut sim = Simulation::new(Instant::from_millis(1_000));
    let mut stack = |device: memory::LinkDevice, last: u8| {
        let addresses = [([10, 77, 0, last].into(), 24)];
        let host = Host::new(Config::default(), &addresses, device.caps(), 1, [last; 32])
            .expect("a stack");
        sim.add(&host, 0, device);
        Stack::from_host(host)
    };
    let client = stack(a, 1);
    let server = stack(b, 2);
    World {
        sim,
        client,
        server,
    }
}

impl World {
    /// Runs both tasks to their ends.
    fn run(
        &mut self,
        client: impl Future<Output = ()> + Send + 'static,
        server: impl Future<Output = ()> + Send + 'static,
    ) {
        let ended = Arc::new(AtomicUsize::new(0));
        let counted = |future: Pin<Box<dyn Future<Output = ()> + Send>>| {
            let ended = Arc::clone(&ended);
            Box::pin(async move {
                future.await;
                ended.fetch_add(1, Ordering::Relaxed);
            })
        };
        self.sim.spawn(0, counted(Box::pin(client)));
        self.sim.spawn(1, counted(Box::pin(server)));
        let limit = self.sim.now() + LIMIT;
        let done = self
            .sim
            .run_until(limit, |_| ended.load(Ordering::Relaxed) == 2)
            .expect("no device fails");
        assert!(done, "a task did not end");
    }
}

/// Asks its stack something when it is dropped.
struct Curious {
    stack: Stack,
    dropped: Arc<AtomicUsize>,
}

impl Drop for Curious {
    fn drop(&mut self) {
        // Takes locks of three levels.
        let _ = (self.stack.connections(), self.stack.tcp_info());
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

impl AsRef<[u8]> for Curious {
    fn as_ref(&self) -> &[u8] {
        &[0x5a; 3_000]
    }
}

/// A waker that wakes another one, and is dropped as [`Curious`] is.
struct CuriousWaker {
    _curious: Curious,
    inner: Waker,
}

impl Wake for CuriousWaker {
    fn wake(self: Arc<Self>) {
        let _ = self._curious.stack.connections();
        self.inner.wake_by_ref();
    }
}

/// Polls a future with a new [`CuriousWaker`] each time, so that the one before is replaced.
struct WithCuriousWakers<F> {
    future: Pin<Box<F>>,
    stack: Stack,
    dropped: Arc<AtomicUsize>,
}

impl<F: Future> Future for WithCuriousWakers<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        let waker = Waker::from(Arc::new(CuriousWaker {
            _curious: Curious {
                stack: this.stack.clone(),
                dropped: Arc::clone(&this.dropped),
            },
            inner: cx.waker().clone(),
        }));
        this.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

#[test]
fn wakers_are_replaced_woken_and_dropped_with_nothing_locked() {
    let mut world = world(Impairment::default());
    let dropped = Arc::new(AtomicUsize::new(0));
    let wrap =
        |stack: &Stack, future: Pin<Box<dyn Future<Output = ()> + Send>>| WithCuriousWakers {
            future: Box::pin(future),
            stack: stack.clone(),
            dropped: Arc::clone(&dropped),
        };
    let (client, server) = (world.client.clone(), world.server.clone());
    // Bound before the client's SYN can arrive.
    let listener = TcpListener::bind_now(&server, address(SERVER)).expect("bind");
    let client = wrap(
        &client.clone(),
        Box::pin(async move {
            let mut stream = TcpStream::connect(&client, address(SERVER))
                .await
                .expect("connect");
            for _ in 0..20 {
                stream.write_all(&[1; 50_000]).await.expect("write");
                let mut echo = vec![0; 50_000];
                stream.read_exact(&mut echo).await.expect("read");
            }
            stream.write_all(b"!").await.expect("write");
            // Left waiting: its waker goes with the connection, under the lock that ends it.
            let mut one = [0];
            let read = stream.read(&mut one).await;
            assert!(read.is_err(), "the server resets: {read:?}");
        }),
    );
    let server = wrap(
        &server.clone(),
        Box::pin(async move {
            let udp = UdpSocket::bind(&server, address("10.77.0.2:53"))
                .await
                .expect("bind");
            let (mut stream, _) = listener.accept().await.expect("accept");
            let mut buffer = vec![0; 50_000];
            for _ in 0..20 {
                stream.read_exact(&mut buffer).await.expect("read");
                stream.write_all(&buffer).await.expect("write");
            }
            // Waits that are given up: their wakers go with the sockets.
            let waiting = futures::future::select(
                Box::pin(listener.accept()),
                Box::pin(async {
                    let _ = udp.recv_from(&mut [0; 8]).await;
                }),
            );
            assert!(futures::poll!(waiting).is_pending());
            stream.read_exact(&mut [0]).await.expect("the last byte");
            stream
                .set_linger(Some(Duration::ZERO))
                .expect("zero can be had");
        }),
    );
    world.run(client, server);
    assert!(dropped.load(Ordering::Relaxed) > 40, "no waker was dropped");
}

#[test]
fn owners_of_payloads_are_dropped_with_nothing_locked() {
    const PAYLOADS: usize = 200;
    let impairment = Impairment {
        loss_ppm: 50_000,
        delay: Duration::from_millis(5),
        ..Impairment::default()
    };
    let mut world = world(impairment);
    let dropped = Arc::new(AtomicUsize::new(0));
    let payload = {
        let (stack, dropped) = (world.client.clone(), Arc::clone(&dropped));
        move || {
            Payload::from(Bytes::from_owner(Curious {
                stack: stack.clone(),
                dropped: Arc::clone(&dropped),
            }))
        }
    };
    let client = world.client.clone();
    let listener = TcpListener::bind_now(&world.server, address(SERVER)).expect("bind");
    world.run(
        async move {
            let mut stream = TcpStream::connect(&client, address(SERVER))
                .await
                .expect("connect");
            let udp = UdpSocket::bind(&client, address("10.77.0.1:0"))
                .await
                .expect("bind");
            for _ in 0..PAYLOADS {
                stream.send_payload(payload()).await.expect("send");
                udp.send_payload_to(payload(), address("10.77.0.2:9"))
                    .await
                    .ok();
            }
            stream.shutdown().await.expect("shutdown");
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.expect("read");
        },
        async move {
            let (mut stream, _) = listener.accept().await.expect("accept");
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.expect("read");
            assert_eq!(all.len(), PAYLOADS * 3_000);
            assert!(all.iter().all(|&byte| byte == 0x5a));
        },
    );
    let limit = world.sim.now() + LIMIT;
    let all = dropped.clone();
    let done = world
        .sim
        .run_until(limit, |_| all.load(Ordering::Relaxed) == 2 * PAYLOADS)
        .expect("no device fails");
    assert!(
        done,
        "{} owners were dropped",
        dropped.load(Ordering::Relaxed)
    );
}

#[test]
fn a_service_is_dropped_with_nothing_locked_after_its_stack() {
    let mut world = world(Impairment::default());
    let dropped = Arc::new(AtomicUsize::new(0));
    // The client's stack: one that holds its own stack would keep it alive.
    let curious = Curious {
        stack: world.client.clone(),
        dropped: Arc::clone(&dropped),
    };
    let listener = TcpListener::bind_now(&world.server, address(SERVER)).expect("bind");
    listener
        .serve(move |mut stream, _| {
            let _ = curious.stack.connections();
            async move {
                while let Ok(Some(payload)) = stream.recv_payload().await {
                    stream.send_payload(payload).await.expect("echo");
                }
            }
        })
        .expect("serve");
    let client = world.client.clone();
    world.run(
        async move {
            let mut stream = TcpStream::connect(&client, address(SERVER))
                .await
                .expect("connect");
            stream.write_all(b"hello").await.expect("write");
            let mut echo = [0; 5];
            stream.read_exact(&mut echo).await.expect("read");
            assert_eq!(&echo, b"hello");
        },
        async {},
    );
    drop(world);
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
}

#[test]
fn a_subscriber_hears_of_each_connection_and_may_call_the_stack() {
    let impairment = Impairment {
        loss_ppm: 30_000,
        delay: Duration::from_millis(10),
        ..Impairment::default()
    };
    let mut world = world(impairment);
    let (events, heard) = std::sync::mpsc::channel::<ConnectionEvent>();
    let asked = world.client.clone();
    world
        .client
        .subscribe(move |event: &ConnectionEvent| {
            let _ = asked.tcp_info();
            events.send(*event).expect("the test listens");
        })
        .expect("the first subscriber");
    let second = world.client.subscribe(|_: &ConnectionEvent| {});
    assert!(second.is_err(), "a second subscriber is refused");

    let local = Arc::new(OnceLock::new());
    let client = world.client.clone();
    let listener = TcpListener::bind_now(&world.server, address(SERVER)).expect("bind");
    let known = Arc::clone(&local);
    world.run(
        async move {
            let mut stream = TcpStream::connect(&client, address(SERVER))
                .await
                .expect("connect");
            known
                .set(stream.local_addr().expect("known"))
                .expect("set once");
            stream.write_all(&vec![7; 1 << 20]).await.expect("write");
            stream.shutdown().await.expect("shutdown");
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.expect("read");
        },
        async move {
            let (mut stream, _) = listener.accept().await.expect("accept");
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.expect("read");
            assert_eq!(all.len(), 1 << 20);
        },
    );
    let events: Vec<ConnectionEvent> = heard.try_iter().collect();
    let local = *local.get().expect("connected");
    assert!(
        events
            .iter()
            .all(|e| (e.local, e.remote) == (local, address(SERVER)))
    );
    assert!(
        events.windows(2).all(|pair| pair[0].at <= pair[1].at),
        "in order of time"
    );
    let states: Vec<(State, State)> = events
        .iter()
        .filter_map(|e| match e.event {
            Event::StateChanged { from, to } => Some((from, to)),
            _ => None,
        })
        .collect();
    assert_eq!(states[0], (State::Closed, State::SynSent));
    assert_eq!(states[1], (State::SynSent, State::Established));
    assert!(states.windows(2).all(|pair| pair[0].1 == pair[1].0));
    let lost = events
        .iter()
        .any(|e| matches!(e.event, Event::SegmentLost { .. }));
    let recovery = events
        .iter()
        .any(|e| matches!(e.event, Event::RecoveryEntered { .. }));
    assert!(lost && recovery, "the link loses packets");
}

/// A device that calls another stack, and its own, from each of its methods.
struct CallingDevice {
    link: memory::LinkDevice,
    stack: Arc<OnceLock<Stack>>,
    calls: Arc<AtomicUsize>,
}

impl CallingDevice {
    fn call(&self) {
        if let Some(stack) = self.stack.get() {
            let _ = stack.tcp_info();
            self.calls.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl netstack::device::Device for CallingDevice {
    fn caps(&self) -> netstack::base::LinkCaps {
        self.link.caps()
    }

    fn recv_batch(
        &mut self,
        out: &mut Vec<packet::frame::RxPacket>,
        max: usize,
        buffers: &packet::Buffers,
        now: Instant,
        counters: &netstack::base::Counters,
    ) -> io::Result<usize> {
        self.call();
        self.link.recv_batch(out, max, buffers, now, counters)
    }

    fn send_batch(
        &mut self,
        batch: &mut Vec<packet::TxPacket>,
        counters: &netstack::base::Counters,
    ) -> io::Result<()> {
        self.call();
        self.link.send_batch(batch, counters)
    }

    fn park(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.call();
        self.link.park(timeout)
    }

    fn unparker(&self) -> Arc<dyn netstack::device::Unpark> {
        self.link.unparker()
    }
}

#[test]
fn a_device_may_call_the_stack() {
    use netstack::engine::worker::Worker;

    let (a, _b) = memory::pair(&LinkConfig::default());
    let calls = Arc::new(AtomicUsize::new(0));
    let slot = Arc::new(OnceLock::new());
    let device = CallingDevice {
        link: a,
        stack: Arc::clone(&slot),
        calls: Arc::clone(&calls),
    };
    let addresses = [([10, 77, 0, 1].into(), 24)];
    let host = Host::new(
        Config::default(),
        &addresses,
        netstack::device::Device::caps(&device),
        1,
        [1; 32],
    )
    .expect("a stack");
    let stack = Stack::from_host(Arc::clone(&host));
    assert!(slot.set(stack.clone()).is_ok());
    let now = Instant::from_millis(1);
    let mut worker = Worker::new(host, 0, Box::new(device), now);
    let udp = UdpSocket::bind_now(&stack, address("10.77.0.1:0")).expect("bind");
    udp.try_send_to(b"x", address(SERVER)).expect("queued");
    let turn = worker.turn(now).expect("a turn");
    assert!(turn.busy);
    assert!(calls.load(Ordering::Relaxed) >= 2, "received and sent");
}
