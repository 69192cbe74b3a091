//! Many tasks wait on one socket, as on tokio's: each is woken, a wait that was given up leaves nothing
//! behind, and a call that does not wait takes nobody's place.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use netstack::device::channel::{ChannelConfig, channel};
use netstack::net::{Stack, TcpListener, TcpStream, UdpSocket};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const TASKS: usize = 20;
/// Long enough for a task to begin to wait, and for packets to cross a link in memory.
const SOON: Duration = Duration::from_millis(100);

/// Two stacks, and the link between them: while it is shut, packets wait.
struct Linked {
    client: Stack,
    host: Stack,
    open: watch::Sender<bool>,
}

fn linked() -> Linked {
    let start = |address: &str| {
        let (device, pipe) = channel(ChannelConfig::default());
        let stack = Stack::builder()
            .address(address.parse().expect("an address"), 24)
            .start(vec![Box::new(device)])
            .expect("a stack");
        (stack, pipe.into_split())
    };
    let (client, (mut from_client, mut to_client)) = start("10.77.0.1");
    let (host, (mut from_host, mut to_host)) = start("10.77.0.2");
    let (open, mut is_open) = watch::channel(true);
    tokio::spawn(async move {
        while is_open.wait_for(|open| *open).await.is_ok() {
            tokio::select! {
                Some(packet) = from_client.recv() => { let _ = to_host.send(packet).await; }
                Some(packet) = from_host.recv() => { let _ = to_client.send(packet).await; }
                _ = is_open.changed() => {}
                else => return,
            }
        }
    });
    Linked { client, host, open }
}

fn server(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 77, 0, 2], port))
}

/// A connection between two stacks.
struct Pair {
    linked: Linked,
    listener: TcpListener,
    ours: TcpStream,
    peer: TcpStream,
}

async fn pair() -> Pair {
    let linked = linked();
    let listener = TcpListener::bind_now(&linked.host, server(7)).expect("bind");
    let connect = TcpStream::connect(&linked.client, server(7));
    let ours = connect.await.expect("connect");
    let (peer, _) = listener.accept().await.expect("accept");
    Pair {
        linked,
        listener,
        ours,
        peer,
    }
}

/// Starts `TASKS` tasks that wait, and lets them begin to.
async fn wait_in_many<T, F>(mut wait: impl FnMut() -> F) -> Vec<JoinHandle<T>>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let tasks = (0..TASKS).map(|_| tokio::spawn(wait())).collect();
    sleep(SOON).await;
    tasks
}

async fn all_end<T>(what: &str, tasks: Vec<JoinHandle<io::Result<T>>>) {
    assert_eq!(tasks.len(), TASKS);
    for (index, task) in tasks.into_iter().enumerate() {
        let ended = timeout(Duration::from_secs(20), task).await;
        let ended = ended.unwrap_or_else(|_| panic!("{what}: task {index} is not woken"));
        ended.expect("no panic").expect("no error");
    }
}

/// Writes until there is no room: nothing is acknowledged while the link is shut.
async fn fill(linked: &Linked, stream: &TcpStream) {
    linked.open.send_replace(false);
    sleep(SOON).await;
    while stream.try_write(&[0; 65_536]).is_ok() {}
}

fn read_all(mut stream: TcpStream) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut sink = vec![0; 1 << 20];
        while stream.read(&mut sink).await.is_ok_and(|count| count > 0) {}
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_task_that_waits_to_read_is_woken() {
    let Pair {
        linked: _linked,
        ours,
        mut peer,
        ..
    } = pair().await;
    let mut ours = Arc::new(ours);
    // Twice: the second round finds no trace of the first.
    for _ in 0..2 {
        let readable = wait_in_many(|| {
            let ours = Arc::clone(&ours);
            async move { ours.readable().await }
        })
        .await;
        let peeking = wait_in_many(|| {
            let ours = Arc::clone(&ours);
            async move { ours.peek(&mut [0]).await }
        })
        .await;
        peer.write_all(b"x").await.expect("write");
        all_end("readable", readable).await;
        all_end("peek", peeking).await;
        let only = Arc::get_mut(&mut ours).expect("the tasks have ended");
        assert_eq!(only.try_read(&mut [0; 8]).expect("a byte"), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_task_that_waits_to_write_is_woken() {
    let Pair {
        linked, ours, peer, ..
    } = pair().await;
    fill(&linked, &ours).await;
    let ours = Arc::new(ours);
    let writable = wait_in_many(|| {
        let ours = Arc::clone(&ours);
        async move { ours.writable().await }
    })
    .await;
    let error = ours.try_write(b"x").expect_err("there is no room");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    linked.open.send_replace(true);
    let reading = read_all(peer);
    all_end("writable", writable).await;
    reading.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_task_that_waits_for_a_datagram_or_a_connection_gets_one() {
    let Linked {
        client,
        host,
        open: _open,
    } = linked();
    let udp = Arc::new(UdpSocket::bind_now(&host, server(9)).expect("bind"));
    let receiving = wait_in_many(|| {
        let udp = Arc::clone(&udp);
        async move { udp.recv_from(&mut [0; 8]).await }
    })
    .await;
    let sender = UdpSocket::bind_now(&client, "10.77.0.1:0");
    let sender = sender.expect("bind");
    for _ in 0..TASKS {
        sender.send_to(b"x", server(9)).await.expect("send");
    }
    all_end("recv_from", receiving).await;

    let listener = Arc::new(TcpListener::bind_now(&host, server(7)).expect("bind"));
    let accepting = wait_in_many(|| {
        let listener = Arc::clone(&listener);
        async move { listener.accept().await }
    })
    .await;
    let mut streams = Vec::new();
    for _ in 0..TASKS {
        streams.push(
            TcpStream::connect(&client, server(7))
                .await
                .expect("connect"),
        );
    }
    all_end("accept", accepting).await;
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

impl Count {
    async fn is_woken(&self) {
        let woken = async {
            while self.0.load(Ordering::Acquire) == 0 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(20), woken)
            .await
            .expect("woken");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_does_not_wait_takes_nobodys_place() {
    let Pair {
        linked,
        listener,
        mut ours,
        mut peer,
    } = pair().await;
    let udp = UdpSocket::bind_now(&linked.client, "10.77.0.1:5000");
    let udp = udp.expect("bind");
    let counts: [Arc<Count>; 3] = std::array::from_fn(|_| Arc::default());
    let wakers = counts
        .each_ref()
        .map(|count| Waker::from(Arc::clone(count)));
    let mut cx = wakers.each_ref().map(Context::from_waker);
    let mut buffer = [0; 8];
    let mut out = ReadBuf::new(&mut buffer);
    assert!(
        Pin::new(&mut ours)
            .poll_read(&mut cx[0], &mut out)
            .is_pending()
    );
    assert!(listener.poll_accept(&mut cx[1]).is_pending());
    assert!(udp.poll_recv_payload_from(&mut cx[2]).is_pending());

    assert_eq!(
        ours.try_read(&mut [0]).expect_err("none").kind(),
        io::ErrorKind::WouldBlock
    );
    assert_eq!(
        udp.try_recv_from(&mut [0]).expect_err("none").kind(),
        io::ErrorKind::WouldBlock
    );

    peer.write_all(b"x").await.expect("write");
    counts[0].is_woken().await;
    let peers = UdpSocket::bind_now(&linked.host, server(9)).expect("bind");
    let udp_address = udp.local_addr().expect("known");
    peers.send_to(b"x", udp_address).await.expect("send");
    counts[2].is_woken().await;
    let second = TcpStream::connect(&linked.client, server(7))
        .await
        .expect("connect");
    counts[1].is_woken().await;
    drop(second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_task_that_reads_and_those_that_wait_are_all_woken() {
    let Pair {
        linked: _linked,
        mut ours,
        mut peer,
        ..
    } = pair().await;
    let polling: Arc<Count> = Arc::default();
    let waiting: Arc<Count> = Arc::default();
    assert!(
        ours.poll_recv_payload(&mut Context::from_waker(&Arc::clone(&polling).into()))
            .is_pending()
    );
    let mut readable = Box::pin(ours.readable());
    let poll = readable
        .as_mut()
        .poll(&mut Context::from_waker(&Arc::clone(&waiting).into()));
    assert!(matches!(poll, Poll::Pending));
    peer.write_all(b"x").await.expect("write");
    polling.is_woken().await;
    waiting.is_woken().await;
}

/// Ten thousand waits of each kind that are given up: none keeps its waker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waits_that_are_given_up_leave_nothing_behind() {
    let Pair {
        linked,
        listener,
        ours,
        peer,
    } = pair().await;
    let udp = UdpSocket::bind_now(&linked.client, "10.77.0.1:5000");
    let udp = udp.expect("bind");
    fill(&linked, &ours).await;
    let mut byte = [0];
    let mut datagram = [0];
    // The first stays: its place is not given away.
    let staying: Arc<Count> = Arc::default();
    let mut stays = Box::pin(listener.accept());
    let waker = Arc::clone(&staying).into();
    assert!(
        stays
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    for _ in 0..10_000 {
        let count: Arc<Count> = Arc::default();
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        assert!(
            Box::pin(listener.accept())
                .as_mut()
                .poll(&mut cx)
                .is_pending()
        );
        assert!(
            Box::pin(ours.readable())
                .as_mut()
                .poll(&mut cx)
                .is_pending()
        );
        assert!(
            Box::pin(ours.peek(&mut byte))
                .as_mut()
                .poll(&mut cx)
                .is_pending()
        );
        assert!(
            Box::pin(ours.writable())
                .as_mut()
                .poll(&mut cx)
                .is_pending()
        );
        assert!(
            Box::pin(udp.recv_from(&mut datagram))
                .as_mut()
                .poll(&mut cx)
                .is_pending()
        );
        assert!(
            Box::pin(linked.client.closed())
                .as_mut()
                .poll(&mut cx)
                .is_pending()
        );
        drop(waker);
        assert_eq!(Arc::strong_count(&count), 1, "a waker is left");
    }
    linked.open.send_replace(true);
    let _stream = TcpStream::connect(&linked.client, server(7))
        .await
        .expect("connect");
    staying.is_woken().await;
    assert!(stays.await.is_ok());
    drop(peer);
}
