//! Stacks inside the program's own runtime: as futures under tokio and under another executor, and in a loop
//! that brings the time.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use netstack::base::{Counters, Instant, LinkCaps, OffloadCaps};
use netstack::device::channel::{ChannelConfig, ChannelDevice, PacketPipe, channel};
use netstack::device::memory::{self, LinkConfig};
use netstack::device::{Device, Unpark};
use netstack::ip::pmtu::Path;
use netstack::ip::send::{TxParams, udp_packets};
use netstack::net::{
    Driver, EndReason, Sleep, Stack, StackBuilder, TcpListener, TcpStream, Turns, UdpSocket,
};
use packet::frame::{RxPacket, TxPacket};
use packet::{Buffers, Payload};
use tests::pipes::carry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(30);

fn address(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 77, 0, host], port))
}

fn builder(host: u8) -> StackBuilder {
    Stack::builder().address(address(host, 0).ip(), 24)
}

fn device() -> (Vec<Box<dyn Device>>, PacketPipe) {
    let (device, pipe): (ChannelDevice, _) = channel(ChannelConfig::default());
    (vec![Box::new(device)], pipe)
}

/// Makes a client and a server with their drivers, and the future that joins them.
fn pair(
    drive: impl Fn(StackBuilder, Vec<Box<dyn Device>>) -> (Stack, Vec<Driver>),
) -> (Stack, Stack, Vec<Driver>, impl Future<Output = ()> + Send) {
    let ((a, a_pipe), (b, b_pipe)) = (device(), device());
    let (client, mut drivers) = drive(builder(1), a);
    let (server, more) = drive(builder(2), b);
    drivers.extend(more);
    (client, server, drivers, carry(a_pipe, b_pipe))
}

fn by_tokio(builder: StackBuilder, devices: Vec<Box<dyn Device>>) -> (Stack, Vec<Driver>) {
    builder.drive(devices).expect("a stack")
}

/// Echoes one connection and returns when its peer has closed.
async fn echo_once(listener: TcpListener) -> io::Result<usize> {
    let (mut stream, _) = listener.accept().await?;
    let mut total = 0;
    while let Some(payload) = stream.recv_payload().await? {
        total += payload.len();
        stream.send_payload(payload).await?;
    }
    stream.shutdown().await?;
    Ok(total)
}

/// Sends `len` bytes, and returns those that come back.
async fn ask(client: &Stack, len: usize) -> io::Result<usize> {
    let stream = TcpStream::connect(client, address(2, 7)).await?;
    let (mut read, mut write) = stream.into_split();
    let data: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
    let sent = data.clone();
    let writing = async {
        write.write_all(&sent).await?;
        write.shutdown().await
    };
    let mut back = Vec::new();
    let (wrote, got) = futures::join!(writing, read.read_to_end(&mut back));
    wrote?;
    got?;
    assert!(back == data, "the stream came back changed");
    Ok(back.len())
}

/// Returns the names of the threads on which workers run.
fn worker_threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("proc");
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm"));
    let names = tasks.flatten().filter_map(|task| name(task).ok());
    let is_worker = |name: &String| {
        let number = name.strip_prefix("netstack-");
        number.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
    };
    names.filter(is_worker).collect()
}

#[tokio::test]
async fn stacks_and_their_program_run_on_one_thread() {
    const LEN: usize = 3_000_000;
    let (client, server, drivers, carried) = pair(by_tokio);
    assert_eq!(drivers.len(), 2);
    for driver in drivers {
        tokio::spawn(driver);
    }
    tokio::spawn(carried);
    let listener = TcpListener::bind_now(&server, address(2, 7)).expect("bind");
    let served = tokio::spawn(echo_once(listener));
    let asked = timeout(LIMIT, ask(&client, LEN)).await.expect("in time");
    assert_eq!(asked.expect("echo"), LEN);
    assert_eq!(served.await.expect("no panic").expect("served"), LEN);
    assert_eq!(worker_threads(), Vec::<String>::new());

    let ours = UdpSocket::bind_now(&client, address(1, 0)).expect("bind");
    let theirs = UdpSocket::bind_now(&server, address(2, 53)).expect("bind");
    ours.send_to(b"question", address(2, 53))
        .await
        .expect("send");
    let mut buffer = [0; 64];
    let received = timeout(LIMIT, theirs.recv_from(&mut buffer)).await;
    assert_eq!(received.expect("in time").expect("received").0, 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drivers_run_on_a_runtime_with_several_threads() {
    let (client, server, drivers, carried) = pair(by_tokio);
    let ends: Vec<_> = drivers.into_iter().map(tokio::spawn).collect();
    tokio::spawn(carried);
    for round in 1..50 {
        let listener = TcpListener::bind_now(&server, address(2, 7)).expect("bind");
        let served = tokio::spawn(echo_once(listener));
        let asked = timeout(LIMIT, ask(&client, round * 997)).await;
        assert_eq!(asked.expect("in time").expect("echo"), round * 997);
        served.await.expect("no panic").expect("served");
    }
    // The peer never closes its half: only the timer of the driver ends the wait for it.
    let listener = TcpListener::bind_now(&server, address(2, 7)).expect("bind");
    let stream = TcpStream::connect(&client, address(2, 7))
        .await
        .expect("connect");
    let accepted = timeout(LIMIT, listener.accept()).await.expect("in time");
    let drained = timeout(LIMIT, client.drain_async(Duration::from_millis(200))).await;
    let report = drained.expect("drained by the clock of the driver");
    assert_eq!(report.expect("the program asked for it").reset, 1);
    drop((stream, accepted));
    server.abort().expect("aborted");
    let mut reasons = Vec::new();
    for end in ends {
        let end = timeout(LIMIT, end).await.expect("in time");
        reasons.push(end.expect("no panic"));
    }
    let expected = matches!(reasons[..], [EndReason::Shutdown, EndReason::Aborted]);
    assert!(expected, "{reasons:?}");
}

/// Returns a timer for any executor: a thread that sleeps.
fn thread_timer(pause: Duration) -> Sleep {
    let (sender, receiver) = futures::channel::oneshot::channel();
    std::thread::spawn(move || {
        std::thread::sleep(pause);
        let _ = sender.send(());
    });
    Box::pin(async move {
        let _ = receiver.await;
    })
}

#[test]
fn another_executor_with_a_timer_of_its_own_drives_a_stack() {
    let drive = |builder: StackBuilder, devices| {
        builder
            .drive_with(devices, || Box::new(thread_timer))
            .expect("a stack")
    };
    let (client, server, drivers, carried) = pair(drive);
    let listener = TcpListener::bind_now(&server, address(2, 7)).expect("bind");
    let exchange = async {
        let (asked, served) = futures::join!(ask(&client, 100_000), echo_once(listener));
        assert_eq!(asked.expect("echo"), served.expect("served"));
    };
    let stacks = futures::future::join_all(drivers);
    futures::executor::block_on(async {
        let others = std::pin::pin!(async { futures::join!(stacks, carried) });
        let exchange = std::pin::pin!(exchange);
        let first = futures::future::select(exchange, others).await;
        assert!(matches!(first, futures::future::Either::Left(_)));
    });
}

#[tokio::test]
async fn a_dropped_driver_ends_its_stack_and_says_so() {
    let (devices, _pipe) = device();
    let (stack, mut drivers) = by_tokio(builder(1), devices);
    let driver = tokio::spawn(drivers.pop().expect("a driver"));
    let listener = TcpListener::bind_now(&stack, address(1, 7)).expect("bind");
    let waiting = tokio::spawn(async move { listener.accept().await.map(drop) });
    tokio::task::yield_now().await;
    driver.abort();
    let reason = timeout(LIMIT, stack.closed()).await.expect("closed");
    assert!(matches!(reason, EndReason::DriverDropped), "{reason}");
    let error = timeout(LIMIT, waiting)
        .await
        .expect("in time")
        .expect("no panic");
    let error = error.expect_err("the stack ended").to_string();
    assert!(error.contains("driver of the stack was dropped"), "{error}");
}

#[tokio::test]
async fn a_device_that_needs_a_thread_is_an_error_and_not_a_stack_that_hangs() {
    let (device, _other) = memory::pair(&LinkConfig::default());
    let (stack, mut drivers) = by_tokio(builder(1), vec![Box::new(device)]);
    let reason = timeout(LIMIT, drivers.pop().expect("a driver")).await;
    let reason = reason.expect("in time").to_string();
    assert!(reason.contains("only a thread can wait"), "{reason}");
    TcpListener::bind_now(&stack, address(1, 7)).expect_err("ended");
}

/// Moves every packet that waits; true if there was one.
fn pour(from: &mut PacketPipe, to: &mut PacketPipe) -> bool {
    let mut any = false;
    while let Some(packet) = from.try_recv() {
        to.try_send(packet).expect("room");
        any = true;
    }
    any
}

/// Two stacks in a loop of the program's, on a time that stands still unless it is moved.
struct Loop {
    now: Instant,
    workers: Vec<Turns>,
    pipes: [PacketPipe; 2],
}

impl Loop {
    /// Moves packets and turns until nothing happens at this time; returns when something will.
    fn settle(&mut self) -> Option<Instant> {
        loop {
            let (mut busy, mut next) = (false, None);
            for worker in &mut self.workers {
                let turn = worker.turn(self.now).expect("a turn");
                busy |= turn.busy;
                next = [next, turn.next_timer].into_iter().flatten().min();
            }
            let [a, b] = &mut self.pipes;
            busy |= pour(a, b) | pour(b, a);
            if !busy {
                return next;
            }
        }
    }

    /// Polls `future` to its end, moving the time to the next timer whenever it waits.
    fn run<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        for _ in 0..1_000_000 {
            let next = self.settle();
            let polled: Poll<T> = Pin::new(&mut future)
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
            if let Poll::Ready(output) = polled {
                return output;
            }
            if self.settle() == next
                && let Some(next) = next
            {
                self.now = self.now.max(next);
            }
        }
        panic!("nothing happens any more");
    }
}

#[test]
fn a_loop_of_the_program_turns_stacks_and_brings_the_time() {
    let start = Instant::from_millis(5);
    let ((a, a_pipe), (b, b_pipe)) = (device(), device());
    let (client, mut workers) = builder(1).manual(a, start).expect("a stack");
    let (server, more) = builder(2).manual(b, start).expect("a stack");
    workers.extend(more);
    let mut program = Loop {
        now: start,
        workers,
        pipes: [a_pipe, b_pipe],
    };
    let listener = TcpListener::bind_now(&server, address(2, 7)).expect("bind");
    let (asked, served) =
        program.run(async { futures::join!(ask(&client, 200_000), echo_once(listener)) });
    assert_eq!(asked.expect("echo"), served.expect("served"));
    // Nobody listens any more: the time of the program decides when an attempt gives up.
    let before = program.now;
    let refused = program.run(TcpStream::connect(&client, address(2, 8)));
    assert_eq!(
        refused.expect_err("refused").kind(),
        io::ErrorKind::ConnectionRefused
    );
    let nobody = program.run(TcpStream::connect(&client, address(9, 8)));
    assert_eq!(
        nobody.expect_err("no answer").kind(),
        io::ErrorKind::TimedOut
    );
    assert!(
        program.now > before + Duration::from_secs(60),
        "virtual time"
    );
    // Once the stack has ended, a turn says why.
    client.abort().expect("aborted");
    let ended = (0..100).find_map(|_| program.workers[0].turn(program.now).err());
    let ended = ended.expect("a turn fails");
    assert!(ended.to_string().contains("aborted"), "{ended}");
    let again = program.workers[0].turn(program.now).expect_err("ended");
    assert_eq!(again.to_string(), ended.to_string());
    drop(program);
    let ended = TcpListener::bind_now(&server, address(2, 7)).expect_err("the loop is gone");
    assert!(ended.to_string().contains("driver"), "{ended}");
}

/// A packet channel that counts how often the stack reads it, which is once in each turn.
struct Counted {
    inner: ChannelDevice,
    reads: Arc<AtomicUsize>,
}

impl Device for Counted {
    fn caps(&self) -> LinkCaps {
        self.inner.caps()
    }

    fn recv_batch(
        &mut self,
        out: &mut Vec<RxPacket>,
        max: usize,
        buffers: &Buffers,
        now: Instant,
        counters: &Counters,
    ) -> io::Result<usize> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.recv_batch(out, max, buffers, now, counters)
    }

    fn send_batch(&mut self, batch: &mut Vec<TxPacket>, counters: &Counters) -> io::Result<()> {
        self.inner.send_batch(batch, counters)
    }

    fn park(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.inner.park(timeout)
    }

    fn poll_park(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_park(cx)
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        self.inner.unparker()
    }
}

/// A stack that echoes datagrams on the runtime of the caller, the program's end of its device, and its turns.
fn counted_echo(busy_poll: Duration) -> (Stack, PacketPipe, Arc<AtomicUsize>) {
    let (inner, pipe) = channel(ChannelConfig::default());
    let reads = Arc::new(AtomicUsize::new(0));
    let device = Counted {
        inner,
        reads: Arc::clone(&reads),
    };
    let (stack, drivers) = by_tokio(builder(1), vec![Box::new(device)]);
    for driver in drivers {
        tokio::spawn(driver.busy_poll(busy_poll));
    }
    let socket = UdpSocket::bind_now(&stack, address(1, 7)).expect("bind");
    tokio::spawn(async move {
        let mut room = [0; 64];
        while let Ok((len, from)) = socket.recv_from(&mut room).await {
            let _ = socket.send_to(&room[..len], from).await;
        }
    });
    (stack, pipe, reads)
}

/// A datagram to the echo, as it is on the link.
fn datagram() -> Vec<u8> {
    let params = TxParams {
        path: Path::unknown(1_420),
        ttl: 64,
        traffic_class: 0,
        flow_label: 0,
        offload: OffloadCaps::default(),
    };
    let payload = Payload::from(bytes::Bytes::from_static(b"question"));
    let packets = udp_packets(address(2, 9), address(1, 7), payload.into(), &params, || 1);
    let packet = packets.expect("it can be built").next();
    packet.expect("one packet").to_vec()
}

/// Has datagrams echoed, one after the other.
async fn echoes(pipe: &mut PacketPipe, count: usize) {
    for _ in 0..count {
        pipe.try_send(datagram()).expect("room");
        let answer = timeout(LIMIT, pipe.recv()).await.expect("in time");
        assert!(answer.expect("open").ends_with(b"question"));
    }
}

#[tokio::test]
async fn a_datagram_takes_one_turn_and_its_answer_another() {
    const ROUNDS: usize = 200;
    let (_stack, mut pipe, reads) = counted_echo(Duration::ZERO);
    echoes(&mut pipe, 1).await;
    let before = reads.load(Ordering::Relaxed);
    echoes(&mut pipe, ROUNDS).await;
    let turns = reads.load(Ordering::Relaxed) - before;
    // A timer of the stack may cost another one now and then.
    assert!(
        (2 * ROUNDS..2 * ROUNDS + 20).contains(&turns),
        "{turns} turns"
    );
}

#[tokio::test]
async fn a_driver_that_looks_for_packets_stops_when_none_come() {
    const ROUNDS: usize = 1_000;
    let (_stack, mut pipe, reads) = counted_echo(Duration::from_millis(1));
    for _ in 0..ROUNDS {
        echoes(&mut pipe, 1).await;
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
    }
    let busy = reads.load(Ordering::Relaxed);
    assert!(busy > 3 * ROUNDS, "it never looked: {busy} turns");
    // Far longer than it looks: it waits by then.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let idle = reads.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let turns = reads.load(Ordering::Relaxed) - idle;
    assert!(turns < 20, "{turns} turns while nothing came");
    echoes(&mut pipe, 10).await;
}
