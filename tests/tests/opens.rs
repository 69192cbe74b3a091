//! Opening connections, by the numbers of RFC 9293's requirements.

use std::time::Duration;

use netstack::net::{TcpListener, TcpSocket, TcpStream};
use netstack::tcp::State;
use tests::pair::{alone, server, stacks};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// MUST-42: an application may listen on a port of which a connection is in SYN-SENT, and is reached there.
#[tokio::test]
async fn must_42_a_port_listens_while_a_connection_from_it_opens() {
    let (client, host) = stacks();
    let local = server(4_200);
    let nobody = "10.77.0.77:1".parse().expect("an address");
    let opening = TcpStream::connect_from(&host, local, nobody);
    let mut opening = std::pin::pin!(opening);
    let waited = tokio::time::timeout(Duration::from_millis(20), opening.as_mut()).await;
    assert!(waited.is_err(), "nobody answers");
    let states: Vec<State> = host
        .tcp_info()
        .iter()
        .map(|(.., info)| info.state)
        .collect();
    assert_eq!(states, [State::SynSent]);
    let listener = TcpListener::bind(&host, local).await.expect("listen");
    let mut asks = TcpStream::connect(&client, local).await.expect("connect");
    let (mut stream, _) = listener.accept().await.expect("accept");
    asks.write_all(b"hello").await.expect("write");
    let mut text = [0; 5];
    stream.read_exact(&mut text).await.expect("read");
    assert_eq!(&text, b"hello");
}

/// MUST-46: an address of many, or of nobody, is no peer. Nothing is sent.
#[tokio::test]
async fn must_46_connecting_to_an_address_that_is_not_of_one_host_is_an_error() {
    let (stack, _pipe) = alone();
    for remote in [
        "255.255.255.255:80",
        "10.77.0.255:80",
        "224.0.0.1:80",
        "0.0.0.0:80",
        "[ff02::1]:80",
        "[::]:80",
    ] {
        let remote: std::net::SocketAddr = remote.parse().expect("an address");
        let connected = TcpStream::connect(&stack, remote);
        let limit = Duration::from_secs(5);
        let ended = tokio::time::timeout(limit, connected).await;
        let error = ended
            .unwrap_or_else(|_| panic!("{remote} is not refused"))
            .expect_err("no peer");
        assert!(!error.to_string().is_empty(), "{remote}");
        assert_eq!(stack.connections(), 0, "{remote}: {error}");
    }
    assert_eq!(
        stack
            .counters()
            .count(netstack::base::counters::Counter::PacketsOut),
        0
    );
}

/// MUST-44, MUST-45: without a local address the stack chooses one, and it stays.
#[tokio::test]
async fn must_44_the_stack_chooses_the_local_address() {
    let (client, host) = stacks();
    let listener = TcpListener::bind(&host, server(80)).await.expect("listen");
    let socket = TcpSocket::new_v4(&client);
    let stream = socket.connect(server(80)).await.expect("connect");
    let (_accepted, peer) = listener.accept().await.expect("accept");
    let local = stream.local_addr().expect("an address");
    assert_eq!(local.ip().to_string(), tests::pair::CLIENT);
    assert_eq!(local, peer);
}
