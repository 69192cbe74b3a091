//! The examples of tokio's documentation, by the import and the handle of the stack alone: `tokio::net` is
//! `netstack::net`, and the first argument of what binds or connects is a stack. Both ends are on one stack, as
//! tokio's examples have them on one host.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use netstack::net::{Interest, Stack, TcpListener, TcpSocket, TcpStream, UdpSocket};
use tests::pair::{alone, bounded};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};

/// Returns a listener at `address`.
async fn peer(stack: &Stack, address: &str) -> TcpListener {
    TcpListener::bind(stack, address).await.expect("bind")
}

/// `TcpListener`: accept, and `poll_accept` by a hand-written future.
#[tokio::test]
async fn tcp_listener() -> io::Result<()> {
    let (stack, _pipe) = alone();
    let listener = TcpListener::bind(&stack, "127.0.0.1:8080").await?;
    assert_eq!(
        listener.local_addr()?,
        "127.0.0.1:8080".parse::<SocketAddr>().expect("address")
    );
    let client = tokio::spawn({
        let stack = stack.clone();
        async move { TcpStream::connect(&stack, "127.0.0.1:8080").await }
    });
    match bounded(listener.accept()).await {
        Ok((_socket, addr)) => assert!(addr.ip().is_loopback()),
        Err(e) => panic!("couldn't get client: {e:?}"),
    }
    client.await.expect("task")?;
    let _second = TcpStream::connect(&stack, "127.0.0.1:8080").await?;
    let (_socket, _) = bounded(std::future::poll_fn(|cx| listener.poll_accept(cx))).await?;
    Ok(())
}

/// `TcpStream`: the example of the type, `peek`, `poll_peek`, `nodelay`, `ttl`, `linger`, addresses.
#[tokio::test]
async fn tcp_stream() -> io::Result<()> {
    let (stack, _pipe) = alone();
    let listener = peer(&stack, "127.0.0.1:8080").await;
    // Connect to a peer
    let mut stream = TcpStream::connect(&stack, "127.0.0.1:8080").await?;
    // Write some data.
    stream.write_all(b"hello world!").await?;
    let (mut other, _) = bounded(listener.accept()).await?;

    let mut b1 = [0; 10];
    let mut b2 = [0; 10];
    // Peek at the data
    let n = bounded(other.peek(&mut b1)).await?;
    // Read the data
    assert_eq!(n, other.read(&mut b2[..n]).await?);
    assert_eq!(&b1[..n], &b2[..n]);

    let mut room = [0; 2];
    let mut buf = ReadBuf::new(&mut room);
    bounded(std::future::poll_fn(|cx| other.poll_peek(cx, &mut buf))).await?;
    assert_eq!(buf.filled(), b"d!");

    stream.set_nodelay(true)?;
    assert!(stream.nodelay()?);
    stream.set_ttl(123)?;
    assert_eq!(stream.ttl()?, 123);
    assert_eq!(stream.linger()?, None);
    stream.set_zero_linger()?;
    assert_eq!(stream.linger()?, Some(std::time::Duration::ZERO));
    assert_eq!(stream.peer_addr()?, other.local_addr()?);
    assert!(stream.take_error()?.is_none());
    Ok(())
}

/// `TcpStream::ready`, `readable`, `try_read`, `try_read_vectored`, `try_read_buf`, `writable`, `try_write`,
/// `try_write_vectored`, all through a shared reference.
#[tokio::test]
async fn tcp_stream_readiness() -> io::Result<()> {
    let (stack, _pipe) = alone();
    let listener = peer(&stack, "127.0.0.1:8080").await;
    let stream = Arc::new(TcpStream::connect(&stack, "127.0.0.1:8080").await?);
    let (other, _) = bounded(listener.accept()).await?;
    other.try_write(b"some bytes")?;

    let mut data = vec![0; 4];
    let mut seen = Vec::new();
    while seen.len() < 4 {
        let ready = bounded(stream.ready(Interest::READABLE | Interest::WRITABLE)).await?;
        if ready.is_readable() {
            match stream.try_read(&mut data) {
                Ok(n) => seen.extend_from_slice(&data[..n]),
                Err(ref e) if e.kind() == io::ErrorKind::WouldBlock => continue,
                Err(e) => return Err(e),
            }
        }
        assert!(!ready.is_writable() || stream.try_write(b"hello world").is_ok());
        tokio::task::yield_now().await;
    }
    assert_eq!(seen, b"some");

    // Both buffers of a vectored read, and a growing one.
    bounded(stream.readable()).await?;
    let (mut a, mut b) = ([0; 2], [0; 2]);
    let mut bufs = [io::IoSliceMut::new(&mut a), io::IoSliceMut::new(&mut b)];
    assert_eq!(stream.try_read_vectored(&mut bufs)?, 4);
    assert_eq!((&a, &b), (b" b", b"yt"));
    let mut buf = Vec::with_capacity(4096);
    bounded(stream.readable()).await?;
    assert_eq!(stream.try_read_buf(&mut buf)?, 2);
    assert_eq!(buf, b"es");
    assert_eq!(
        stream.try_read(&mut a).expect_err("nothing").kind(),
        io::ErrorKind::WouldBlock
    );

    bounded(stream.writable()).await?;
    let bufs = [io::IoSlice::new(b"hello "), io::IoSlice::new(b"world")];
    assert_eq!(stream.try_write_vectored(&bufs)?, 11);
    drop(other);
    // The end of the stream.
    loop {
        bounded(stream.readable()).await?;
        match stream.try_read(&mut data) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The other end had not read everything.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// `TcpStream::split`, `into_split` and `reunite`; vectored writes through `AsyncWrite`.
#[tokio::test]
async fn tcp_stream_halves() -> io::Result<()> {
    let (stack, _pipe) = alone();
    let listener = peer(&stack, "127.0.0.1:8080").await;
    let mut stream = TcpStream::connect(&stack, "127.0.0.1:8080").await?;
    let (mut other, _) = bounded(listener.accept()).await?;
    {
        let (read, mut write) = stream.split();
        assert!(tokio::io::AsyncWrite::is_write_vectored(&write));
        let pieces = [io::IoSlice::new(b"many "), io::IoSlice::new(b"pieces")];
        assert_eq!(write.write_vectored(&pieces).await?, 11);
        assert_eq!(read.peer_addr()?, write.peer_addr()?);
        assert!(read.try_read(&mut [0; 1]).is_err());
    }
    let mut got = [0; 11];
    bounded(other.read_exact(&mut got)).await?;
    assert_eq!(&got, b"many pieces");

    let (read, write) = stream.into_split();
    bounded(write.ready(Interest::WRITABLE)).await?;
    write.try_write(b"x")?;
    bounded(other.read_exact(&mut got[..1])).await?;
    other.write_all(b"y").await?;
    assert!(bounded(read.ready(Interest::READABLE)).await?.is_readable());
    assert_eq!(bounded(read.peek(&mut got)).await?, 1);
    let mut stream = read.reunite(write).expect("of one stream");
    assert_eq!(bounded(stream.read(&mut got)).await?, 1);
    Ok(())
}

/// `TcpSocket`: both examples of the type.
#[tokio::test]
async fn tcp_socket() -> io::Result<()> {
    let (stack, _pipe) = alone();
    let addr = "127.0.0.1:8080".parse().expect("address");
    let socket = TcpSocket::new_v4(&stack);
    // On platforms with Berkeley-derived sockets, this allows to quickly
    // rebind a socket, without needing to wait for the OS to clean up the
    // previous one.
    socket.set_reuseaddr(true)?;
    socket.set_recv_buffer_size(16 << 10)?;
    socket.set_tos(0x10)?;
    socket.set_ttl(77)?;
    socket.set_nodelay(true)?;
    socket.set_max_segment(1_000)?;
    socket.set_congestion("newreno".parse().expect("an algorithm"));
    assert_eq!(socket.recv_buffer_size()?, 16 << 10);
    socket.bind(addr)?;
    assert_eq!(socket.local_addr()?, addr);
    let listener = socket.listen(1)?;

    let socket = TcpSocket::new_v4(&stack);
    socket.set_send_buffer_size(8 << 10)?;
    let stream = socket.connect(addr).await?;
    let (accepted, _) = bounded(listener.accept()).await?;
    assert_eq!((accepted.ttl()?, accepted.tos()?), (77, 0x10));
    assert!(accepted.nodelay()?);
    assert_eq!(
        accepted.congestion().map(|algorithm| algorithm.name()),
        Some("newreno")
    );
    assert!(stream.info().mss <= 1_000, "{:?}", stream.info());
    assert!(stream.info().send_window <= 16 << 10, "{:?}", stream.info());
    assert_eq!(stream.try_write(&[0; 64 << 10])?, 8 << 10);

    // The backlog is one: the second waits in it, a third does not get in.
    let _second = TcpStream::connect(&stack, addr).await?;
    let third = TcpStream::connect(&stack, addr);
    let waits = tokio::time::timeout(std::time::Duration::from_millis(300), third).await;
    assert!(
        waits.is_err(),
        "a third connection got into a backlog of one"
    );

    let socket = TcpSocket::new_v6(&stack);
    let wrong = socket.bind(addr).expect_err("of the other family");
    assert_eq!(wrong.kind(), io::ErrorKind::InvalidInput);
    assert!(socket.listen(0).is_err());
    Ok(())
}

/// `UdpSocket`: one to many, one to one, splitting with `Arc`.
#[tokio::test]
async fn udp_socket() -> io::Result<()> {
    let (stack, _pipe) = alone();
    let sock = UdpSocket::bind(&stack, "0.0.0.0:8080").await?;
    let r = Arc::new(sock);
    let s = r.clone();
    let (tx, mut rx) = tokio::sync::mpsc::channel::<(Vec<u8>, SocketAddr)>(1_000);
    let answering = tokio::spawn(async move {
        while let Some((bytes, addr)) = rx.recv().await {
            s.send_to(&bytes, &addr).await.expect("send");
        }
    });
    let receiving = tokio::spawn(async move {
        let mut buf = [0; 1024];
        loop {
            let (len, addr) = r.recv_from(&mut buf).await.expect("recv");
            tx.send((buf[..len].to_vec(), addr)).await.expect("channel");
        }
    });
    let sock = UdpSocket::bind(&stack, "127.0.0.1:0").await?;
    sock.connect("127.0.0.1:8080").await?;
    assert_eq!(sock.send(b"hello").await?, 5);
    let mut buf = [0; 1024];
    let len = bounded(sock.recv(&mut buf)).await?;
    assert_eq!(&buf[..len], b"hello");
    receiving.abort();
    answering.abort();
    Ok(())
}

/// `UdpSocket::ready`, `readable`, `writable`, `try_*`, `poll_*` and `peek_*`.
#[tokio::test]
async fn udp_socket_readiness() -> io::Result<()> {
    let (stack, _pipe) = alone();
    let server = UdpSocket::bind(&stack, "127.0.0.1:8081").await?;
    let socket = UdpSocket::bind(&stack, "127.0.0.1:8080").await?;
    socket.connect("127.0.0.1:8081").await?;
    let ready = bounded(socket.ready(Interest::READABLE | Interest::WRITABLE)).await?;
    assert!(ready.is_writable() && !ready.is_readable());
    bounded(socket.writable()).await?;
    assert_eq!(socket.try_send(b"hello world")?, 11);

    bounded(server.readable()).await?;
    let mut buf = [0; 32];
    let (n, peer) = bounded(server.peek_from(&mut buf[..5])).await?;
    assert_eq!(
        (&buf[..n], peer),
        (&b"hello"[..], "127.0.0.1:8080".parse().expect("address"))
    );
    assert_eq!(server.try_peek_from(&mut buf)?.0, 11);
    assert_eq!(bounded(server.peek_sender()).await?, peer);
    let mut read = ReadBuf::new(&mut buf);
    let from = bounded(std::future::poll_fn(|cx| {
        server.poll_recv_from(cx, &mut read)
    }))
    .await?;
    assert_eq!((read.filled(), from), (&b"hello world"[..], peer));
    assert_eq!(
        server.try_recv_from(&mut buf).expect_err("nothing").kind(),
        io::ErrorKind::WouldBlock
    );

    bounded(std::future::poll_fn(|cx| {
        server.poll_send_to(cx, b"answer", peer)
    }))
    .await?;
    bounded(std::future::poll_fn(|cx| socket.poll_recv_ready(cx))).await?;
    assert_eq!(socket.try_recv(&mut buf)?, 6);
    assert!(!socket.broadcast()?);
    Ok(())
}

/// Several datagrams in one call, in both directions.
#[tokio::test]
async fn udp_batches() -> io::Result<()> {
    let (stack, _pipe) = alone();
    let server = UdpSocket::bind(&stack, "127.0.0.1:8081").await?;
    let socket = UdpSocket::bind(&stack, "127.0.0.1:8080").await?;
    let data: Vec<u8> = (0..10_500_u32).map(|n| n as u8).collect();
    socket
        .send_segments_to(&data, 1_000, server.local_addr()?)
        .await?;
    let mut got = Vec::new();
    while got.len() < 11 {
        bounded(server.recv_many(&mut got, 4)).await?;
    }
    let lens: Vec<usize> = got.iter().map(|datagram| datagram.payload.len()).collect();
    assert_eq!(lens, [vec![1_000; 10], vec![500]].concat());
    let joined: Vec<u8> = got.iter().flat_map(|d| d.payload.to_vec()).collect();
    assert!(joined == data);
    let whole = Bytes::from(data.clone()).into();
    let to = server.local_addr()?;
    socket.send_payload_segments(whole, 1_000, None, to).await?;
    let (mut lens, mut joined) = (Vec::new(), Vec::new());
    while joined.len() < data.len() {
        let burst = bounded(server.recv_segments()).await?;
        assert_eq!((burst.from, burst.to), (socket.local_addr()?, to));
        lens.extend(burst.payload.chunks(burst.segment.into()).map(<[u8]>::len));
        joined.extend_from_slice(&burst.payload);
    }
    assert!(joined == data);
    assert_eq!(lens, [vec![1_000; 10], vec![500]].concat());
    let none = server.try_recv_segments().expect_err("all were taken");
    assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
    let zero = socket.try_send_segments(&data, 0, None, server.local_addr()?);
    assert_eq!(zero.expect_err("zero").kind(), io::ErrorKind::InvalidInput);
    Ok(())
}

/// Names are refused with a reason, and addresses are tried in turn.
#[tokio::test]
async fn several_addresses_are_tried_in_turn() -> io::Result<()> {
    let (stack, _pipe) = alone();
    let _listener = peer(&stack, "127.0.0.1:8080").await;
    let addrs: [SocketAddr; 2] = [
        "127.0.0.1:9".parse().expect("address"),
        "127.0.0.1:8080".parse().expect("address"),
    ];
    let stream = bounded(TcpStream::connect(&stack, &addrs[..])).await?;
    assert_eq!(stream.peer_addr()?, addrs[1]);
    let error = TcpStream::connect(&stack, "localhost:8080").await;
    assert_eq!(
        error.expect_err("a name").kind(),
        io::ErrorKind::InvalidInput
    );
    let none: &[SocketAddr] = &[];
    let error = TcpStream::connect(&stack, none).await;
    assert_eq!(
        error.expect_err("no address").kind(),
        io::ErrorKind::InvalidInput
    );
    Ok(())
}

/// Sending to a broadcast address takes permission, as on Linux.
#[tokio::test]
async fn broadcast_takes_permission() -> io::Result<()> {
    let (stack, mut pipe) = alone();
    let socket = UdpSocket::bind(&stack, "0.0.0.0:68").await?;
    for address in ["255.255.255.255:67", "10.77.0.255:67"] {
        let denied = socket.send_to(b"?", address).await.expect_err("denied");
        assert_eq!(denied.kind(), io::ErrorKind::PermissionDenied);
        socket.set_broadcast(true)?;
        socket.send_to(b"?", address).await?;
        let packet = bounded(pipe.recv()).await.expect("a packet");
        assert_eq!(&packet[28..], b"?");
        socket.set_broadcast(false)?;
    }
    Ok(())
}
