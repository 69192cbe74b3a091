//! The sockets under tokio, used like tokio's own: two stacks on threads of their own, joined by a link
//! in memory, and tasks on tokio's multithreaded runtime.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use netstack::net::{TcpListener, TcpStream, UdpSocket};
use tests::pair::{SERVER, bounded, server, stacks};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

async fn hello(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let answer = format!("{path} with {} bytes", body.len());
    Ok(Response::new(Full::new(Bytes::from(answer))))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hyper_serves_and_asks_unmodified() {
    let (client, host) = stacks();
    let listener = TcpListener::bind(&host, server(80)).await.expect("bind");
    let serving = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("accept");
            tokio::spawn(async move {
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(hello))
                    .await
                    .expect("serve");
            });
        }
    });
    bounded(async {
        for size in [0_usize, 1, 100_000, 3_000_000] {
            let stream = TcpStream::connect(&client, server(80))
                .await
                .expect("connect");
            let (mut ask, connection) =
                hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream))
                    .await
                    .expect("handshake");
            let connection = tokio::spawn(connection);
            for path in ["/one", "/two"] {
                let request = Request::post(path)
                    .header("host", SERVER)
                    .body(Full::new(Bytes::from(vec![b'x'; size])))
                    .expect("request");
                ask.ready().await.expect("ready for a request");
                let answer = ask.send_request(request).await.expect("answer");
                let body = answer.into_body().collect().await.expect("body").to_bytes();
                assert_eq!(body, format!("{path} with {size} bytes"));
            }
            drop(ask);
            connection.await.expect("task").expect("connection");
        }
    })
    .await;
    serving.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn halves_carry_both_directions_at_once() {
    let (client, host) = stacks();
    let listener = TcpListener::bind(&host, server(7)).await.expect("bind");
    let echo = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accept");
        let (mut read, mut write) = TcpStream::split(&mut stream);
        tokio::io::copy(&mut read, &mut write).await.expect("copy");
        write.shutdown().await.expect("shutdown");
    });
    let sent: Arc<Vec<u8>> = Arc::new((0..32_000_000_u32).map(|n| ((n * 31) >> 7) as u8).collect());
    let stream = TcpStream::connect(&client, server(7))
        .await
        .expect("connect");
    let (mut read, mut write) = stream.into_split();
    let data = Arc::clone(&sent);
    let writing = tokio::spawn(async move {
        write.write_all(&data).await.expect("write");
        write.shutdown().await.expect("shutdown");
        write
    });
    let mut got = Vec::new();
    bounded(read.read_to_end(&mut got)).await.expect("read");
    assert!(got == *sent, "{} of {} bytes", got.len(), sent.len());
    let write = writing.await.expect("writer");
    echo.await.expect("echo");
    let whole = read.reunite(write).expect("of one stream");
    assert_eq!(whole.peer_addr().expect("peer"), server(7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_are_read_without_a_buffer_of_the_callers() {
    let (client, host) = stacks();
    let listener = TcpListener::bind(&host, server(5)).await.expect("bind");
    let talk = tokio::spawn(async move {
        let (mut stream, from) = listener.accept().await.expect("accept");
        let mut line = String::new();
        let mut lines = Vec::new();
        while stream.read_line(&mut line).await.expect("line") > 0 {
            lines.push(std::mem::take(&mut line));
        }
        stream
            .write_all(lines.concat().to_uppercase().as_bytes())
            .await
            .expect("write");
        (lines.len(), from)
    });
    let mut stream = TcpStream::connect(&client, server(5))
        .await
        .expect("connect");
    stream.set_nodelay(true).expect("nodelay");
    assert!(stream.nodelay().expect("nodelay"));
    stream.set_ttl(33).expect("ttl");
    assert_eq!(stream.ttl().expect("ttl"), 33);
    assert_eq!(
        stream.set_ttl(0).expect_err("zero").kind(),
        io::ErrorKind::InvalidInput
    );
    for piece in ["one\ntw", "o\nthree", "\n"] {
        stream.write_all(piece.as_bytes()).await.expect("write");
    }
    stream.shutdown().await.expect("shutdown");
    let broken = stream.write_all(b"more").await.expect_err("closed");
    assert_eq!(broken.kind(), io::ErrorKind::BrokenPipe);
    bounded(stream.readable()).await.expect("readable");
    let mut three = [0; 3];
    assert_eq!(bounded(stream.peek(&mut three)).await.expect("peek"), 3);
    assert_eq!(&three, b"ONE");
    let mut all = String::new();
    bounded(stream.read_to_string(&mut all))
        .await
        .expect("read");
    assert_eq!(all, "ONE\nTWO\nTHREE\n");
    let (lines, from) = talk.await.expect("server");
    assert_eq!((lines, from), (3, stream.local_addr().expect("local")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_have_the_kinds_that_programs_expect() {
    let (client, host) = stacks();
    let refused = bounded(TcpStream::connect(&client, server(81)))
        .await
        .expect_err("no listener");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);

    let listener = TcpListener::bind(&host, server(82)).await.expect("bind");
    let taken = TcpListener::bind(&host, server(82))
        .await
        .expect_err("taken");
    assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    let foreign = TcpListener::bind(&host, "10.99.0.1:82")
        .await
        .expect_err("not ours");
    assert_eq!(foreign.kind(), io::ErrorKind::AddrNotAvailable);

    // Closing with something unread resets; so does a linger of zero.
    let mut stream = TcpStream::connect(&client, server(82))
        .await
        .expect("connect");
    let (peer, _) = bounded(listener.accept()).await.expect("accept");
    assert_eq!(
        stream
            .try_read(&mut [0; 4])
            .expect_err("nothing yet")
            .kind(),
        io::ErrorKind::WouldBlock
    );
    stream.write_all(b"never read").await.expect("write");
    bounded(peer.readable()).await.expect("readable");
    drop(peer);
    let reset = bounded(stream.read(&mut [0; 4])).await.expect_err("reset");
    assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);

    // A port is free again once its listener is gone.
    drop(listener);
    TcpListener::bind(&host, server(82))
        .await
        .expect("free again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagrams_keep_their_boundaries_and_report_their_errors() {
    let (client, host) = stacks();
    let server_socket = UdpSocket::bind(&host, server(7)).await.expect("bind");
    let echo = tokio::spawn(async move {
        let mut buffer = vec![0; 70_000];
        loop {
            let (count, from) = server_socket.recv_from(&mut buffer).await.expect("recv");
            server_socket
                .send_to(&buffer[..count], from)
                .await
                .expect("send");
        }
    });
    let socket = UdpSocket::bind(&client, "0.0.0.0:0").await.expect("bind");
    socket.connect(server(7)).await.expect("connect");
    assert_eq!(socket.peer_addr().expect("peer"), server(7));
    let mut buffer = vec![0; 70_000];
    for size in [0, 1, 1_472, 1_473, 9_000, 65_507] {
        let sent: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        socket.send(&sent).await.expect("send");
        let count = bounded(socket.recv(&mut buffer)).await.expect("recv");
        assert!(buffer[..count] == sent[..], "{size} bytes");
    }
    let long = socket.send(&vec![0; 65_508]).await.expect_err("too long");
    assert_eq!(long.kind(), io::ErrorKind::InvalidInput);
    echo.abort();

    let nobody = UdpSocket::bind(&client, "0.0.0.0:0").await.expect("bind");
    nobody.connect(server(9_999)).await.expect("connect");
    nobody.send(b"?").await.expect("send");
    let refused = bounded(nobody.recv(&mut buffer))
        .await
        .expect_err("port unreachable");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_run_beside_the_packets() {
    let (client, host) = stacks();
    TcpListener::bind(&host, server(7))
        .await
        .expect("bind")
        .serve(|stream, _| tests::transfer::echo(stream))
        .expect("serve");
    let ask = |n: u32| {
        let client = client.clone();
        async move {
            let mut stream = TcpStream::connect(&client, server(7))
                .await
                .expect("connect");
            let sent = vec![n as u8; 10_000 + n as usize];
            stream.write_all(&sent).await.expect("write");
            stream.shutdown().await.expect("shutdown");
            let mut got = Vec::new();
            stream.read_to_end(&mut got).await.expect("read");
            assert!(got == sent, "connection {n}");
        }
    };
    let all: Vec<_> = (0..200).map(|n| tokio::spawn(ask(n))).collect();
    for one in all {
        bounded(one).await.expect("connection");
    }
    host.shutdown(Duration::from_secs(5)).expect("shutdown");
    assert_eq!(host.slabs_in_use(), (0, 0), "slabs leaked");
    let audit = host.audit();
    assert!(audit.iter().all(packet::buf::Audit::is_clean), "{audit:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_is_taken_back_from_its_service() {
    let (client, host) = stacks();
    let ask = async |sent: &'static [u8]| {
        let connecting = TcpStream::connect(&client, server(7));
        let mut stream = bounded(connecting).await.expect("connect");
        stream.write_all(sent).await.expect("write");
        stream
    };
    let answer = async |stream: &mut TcpStream| {
        let mut got = [0; 6];
        bounded(stream.read_exact(&mut got)).await.expect("read");
        got
    };
    let listener = TcpListener::bind_now(&host, server(7)).expect("bind");
    let serving = listener
        .serve(|stream, _| tests::transfer::echo(stream))
        .expect("serve");
    let mut early = ask(b"served").await;
    assert_eq!(&answer(&mut early).await, b"served");

    let listener = serving.stop();
    let mut late = ask(b"queued").await;
    let (mut accepted, _) = bounded(listener.accept()).await.expect("accept");
    assert_eq!(&answer(&mut accepted).await, b"queued");
    accepted.write_all(b"by us!").await.expect("write");
    assert_eq!(&answer(&mut late).await, b"by us!");
    // What the service has goes on, and the port closes with the listener.
    early.write_all(b"still!").await.expect("write");
    assert_eq!(&answer(&mut early).await, b"still!");
    drop(listener);
    let refused = bounded(TcpStream::connect(&client, server(7))).await;
    assert_eq!(
        refused.expect_err("closed").kind(),
        io::ErrorKind::ConnectionRefused
    );
}

/// A service may own anything, even the stack itself; a waker may own a whole task. The stack must hold no
/// lock and no key when it drops them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_the_stack_drops_may_call_back() {
    struct Owner(#[allow(dead_code, reason = "dropping it is the test")] TcpStream);
    impl std::task::Wake for Owner {
        fn wake(self: Arc<Self>) {}
    }
    let (client, host) = stacks();
    let listener = TcpListener::bind(&host, server(7)).await.expect("bind");
    let held = host.clone();
    listener
        .serve(move |mut stream, _| {
            let held = held.clone();
            async move {
                let mut byte = [0];
                while stream.read(&mut byte).await.is_ok_and(|count| count > 0) {}
                drop(held);
            }
        })
        .expect("serve");
    let mut stream = TcpStream::connect(&client, server(7))
        .await
        .expect("connect");
    let other = TcpStream::connect(&client, server(7))
        .await
        .expect("connect");
    let waker = std::task::Waker::from(Arc::new(Owner(other)));
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(stream.poll_recv_payload(&mut cx).is_pending());
    // The stream now has the only reference to the waker, and so to the other stream.
    drop(waker);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(stream.poll_recv_payload(&mut cx).is_pending());
    drop(stream);
    bounded(async {
        // The client's side stays in TIME-WAIT; the host's is gone.
        while host.connections() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    host.shutdown(Duration::from_secs(5)).expect("shutdown");
}
