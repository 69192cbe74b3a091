//! Whatever ends a stack says so: every task that waits for one of its sockets fails with the reason, every
//! later call fails at once, and `Stack::closed` returns the reason.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use netstack::device::channel::{ChannelConfig, PacketPipe};
use netstack::net::{EndReason, ShutdownReport, Stack, TcpListener, TcpStream, UdpSocket};
use netstackd::probe::now;
use tests::pair::bounded_as as bounded;
use tests::pipes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::sleep;

const LIMIT: Duration = Duration::from_secs(20);
/// Long enough for packets to cross a link in memory.
const SOON: Duration = Duration::from_millis(100);

fn stack(address: &str) -> (Stack, PacketPipe) {
    let config = ChannelConfig {
        mtu: 9_000,
        ..ChannelConfig::default()
    };
    pipes::stack(&[address], config)
}

fn pair() -> (Stack, Stack, JoinHandle<()>) {
    let ((client, a), (server, b)) = (stack("10.77.0.1/24"), stack("10.77.0.2/24"));
    (client, server, tokio::spawn(pipes::carry(a, b)))
}

fn server(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 77, 0, 2], port))
}

/// Returns the reason that an error carries.
fn reason_of(what: &str, error: &io::Error) -> EndReason {
    let source = error.get_ref().and_then(|e| e.downcast_ref::<EndReason>());
    source
        .unwrap_or_else(|| panic!("{what}: {error:?} does not say why"))
        .clone()
}

type Waiting = Vec<(&'static str, JoinHandle<Option<io::Error>>)>;

/// Starts a task for each call that waits on a socket of `ours`, whose peer is the stack `peer`.
async fn wait_for_everything(ours: &Stack, peer: &Stack) -> Waiting {
    let mut waiting = Waiting::new();
    let mut wait =
        |what, future: std::pin::Pin<Box<dyn Future<Output = io::Result<()>> + Send>>| {
            waiting.push((what, tokio::spawn(async move { future.await.err() })));
        };
    let listener = TcpListener::bind_now(peer, server(7)).expect("bind");
    let mut streams = Vec::new();
    for _ in 0..7 {
        streams.push(TcpStream::connect(ours, server(7)).await.expect("connect"));
        let (accepted, _) = listener.accept().await.expect("accept");
        // The peer keeps them open and reads nothing.
        wait(
            "peer",
            Box::pin(async move {
                std::future::pending::<()>().await;
                drop(accepted);
                Ok(())
            }),
        );
    }
    wait(
        "peer",
        Box::pin(async move {
            std::future::pending::<()>().await;
            drop(listener);
            Ok(())
        }),
    );
    let mut next = || streams.pop().expect("a stream");
    let mut stream = next();
    wait(
        "read",
        Box::pin(async move { stream.read(&mut [0]).await.map(drop) }),
    );
    let mut stream = next();
    wait(
        "recv_payload",
        Box::pin(async move { stream.recv_payload().await.map(drop) }),
    );
    let stream = next();
    wait("readable", Box::pin(async move { stream.readable().await }));
    let stream = next();
    wait(
        "peek",
        Box::pin(async move { stream.peek(&mut [0]).await.map(drop) }),
    );
    let mut stream = next();
    wait(
        "write",
        Box::pin(async move { stream.write_all(&vec![0; 64 << 20]).await }),
    );
    let stream = next();
    wait(
        "writable",
        Box::pin(async move {
            // Fills the queue whenever it has room: the stack may end at any time.
            loop {
                stream.writable().await?;
                match stream.try_write(&[0; 65_536]) {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return stream.writable().await,
                }
                tokio::task::yield_now().await;
            }
        }),
    );
    let (mut read, write) = next().into_split();
    wait(
        "half",
        Box::pin(async move {
            let result = read.read(&mut [0]).await.map(drop);
            drop(write);
            result
        }),
    );
    let ip = ours_address(ours).await;
    let listener = TcpListener::bind_now(ours, (ip, 90)).expect("bind");
    wait(
        "accept",
        Box::pin(async move { listener.accept().await.map(drop) }),
    );
    let udp = UdpSocket::bind_now(ours, (ip, 91)).expect("bind");
    wait(
        "recv_from",
        Box::pin(async move { udp.recv_from(&mut [0]).await.map(drop) }),
    );
    let dead: SocketAddr = "10.77.0.99:7".parse().expect("an address");
    let stack = ours.clone();
    wait(
        "connect",
        Box::pin(async move { TcpStream::connect(&stack, dead).await.map(drop) }),
    );
    sleep(2 * SOON).await;
    waiting.retain(|(what, _)| *what != "peer");
    waiting
}

async fn ours_address(stack: &Stack) -> std::net::IpAddr {
    let probe = TcpStream::connect(stack, server(7)).await.expect("connect");
    probe.local_addr().expect("known").ip()
}

async fn all_fail(waiting: Waiting, expected: impl Fn(&EndReason) -> bool) {
    assert_eq!(waiting.len(), 10);
    for (what, task) in waiting {
        let error = bounded(what, task).await.expect("no panic");
        let error = error.unwrap_or_else(|| panic!("{what} did not fail"));
        let reason = reason_of(what, &error);
        assert!(expected(&reason), "{what}: {reason}");
    }
}

/// Every call on an ended stack fails at once.
async fn later_calls_fail(stack: &Stack, udp: &UdpSocket, stream: &mut TcpStream) {
    let at = |port| SocketAddr::from(([10, 77, 0, 1], port));
    let mut failed = Vec::new();
    let mut check = |what: &'static str, result: io::Result<()>| {
        let error = result
            .err()
            .unwrap_or_else(|| panic!("{what} did not fail"));
        reason_of(what, &error);
        failed.push(what);
    };
    let connect = TcpStream::connect(stack, server(7));
    check("connect", bounded("connect", connect).await.map(drop));
    check("bind", TcpListener::bind_now(stack, at(700)).map(drop));
    check("bind", UdpSocket::bind_now(stack, at(700)).map(drop));
    check(
        "send_to",
        bounded("send_to", udp.send_to(b"x", server(9)))
            .await
            .map(drop),
    );
    check("try_send_to", udp.try_send_to(b"x", server(9)).map(drop));
    check(
        "recv_from",
        bounded("recv_from", udp.recv_from(&mut [0]))
            .await
            .map(drop),
    );
    check("connect", bounded("connect", udp.connect(server(9))).await);
    // Twice: an error that is reported once must not become the end of the stream.
    for _ in 0..2 {
        check(
            "read",
            bounded("read", stream.read(&mut [0])).await.map(drop),
        );
        check(
            "write",
            bounded("write", stream.write(&[0])).await.map(drop),
        );
        check("readable", bounded("readable", stream.readable()).await);
        check("writable", bounded("writable", stream.writable()).await);
        check("try_read", stream.try_read(&mut [0]).map(drop));
        check("try_write", stream.try_write(&[0]).map(drop));
        check(
            "peek",
            bounded("peek", stream.peek(&mut [0])).await.map(drop),
        );
    }
    let dropped = Arc::new(());
    let held = Arc::clone(&dropped);
    stack.spawn_on(0, async move {
        std::future::pending::<()>().await;
        drop(held);
    });
    bounded("the drop of a task", async {
        while Arc::strong_count(&dropped) > 1 {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert_eq!(stack.connections(), 0);
    assert_eq!(failed.len(), 21);
}

/// Ends the client's stack by `end` while everything waits; then tries everything again.
async fn ends(
    end: impl AsyncFnOnce(&Stack, JoinHandle<()>),
    expected: impl Fn(&EndReason) -> bool,
) {
    let (client, host, carrier) = pair();
    let waiting = wait_for_everything(&client, &host).await;
    let mut stream = TcpStream::connect(&client, server(7))
        .await
        .expect("connect");
    let udp = UdpSocket::bind_now(&client, "10.77.0.1:0");
    let udp = udp.expect("bind");
    let closed = tokio::spawn({
        let client = client.clone();
        async move { client.closed().await }
    });
    sleep(SOON).await;
    assert!(!closed.is_finished());
    end(&client, carrier).await;
    let reason = bounded("closed", closed).await.expect("no panic");
    assert!(expected(&reason), "{reason}");
    let reason = bounded("closed", client.closed()).await;
    assert!(expected(&reason), "{reason}");
    all_fail(waiting, &expected).await;
    bounded("the worker's end", async {
        while client.connections() > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    later_calls_fail(&client, &udp, &mut stream).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_is_gone() {
    let expected = |reason: &EndReason| {
        matches!(reason, EndReason::DeviceFailed { worker: 0, .. }) && !reason.is_wanted()
    };
    let cut = async |_: &Stack, carrier: JoinHandle<()>| carrier.abort();
    ends(cut, expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown() {
    let end = async |stack: &Stack, _| {
        let stack = stack.clone();
        let report = tokio::task::spawn_blocking(move || stack.shutdown(SOON)).await;
        let report = report.expect("no panic").expect("asked for");
        // Those of `wait_for_everything` that the peer does not close, and one more.
        assert!(report.reset >= 8, "{report:?}");
    };
    ends(end, |reason| matches!(reason, EndReason::Shutdown)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort() {
    let end = async |stack: &Stack, _| stack.abort().expect("asked for");
    ends(end, |reason| matches!(reason, EndReason::Aborted)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_handle_is_dropped() {
    let (client, host, _carrier) = pair();
    let listener = TcpListener::bind_now(&host, server(7)).expect("bind");
    let mut stream = TcpStream::connect(&client, server(7))
        .await
        .expect("connect");
    let (mut peer, _) = listener.accept().await.expect("accept");
    let ours = stream.local_addr().expect("known").ip();
    let acceptor = TcpListener::bind_now(&client, (ours, 7)).expect("bind");
    let udp = UdpSocket::bind_now(&client, (ours, 7)).expect("bind");
    let accept = tokio::spawn(async move { acceptor.accept().await.map(drop) });
    let read = tokio::spawn(async move { stream.read(&mut [0]).await.map(drop) });
    let recv = tokio::spawn(async move {
        let received = udp.recv_from(&mut [0]).await.map(drop);
        let sent = udp.send_to(b"x", server(7)).await;
        sent.expect_err("the stack ended");
        received
    });
    sleep(SOON).await;
    drop(client);
    for (what, task) in [("accept", accept), ("read", read), ("recv_from", recv)] {
        let result = bounded(what, task).await.expect("no panic");
        let error = result.expect_err(what);
        let reason = reason_of(what, &error);
        assert!(
            matches!(reason, EndReason::HandlesDropped),
            "{what}: {reason}"
        );
    }
    let error = bounded("peer", peer.read(&mut [0]))
        .await
        .expect_err("a reset");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

/// One thread carries the packets, runs both ends, and waits for the shutdown.
#[tokio::test(flavor = "current_thread")]
async fn shut_down_on_the_runtime_that_carries_the_packets() {
    const LEN: usize = 3_000_000;
    let (client, host, _carrier) = pair();
    let listener = TcpListener::bind_now(&host, server(7)).expect("bind");
    let reading = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accept");
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.map(|_| all.len())
    });
    let mut stream = TcpStream::connect(&client, server(7))
        .await
        .expect("connect");
    stream.write_all(&vec![7; LEN]).await.expect("write");
    let report = bounded("shutdown", client.shutdown_async(LIMIT)).await;
    assert_eq!(report.expect("asked for"), ShutdownReport { reset: 0 });
    let read = bounded("the peer", reading).await.expect("no panic");
    assert_eq!(read.expect("the end of the stream"), LEN);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shut_down_by_a_task_on_a_worker() {
    let (client, host, _carrier) = pair();
    let listener = TcpListener::bind_now(&host, server(7)).expect("bind");
    let _stream = TcpStream::connect(&client, server(7))
        .await
        .expect("connect");
    let _peer = listener.accept().await.expect("accept");
    let (report, reported) = tokio::sync::oneshot::channel();
    let stack = client.clone();
    client.spawn_on(0, async move {
        let blocking = stack.shutdown(SOON).expect_err("it cannot wait for itself");
        assert_eq!(blocking.kind(), io::ErrorKind::WouldBlock);
        let _ = report.send(stack.shutdown_async(SOON).await);
    });
    // The peer's side is never closed.
    let report = bounded("shutdown", reported).await.expect("a report");
    assert_eq!(report.expect("asked for"), ShutdownReport { reset: 1 });
    assert!(matches!(client.closed().await, EndReason::Shutdown));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_lets_a_transfer_finish_and_accepts_no_other() {
    const CHUNK: usize = 50_000;
    const CHUNKS: usize = 160;
    let (client, host, _carrier) = pair();
    let finished = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&finished);
    let listener = TcpListener::bind_now(&host, server(7)).expect("bind");
    listener
        .serve(move |mut stream, _| {
            let done = Arc::clone(&done);
            async move {
                for _ in 0..CHUNKS {
                    stream.write_all(&[7; CHUNK]).await.expect("not cut off");
                }
                done.store(true, Ordering::Release);
            }
        })
        .expect("serve");
    let mut stream = TcpStream::connect(&client, server(7))
        .await
        .expect("connect");
    let idle = TcpListener::bind_now(&host, server(8)).expect("bind");
    let mut quiet = TcpStream::connect(&client, server(8))
        .await
        .expect("connect");
    let (_held, _) = idle.accept().await.expect("accept");
    stream
        .read_exact(&mut [0; 1_000])
        .await
        .expect("it has begun");
    assert!(
        !finished.load(Ordering::Acquire),
        "nothing is left to drain"
    );

    let start = now();
    let draining = tokio::spawn(async move { host.drain_async(2 * LIMIT).await });
    // A connection that transfers nothing is closed: that is the end of the stream, not a reset.
    assert_eq!(
        bounded("the end", quiet.read(&mut [0]))
            .await
            .expect("a FIN"),
        0
    );
    drop(quiet);
    let refused = bounded("connect", TcpStream::connect(&client, server(7))).await;
    assert_eq!(
        refused.expect_err("closed").kind(),
        io::ErrorKind::ConnectionRefused
    );
    let mut read = 1_000;
    let mut buffer = vec![0; CHUNK];
    while read < CHUNK * CHUNKS {
        // Slower than the writer.
        sleep(Duration::from_millis(1)).await;
        let count = bounded("read", stream.read(&mut buffer))
            .await
            .expect("no reset");
        assert!(count > 0, "cut off after {read} bytes");
        read += count;
    }
    assert_eq!(
        bounded("the end", stream.read(&mut buffer))
            .await
            .expect("a FIN"),
        0
    );
    drop(stream);
    let report = bounded("drain", draining).await.expect("no panic");
    assert_eq!(report.expect("asked for"), ShutdownReport { reset: 0 });
    assert!(now() - start < LIMIT, "it waited for the grace to pass");
}
