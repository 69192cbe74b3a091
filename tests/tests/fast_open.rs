//! TCP Fast Open between this stack and the kernel, in both roles (RFC 7413): cookies that each understands, data in SYNs,
//! and paths that drop them.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use netstack::base::counters::Counter;
use netstack::device::{self, TunConfig};
use netstack::net::{Stack, TcpSocket, TcpStream};
use rustix::net::SendFlags;
use socket2::{Domain, Protocol, Socket, Type};
use tests::world::{in_namespace, nft};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// `MSG_FASTOPEN` of `sendto`.
const MSG_FASTOPEN: SendFlags = SendFlags::from_bits_retain(0x2000_0000);
const PORT: u16 = 7_413;
const QUESTION: &[u8] = b"what is the answer?";

/// Addresses of the kernel and of the stack.
const KERNEL: [&str; 2] = ["10.74.13.1", "fd74:13::1"];
const STACK: [&str; 2] = ["10.74.13.2", "fd74:13::2"];

fn at(address: &str) -> SocketAddr {
    SocketAddr::new(address.parse().expect("an address"), PORT)
}

/// Returns a counter of the kernel in this thread's namespace.
fn kernel(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/thread-self/net/netstat").expect("counters");
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let at = names.split_whitespace().position(|word| word == name);
        if let Some(value) = at.and_then(|at| values.split_whitespace().nth(at)) {
            return value.parse().expect("a number");
        }
    }
    panic!("the kernel has no counter {name}");
}

/// Runs `test` beside the kernel, which uses Fast Open in both roles with all its sockets.
fn beside_the_kernel<F: Future<Output = ()>>(test: impl FnOnce(Stack) -> F + Send) {
    in_namespace(|| {
        fs::write("/proc/sys/net/ipv4/tcp_fastopen", "0x403").expect("Fast Open on");
        let mut tun = TunConfig::new("fo0");
        let kernel = |at: usize| KERNEL[at].parse().expect("an address");
        tun.host_v4 = Some((kernel(0), 24));
        tun.host_v6 = Some((KERNEL[1].parse().expect("an address"), 64));
        let devices = device::open(&tun).expect("a TUN device");
        let stack = Stack::builder()
            .address(STACK[0].parse().expect("an address"), 24)
            .address(STACK[1].parse().expect("an address"), 64)
            .start(devices)
            .expect("a stack");
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(async {
                let limit = Duration::from_secs(120);
                let ended = tokio::time::timeout(limit, test(stack)).await;
                ended.expect("the test hangs");
            });
    });
}

/// Asks a server with the kernel's socket: the question connects. Returns the answer.
fn ask_with_the_kernel(server: SocketAddr) -> Vec<u8> {
    let domain = Domain::for_address(server);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP)).expect("a socket");
    let limit = Some(Duration::from_secs(30));
    socket.set_read_timeout(limit).expect("a timeout");
    let sent = rustix::net::sendto(&socket, QUESTION, MSG_FASTOPEN, &server).expect("sendto");
    assert_eq!(sent, QUESTION.len());
    let mut stream = std::net::TcpStream::from(OwnedFd::from(socket));
    stream
        .shutdown(std::net::Shutdown::Write)
        .expect("shutdown");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    answer
}

/// Reads to the end and echoes it all.
async fn echo(mut stream: TcpStream) {
    let mut question = Vec::new();
    stream.read_to_end(&mut question).await.expect("a question");
    stream.write_all(&question).await.expect("an answer");
}

#[test]
fn rfc7413_4_2_2_a_client_of_the_kernel_gets_a_cookie_and_uses_it() {
    beside_the_kernel(|stack| async move {
        for (round, address) in STACK.into_iter().enumerate() {
            let server = at(address);
            let socket = if server.is_ipv4() {
                TcpSocket::new_v4(&stack)
            } else {
                TcpSocket::new_v6(&stack)
            };
            socket.set_fast_open(16).expect("Fast Open");
            socket.bind(server).expect("bind");
            let listener = socket.listen(16).expect("listen");
            let before = kernel("TCPFastOpenActive");
            for _ in 0..3 {
                let asked = tokio::task::spawn_blocking(move || ask_with_the_kernel(server));
                let (stream, _) = listener.accept().await.expect("accept");
                echo(stream).await;
                assert_eq!(asked.await.expect("an answer"), QUESTION);
            }
            let counters = stack.counters();
            let times = round as u64 + 1;
            assert_eq!(counters.count(Counter::TcpFastOpenCookies), times);
            assert_eq!(counters.count(Counter::TcpFastOpenPassive), 2 * times);
            let opened = kernel("TCPFastOpenActive") - before;
            assert_eq!(opened, 2, "{address}: the kernel's SYNs were not taken");
        }
    });
}

#[test]
fn a_listener_without_fast_open_takes_the_data_after_the_handshake() {
    beside_the_kernel(|stack| async move {
        let server = at(STACK[0]);
        let socket = TcpSocket::new_v4(&stack);
        socket.bind(server).expect("bind");
        let listener = socket.listen(16).expect("listen");
        for pending in [0, 1, 0] {
            listener.set_fast_open(pending);
            for _ in 0..2 {
                let asked = tokio::task::spawn_blocking(move || ask_with_the_kernel(server));
                let (stream, _) = listener.accept().await.expect("accept");
                echo(stream).await;
                assert_eq!(asked.await.expect("an answer"), QUESTION);
            }
        }
        assert_eq!(stack.counters().count(Counter::TcpFastOpenPassive), 1);
    });
}

/// Starts a server of the kernel that echoes to the end, for `times` connections.
fn serve_with_the_kernel(address: &str, times: usize) -> std::thread::JoinHandle<()> {
    let listener = std::net::TcpListener::bind(at(address)).expect("bind");
    std::thread::spawn(move || {
        for _ in 0..times {
            let (mut stream, _) = listener.accept().expect("accept");
            let mut question = Vec::new();
            stream.read_to_end(&mut question).expect("a question");
            stream.write_all(&question).expect("an answer");
        }
    })
}

/// Asks the kernel's server with a socket of the stack. Returns the bytes that could go with the SYN.
async fn ask(stack: &Stack, server: SocketAddr, question: &[u8]) -> usize {
    let socket = if server.is_ipv4() {
        TcpSocket::new_v4(stack)
    } else {
        TcpSocket::new_v6(stack)
    };
    let room = socket.fast_open_room(server).expect("an address");
    let mut stream = socket
        .connect_with_data(server, question)
        .await
        .expect("connect");
    stream.shutdown().await.expect("shutdown");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    assert!(answer == question, "the answer differs");
    room
}

#[test]
fn rfc7413_4_2_1_a_server_of_the_kernel_gives_a_cookie_and_takes_it() {
    beside_the_kernel(|stack| async move {
        for address in KERNEL {
            let serving = serve_with_the_kernel(address, 4);
            let server = at(address);
            let (passive, active) = (
                kernel("TCPFastOpenPassive"),
                stack.counters().count(Counter::TcpFastOpenActive),
            );
            assert_eq!(ask(&stack, server, QUESTION).await, 0);
            let room = ask(&stack, server, QUESTION).await;
            assert!(room >= 1_400, "{address}: no cookie");
            // Less than the SYN has room for, nothing at all, and more.
            assert_eq!(ask(&stack, server, b"").await, room);
            assert_eq!(ask(&stack, server, &[7; 100_000]).await, room);
            serving.join().expect("the server");
            assert_eq!(kernel("TCPFastOpenPassive") - passive, 3, "{address}");
            let taken = stack.counters().count(Counter::TcpFastOpenActive) - active;
            assert_eq!(taken, 3, "{address}");
        }
    });
}

#[test]
fn rfc7413_4_1_3_1_a_path_that_drops_the_option_costs_one_timeout() {
    beside_the_kernel(|stack| async move {
        let serving = serve_with_the_kernel(KERNEL[0], 5);
        let server = at(KERNEL[0]);
        assert_eq!(ask(&stack, server, QUESTION).await, 0);
        assert!(ask(&stack, server, QUESTION).await > 0);
        nft("add table inet middlebox\n\
             add chain inet middlebox input { type filter hook input priority 0; }\n\
             add rule inet middlebox input tcp flags syn tcp option 34 exists counter drop");
        assert!(
            ask(&stack, server, QUESTION).await > 0,
            "the cookie is known"
        );
        let counters = stack.counters();
        assert_eq!(counters.count(Counter::TcpFastOpenActiveFails), 1);
        let timeouts = counters.count(Counter::TcpTimeouts);
        assert!(timeouts >= 1, "the first SYN was dropped");
        for _ in 0..2 {
            assert_eq!(ask(&stack, server, QUESTION).await, 0, "not tried again");
        }
        assert_eq!(stack.counters().count(Counter::TcpTimeouts), timeouts);
        serving.join().expect("the server");
    });
}

#[test]
fn rfc7413_4_1_2_a_cookie_of_the_key_before_is_taken_and_renewed() {
    beside_the_kernel(|stack| async move {
        let server = at(STACK[0]);
        let socket = TcpSocket::new_v4(&stack);
        socket.set_fast_open(16).expect("Fast Open");
        socket.bind(server).expect("bind");
        let listener = socket.listen(16).expect("listen");
        let keys = [
            ([1; 16], None, 0),
            ([2; 16], Some([1; 16]), 1),
            // The one of the first key would not do any more.
            ([3; 16], Some([2; 16]), 2),
            ([5; 16], Some([4; 16]), 2),
        ];
        for (current, previous, opened) in keys {
            stack.set_fast_open_keys(current, previous);
            let asked = tokio::task::spawn_blocking(move || ask_with_the_kernel(server));
            let (stream, _) = listener.accept().await.expect("accept");
            echo(stream).await;
            assert_eq!(asked.await.expect("an answer"), QUESTION);
            let passive = stack.counters().count(Counter::TcpFastOpenPassive);
            assert_eq!(passive, opened, "with key {}", current[0]);
        }
    });
}
