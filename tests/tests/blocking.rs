//! The blocking sockets, by threads without a runtime.

use std::io::{self, Read, Write};
use std::time::Duration;

use netstack::net::blocking::{TcpListener, TcpStream, UdpSocket};
use tests::pair::{server, stacks};

#[test]
fn threads_read_and_write() {
    let (client, host) = stacks();
    let listener = TcpListener::bind(&host, server(7)).expect("bind");
    let serving = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("accept");
        io::copy(&mut &stream, &mut &stream).expect("copy");
    });
    let stream = TcpStream::connect(&client, server(7)).expect("connect");
    let data: Vec<u8> = (0..4_000_000_u32).map(|n| (n >> 5) as u8).collect();
    let mut got = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (&stream).write_all(&data).expect("write");
            stream.shutdown_write().expect("shutdown");
        });
        (&stream).read_to_end(&mut got).expect("read");
    });
    assert!(got == data, "{} of {} bytes", got.len(), data.len());
    serving.join().expect("server");
}

#[test]
fn timeouts_pass_and_zero_is_refused() {
    let (client, host) = stacks();
    let listener = TcpListener::bind(&host, server(7)).expect("bind");
    let mut stream = TcpStream::connect(&client, server(7)).expect("connect");
    let _accepted = listener.accept().expect("accept");
    let short = Some(Duration::from_millis(50));
    stream.set_read_timeout(short).expect("timeout");
    let error = stream.read(&mut [0; 1]).expect_err("nothing to read");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    let error = stream
        .set_read_timeout(Some(Duration::ZERO))
        .expect_err("zero");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    stream.set_write_timeout(short).expect("timeout");
    let error = loop {
        // Nobody reads at the other end: at last nothing more fits.
        match stream.write(&[0; 65_536]) {
            Ok(written) => assert_ne!(written, 0),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    let nobody = "10.77.0.77:1".parse().expect("address");
    let error = TcpStream::connect_timeout(&client, nobody, Duration::from_millis(50))
        .expect_err("nobody answers");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);

    let socket = UdpSocket::bind(&client, "10.77.0.1:0").expect("bind");
    socket.set_read_timeout(short).expect("timeout");
    let error = socket.recv_from(&mut [0; 1]).expect_err("nothing");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[test]
fn datagrams_and_the_end_of_the_stack() {
    let (client, host) = stacks();
    let socket = UdpSocket::bind(&host, server(53)).expect("bind");
    let asking = UdpSocket::bind(&client, "10.77.0.1:0").expect("bind");
    asking.connect(server(53)).expect("connect");
    asking.send(b"question").expect("send");
    let mut buffer = [0; 16];
    let (count, from) = socket.recv_from(&mut buffer).expect("recv");
    socket.send_to(&buffer[..count], from).expect("send");
    assert_eq!(asking.recv(&mut buffer).expect("recv"), 8);
    let waiting = std::thread::spawn(move || socket.recv_from(&mut [0; 1]));
    std::thread::sleep(Duration::from_millis(20));
    host.abort().expect("abort");
    waiting
        .join()
        .expect("no panic")
        .expect_err("the stack ended");
}

#[test]
fn a_task_on_a_worker_cannot_block() {
    let (client, _host) = stacks();
    let socket = UdpSocket::bind(&client, "10.77.0.1:0").expect("bind");
    let (result, told) = std::sync::mpsc::channel();
    client.spawn_on(0, async move {
        let _ = result.send(socket.recv_from(&mut [0; 1]).map(drop));
    });
    let error = told
        .recv()
        .expect("told")
        .expect_err("would wait for itself");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}
