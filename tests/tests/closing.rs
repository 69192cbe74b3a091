//! Closing, as kernel clients of the daemon and tasks on tokio see it: what was written arrives, although
//! not everything was read.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream as KernelStream};
use std::time::Duration;

use netstack::device::memory::{self, LinkConfig};
use netstack::net::{Stack, TcpListener, TcpStream};
use tests::program;
use tests::world::{in_namespace, port, serve, targets};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

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
            for length in [3_000, 300_000] {
                let head =
                    format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
                let mut request = head.into_bytes();
                request.resize(request.len() + length, b'z');
                for round in 0..20 {
                    let mut stream = connect(target);
                    // The reset can come before the end of the body.
                    let _ = stream.write_all(&request);
                    let answer = read_to_any_end(&mut stream);
                    assert!(
                        answer.starts_with(b"HTTP/1.1 405"),
                        "{target}, {length} bytes, round {round}: {:?}",
                        String::from_utf8_lossy(&answer)
                    );
                }
            }
        }
    });
}

/// Starts a client's and a server's stack with a link between them.
fn stacks() -> (Stack, Stack) {
    let (a, b) = memory::pair(&LinkConfig::default());
    let start = |device, address: &str| {
        Stack::builder()
            .address(address.parse().expect("address"), 24)
            .seed([7; 32])
            .start(vec![Box::new(device)])
            .expect("stack")
    };
    (start(a, "10.77.0.1"), start(b, "10.77.0.2"))
}

fn server(port: u16) -> SocketAddr {
    SocketAddr::new("10.77.0.2".parse().expect("address"), port)
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
