//! Closing and the end of a stream, as kernel clients of the daemon and tasks on tokio see them: what was
//! written arrives, although not everything was read, and reads end as on tokio's own sockets.

use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream as KernelStream};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use netstack::device::memory::LinkConfig;
use netstack::net::{Stack, TcpListener, TcpStream};
use netstack::tcp::{State, TcpInfo};
use tests::pair::{bounded, server, stacks_over};
use tests::program;
use tests::world::{in_namespace, port, serve, targets};
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};

/// Connects and gives up reads after a while.
fn connect(target: SocketAddr) -> KernelStream {
    let stream = KernelStream::connect(target).expect("connected");
    let timeout = Some(Duration::from_secs(5));
    stream.set_read_timeout(timeout).expect("a time limit");
    stream
}

/// Reads up to the end or the reset.
fn read_to_any_end(stream: &mut KernelStream) -> Vec<u8> {
    let mut all = Vec::new();
    // Bytes that arrived before a reset stay readable.
    let _ = stream.read_to_end(&mut all);
    all
}

#[test]
fn the_daytime_arrives_although_its_service_reads_nothing() {
    in_namespace(|| {
        let _daemon = serve(program!(), &["--services", "daytime"]);
        for target in targets(port::DAYTIME) {
            for round in 0..100 {
                let mut stream = connect(target);
                // The service may have closed already.
                let _ = stream.write_all(b"hello");
                let line = read_to_any_end(&mut stream);
                assert!(line.ends_with(b"\n"), "{target}, round {round}: {line:?}");
            }
        }
    });
}

#[test]
fn a_request_whose_body_is_not_read_is_answered() {
    in_namespace(|| {
        let _daemon = serve(program!(), &["--services", "http"]);
        for target in targets(port::HTTP) {
            // A body that is short is skipped; a long one is refused before it has arrived.
            for (length, status) in [(3_000, 405), (300_000, 413)] {
                let head = format!(
                    "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
                );
                let mut request = head.into_bytes();
                request.resize(request.len() + length, b'z');
                for round in 0..20 {
                    let mut stream = connect(target);
                    // The reset can come before the end of the body.
                    let _ = stream.write_all(&request);
                    let answer = read_to_any_end(&mut stream);
                    assert!(
                        answer.starts_with(format!("HTTP/1.1 {status}").as_bytes()),
                        "{target}, {length} bytes, round {round}: {:?}",
                        String::from_utf8_lossy(&answer)
                    );
                }
            }
        }
    });
}

#[test]
fn a_request_that_comes_with_the_end_of_the_stream_is_answered() {
    in_namespace(|| {
        let _daemon = serve(program!(), &["--services", "http"]);
        for target in targets(port::HTTP) {
            for round in 0..100 {
                let mut stream = connect(target);
                stream
                    .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    .expect("the request");
                stream.shutdown(Shutdown::Write).expect("the end");
                let answer = read_to_any_end(&mut stream);
                assert!(
                    answer.starts_with(b"HTTP/1.1 200"),
                    "{target}, round {round}: {:?}",
                    String::from_utf8_lossy(&answer)
                );
            }
        }
    });
}

/// Starts a client's and a server's stack over a link without offloads.
fn stacks() -> (Stack, Stack) {
    stacks_over(&LinkConfig::default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_arrives_although_the_request_was_read_in_part() {
    let (client, host) = stacks();
    let listener = TcpListener::bind(&host, server(7)).await.expect("bind");
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("accept");
            let mut head = [0; 10];
            stream.read_exact(&mut head).await.expect("the head");
            // More than the windows let out at once.
            stream.write_all(&[7; 100_000]).await.expect("written");
        }
    });
    for round in 0..50 {
        let mut stream = TcpStream::connect(&client, server(7))
            .await
            .expect("connect");
        stream.write_all(&[0; 1_000]).await.expect("the request");
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer);
        let end = tokio::time::timeout(Duration::from_secs(10), end).await;
        assert_eq!(answer.len(), 100_000, "round {round}: {end:?}");
        let error = end.expect("in time").expect_err("a reset");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    serving.abort();
}

/// hyper answers a request whose body it does not read, and drops the connection: the answer arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hyper_answers_a_request_without_reading_its_body() {
    let (client, host) = stacks();
    let listener = TcpListener::bind(&host, server(80)).await.expect("bind");
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let refuse = service_fn(|_: Request<Incoming>| async {
                    let mut answer = Response::new(Full::new(Bytes::from_static(b"no")));
                    *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
                    Ok::<_, Infallible>(answer)
                });
                let io = TokioIo::new(stream);
                // It ends with an error: the client sends more than was read.
                let _ = http1::Builder::new().serve_connection(io, refuse).await;
            });
        }
    });
    let head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n";
    let request = [&head[..], &[b'z'; 100_000]].concat();
    for round in 0..40 {
        let mut stream = TcpStream::connect(&client, server(80))
            .await
            .expect("connect");
        // The server may reset the connection before it has everything.
        let _ = stream.write_all(&request).await;
        let mut line = [0; 12];
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read_exact(&mut line));
        read.await.expect("in time").expect("an answer");
        assert_eq!(&line, b"HTTP/1.1 405", "round {round}");
    }
    serving.abort();
}

/// Connects a stream of each stack to the other.
async fn pair(client: &Stack, host: &Stack) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(host, server(9)).await.expect("bind");
    let near = TcpStream::connect(client, server(9))
        .await
        .expect("connect");
    let (far, _) = listener.accept().await.expect("accept");
    (near, far)
}

/// Waits until `has_arrived` is true of what the peer sent to `stream`.
async fn settled(stream: &TcpStream, has_arrived: impl Fn(&TcpInfo) -> bool) {
    bounded(async {
        while !has_arrived(&stream.info()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

fn the_end(info: &TcpInfo) -> bool {
    info.state == State::CloseWait
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_is_not_reported_in_the_poll_that_got_the_last_bytes() {
    let (client, host) = stacks();
    let (mut near, mut far) = pair(&client, &host).await;
    far.write_all(b"hello").await.expect("written");
    far.shutdown().await.expect("the end");
    settled(&near, the_end).await;

    let mut out = [0; 64];
    let mut polls = Vec::new();
    std::future::poll_fn(|cx| {
        // Two reads in one poll of the task.
        for _ in 0..2 {
            let mut out = ReadBuf::new(&mut out);
            match Pin::new(&mut near).poll_read(cx, &mut out) {
                Poll::Ready(read) => {
                    read.expect("no error");
                    polls.push(Some(out.filled().len()));
                }
                Poll::Pending => polls.push(None),
            }
        }
        match polls.last() {
            Some(Some(0)) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    })
    .await;
    assert_eq!(polls, [Some(5), None, Some(0), Some(0)]);
    assert_eq!(near.try_read(&mut out).expect("the end"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_fills_the_buffer_finds_the_end_at_once() {
    let (client, host) = stacks();
    let (near, mut far) = pair(&client, &host).await;
    far.write_all(b"hello").await.expect("written");
    far.shutdown().await.expect("the end");
    settled(&near, the_end).await;
    let mut out = [0; 5];
    assert_eq!(near.try_read(&mut out).expect("bytes"), 5);
    assert_eq!(near.try_read(&mut out).expect("the end"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peek_shows_all_that_is_queued() {
    let (client, host) = stacks();
    let (mut near, mut far) = pair(&client, &host).await;
    // More than a segment.
    far.write_all(&[7; 20_000]).await.expect("written");
    settled(&near, |info| info.bytes_in == 20_000).await;
    let mut out = vec![0; 30_000];
    assert_eq!(near.peek(&mut out).await.expect("bytes"), 20_000);
    assert!(out[..20_000].iter().all(|&byte| byte == 7));
    assert_eq!(near.peek(&mut out[..5_000]).await.expect("bytes"), 5_000);
    near.read_exact(&mut out[..20_000])
        .await
        .expect("still there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peek_reports_a_reset_after_the_bytes_before_it() {
    let (client, host) = stacks();
    let (mut near, mut far) = pair(&client, &host).await;
    far.write_all(b"hello").await.expect("written");
    settled(&near, |info| info.bytes_in == 5).await;
    far.set_linger(Some(Duration::ZERO)).expect("set");
    drop(far);
    settled(&near, |info| info.state == State::Closed).await;
    let mut out = [0; 64];
    assert_eq!(near.peek(&mut out).await.expect("bytes"), 5);
    assert_eq!(near.read(&mut out).await.expect("bytes"), 5);
    let error = near.peek(&mut out).await.expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    // As on Linux, the error shows once.
    assert_eq!(near.peek(&mut out).await.expect("the end"), 0);
    assert_eq!(near.read(&mut out).await.expect("the end"), 0);
}
