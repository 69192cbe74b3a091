//! The examples of the library that use crates of others work as they stand.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use fast_socks5::client::{Config, Socks5Stream};
use fast_socks5::server::Socks5ServerProtocol;
use fast_socks5::util::target_addr::TargetAddr;
use fast_socks5::{ReplyError, Socks5Command};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use netstack::device::channel::{ChannelConfig, PacketPipe, channel};
use netstack::net::Stack;
use nix::sched::{CloneFlags, unshare};
use tests::pair::bounded_as as bounded;
use tests::world::{Running, in_namespace, ip};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const LIMIT: Duration = Duration::from_secs(20);

/// Returns the program of an example, which `cargo test -p ecosystem` builds.
fn program(name: &str) -> PathBuf {
    let mut path = std::env::current_exe().expect("the path of this test");
    path.pop();
    path.set_file_name("examples");
    let path = path.join(name);
    assert!(
        path.exists(),
        "{} is missing: run `cargo build -p ecosystem --examples`, with the profile of this test",
        path.display()
    );
    path
}

/// Starts an example; returns it with the first line that it prints.
fn start(command: &mut Command) -> (Running, String) {
    let mut child: Child = command.stdout(Stdio::piped()).spawn().expect("start");
    let printed = child.stdout.take().expect("its output");
    let running = Running(child);
    let mut line = String::new();
    BufReader::new(printed)
        .read_line(&mut line)
        .expect("a line");
    (running, line)
}

/// Sends `text` to an echo server and returns what comes back.
fn exchange(mut stream: TcpStream, text: &str) -> String {
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    stream.write_all(text.as_bytes()).expect("write");
    stream
        .shutdown(std::net::Shutdown::Write)
        .expect("half close");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn an_axum_server_over_tls_answers_inside_a_tunnel() {
    let output = Command::new(program("axum_tls")).output().expect("start");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello 10.77.0.1\n");
}

/// Carries the packets of the stack on the other side of the tunnel.
async fn carry(pipe: PacketPipe, socket: tokio::net::UdpSocket, mut tunnel: Tunn) {
    let (mut from_stack, mut to_stack) = pipe.into_split();
    let (mut received, mut made) = (vec![0; 65_536], vec![0; 65_536]);
    let mut peer = None;
    loop {
        tokio::select! {
            packet = from_stack.recv() => {
                let Some(packet) = packet else { return };
                let made = tunnel.encapsulate(&packet, &mut made);
                if let (TunnResult::WriteToNetwork(datagram), Some(peer)) = (made, peer) {
                    socket.send_to(datagram, peer).await.expect("sent");
                }
            }
            received_from = socket.recv_from(&mut received) => {
                let (len, from) = received_from.expect("received");
                peer = Some(from);
                let mut datagram = &received[..len];
                while let TunnResult::WriteToNetwork(answer) | TunnResult::WriteToTunnelV4(answer, _) =
                    tunnel.decapsulate(Some(from.ip()), datagram, &mut made)
                {
                    if answer[0] >> 4 == 4 {
                        to_stack.try_send(answer.to_vec()).expect("room");
                        break;
                    }
                    socket.send_to(answer, from).await.expect("sent");
                    datagram = &[];
                }
            }
        }
    }
}

#[tokio::test]
async fn a_wireguard_client_serves_a_socks_proxy() {
    let (ours, theirs) = (StaticSecret::from([7; 32]), StaticSecret::from([9; 32]));
    let public = |secret: &StaticSecret| PublicKey::from(secret);
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0")
        .await
        .expect("bind");
    let endpoint = socket.local_addr().expect("an address");
    let (device, pipe) = channel(ChannelConfig::default());
    let builder = Stack::builder().address("10.77.0.2".parse().expect("an address"), 24);
    let (stack, drivers) = builder.drive(vec![Box::new(device)]).expect("a stack");
    for driver in drivers {
        tokio::spawn(driver);
    }
    let tunnel = Tunn::new(ours.clone(), public(&theirs), None, None, 1, None);
    tokio::spawn(carry(pipe, socket, tunnel));
    let listener = netstack::net::TcpListener::bind(&stack, "10.77.0.2:7")
        .await
        .expect("bind");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (mut read, mut write) = stream.into_split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
        }
    });

    let mut command = Command::new(program("wireguard"));
    command
        .env("WG_PRIVATE_KEY", BASE64_STANDARD.encode(theirs.to_bytes()))
        .env(
            "WG_PEER_KEY",
            BASE64_STANDARD.encode(public(&ours).to_bytes()),
        )
        .env("WG_ENDPOINT", endpoint.to_string())
        .env("WG_ADDRESS", "10.77.0.1")
        .env("SOCKS_LISTEN", "127.0.0.1:0");
    let started = tokio::task::spawn_blocking(move || start(&mut command)).await;
    let (_running, line) = started.expect("the example");
    let proxy: SocketAddr = line
        .trim()
        .strip_prefix("SOCKS5 proxy at ")
        .and_then(|address| address.parse().ok())
        .expect("an address");
    let connect =
        |host: &str, port| Socks5Stream::connect(proxy, host.to_owned(), port, Config::default());
    let mut stream = bounded("the proxy", connect("10.77.0.2", 7))
        .await
        .expect("connected");
    let sent: Vec<u8> = (0..500_000_u32).map(|at| (at >> 4) as u8).collect();
    let mut got = vec![0; sent.len()];
    let (mut read, mut write) = tokio::io::split(&mut stream);
    let (written, read) = tokio::join!(
        bounded("writing", write.write_all(&sent)),
        bounded("reading", read.read_exact(&mut got)),
    );
    written.expect("written");
    read.expect("read");
    assert!(got == sent);
    bounded("a closed port", connect("10.77.0.2", 8))
        .await
        .expect_err("refused");
    bounded("a name", connect("service.test", 7))
        .await
        .expect_err("not looked up");
}

/// A SOCKS5 proxy that reaches one destination, which is a server of this host; sends the destinations that are asked for.
async fn proxy(
    listener: tokio::net::TcpListener,
    server: SocketAddr,
    asked: mpsc::Sender<TargetAddr>,
) {
    while let Ok((client, _)) = listener.accept().await {
        let greeted = Socks5ServerProtocol::accept_no_auth(client)
            .await
            .expect("a greeting");
        let (wanted, command, target) = greeted.read_command().await.expect("a command");
        assert_eq!(command, Socks5Command::TCPConnect);
        let is_known = matches!(&target, TargetAddr::Ip(to) if to.port() == 7);
        asked.send(target).expect("the test waits");
        if !is_known {
            wanted
                .reply_error(&ReplyError::ConnectionRefused)
                .await
                .expect("an answer");
            continue;
        }
        let mut server = tokio::net::TcpStream::connect(server)
            .await
            .expect("connected");
        let mut client = wanted
            .reply_success(server.local_addr().expect("an address"))
            .await
            .expect("an answer");
        tokio::io::copy_bidirectional(&mut client, &mut server)
            .await
            .expect("carried");
    }
}

/// Echoes one stream to its end in capitals.
fn echo_once(listener: TcpListener) -> SocketAddr {
    let (mut stream, peer) = listener.accept().expect("accept");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("to the end");
    stream
        .write_all(text.to_uppercase().as_bytes())
        .expect("answer");
    peer
}

#[test]
fn tun2socks_takes_connections_to_a_proxy_and_refuses_what_that_refuses() {
    in_namespace(|| {
        let server = TcpListener::bind("127.0.0.1:0").expect("bind");
        let server_address = server.local_addr().expect("an address");
        let serving = thread::spawn(move || echo_once(server));
        let (asked, questions) = mpsc::channel();
        let socks = TcpListener::bind("127.0.0.1:0").expect("bind");
        let socks_address = socks.local_addr().expect("an address");
        // Made in this namespace, since its thread is.
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                socks.set_nonblocking(true).expect("for tokio");
                let socks = tokio::net::TcpListener::from_std(socks).expect("a listener");
                proxy(socks, server_address, asked).await;
            });
        });
        let mut command = Command::new(program("tun2socks"));
        command.env("SOCKS_PROXY", socks_address.to_string());
        let (_running, line) = start(&mut command);
        assert_eq!(line, "ready\n");
        ip("route add 203.0.113.0/24 dev t0");
        let stream = TcpStream::connect("203.0.113.9:7").expect("connect");
        assert_eq!(exchange(stream, "through a proxy"), "THROUGH A PROXY");
        let question = questions.recv_timeout(LIMIT).expect("a question");
        assert!(
            matches!(question, TargetAddr::Ip(to) if to == "203.0.113.9:7".parse().expect("an address"))
        );
        serving.join().expect("the server");
        let error = TcpStream::connect("203.0.113.9:8").expect_err("refused by the proxy");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_port_forwarder_keeps_the_clients_address() {
    in_namespace(|| {
        let mut command = Command::new(program("port_forwarder"));
        command.args(["10.77.0.2:80", "10.78.0.1:8080"]);
        let (_running, line) = start(&mut command);
        assert_eq!(line, "ready\n");
        // The server's side of the second device lies in another namespace.
        let (entered, inside) = mpsc::channel();
        let (prepare, prepared) = mpsc::channel::<()>();
        let (listening, ready) = mpsc::channel();
        let serving = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("another namespace");
            entered.send(nix::unistd::gettid()).expect("the test waits");
            prepared.recv().expect("moved");
            ip("addr add 10.78.0.1/24 dev t1");
            ip("link set t1 up");
            ip("route add default dev t1");
            let server = TcpListener::bind("10.78.0.1:8080").expect("bind");
            listening.send(()).expect("the test waits");
            echo_once(server)
        });
        let thread = inside.recv_timeout(LIMIT).expect("a namespace");
        ip(&format!("link set t1 netns {thread}"));
        prepare.send(()).expect("the server waits");
        ready.recv_timeout(LIMIT).expect("a server");
        let stream = TcpStream::connect("10.77.0.2:80").expect("connect");
        let client = stream.local_addr().expect("an address");
        assert_eq!(exchange(stream, "who am i"), "WHO AM I");
        let seen = serving.join().expect("the server");
        assert_eq!(seen, client, "the address that the server saw");
    });
}

/// Returns the query for a name.
fn query(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(77, MessageType::Query, OpCode::Query);
    let name = Name::from_utf8(name).expect("a name");
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, kind));
    message.to_vec().expect("a query")
}

/// Returns the code and the addresses of an answer.
fn read(answer: &[u8]) -> (ResponseCode, Vec<IpAddr>) {
    let answer = Message::from_vec(answer).expect("an answer");
    assert_eq!(answer.metadata.id, 77);
    let address = |data: &RData| match data {
        RData::A(v4) => IpAddr::V4(v4.0),
        RData::AAAA(v6) => IpAddr::V6(v6.0),
        other => panic!("{other:?}"),
    };
    let records = answer.answers.iter().map(|record| address(&record.data));
    (answer.metadata.response_code, records.collect())
}

#[test]
fn a_dns_server_answers_over_udp_and_tcp() {
    in_namespace(|| {
        let mut command = Command::new(program("dns_server"));
        command.args(["host.test=192.0.2.7", "Other.test=2001:db8::7"]);
        let (_running, line) = start(&mut command);
        assert_eq!(line, "ready\n");
        let socket = UdpSocket::bind("10.77.0.1:0").expect("bind");
        socket.set_read_timeout(Some(LIMIT)).expect("a limit");
        socket.connect("10.77.0.2:53").expect("connect");
        let mut stream = TcpStream::connect("10.77.0.2:53").expect("connect");
        stream.set_read_timeout(Some(LIMIT)).expect("a limit");
        let (v4, v6): (IpAddr, IpAddr) = (
            [192, 0, 2, 7].into(),
            "2001:db8::7".parse().expect("an address"),
        );
        for (name, kind, code, addresses) in [
            ("host.test.", RecordType::A, ResponseCode::NoError, vec![v4]),
            ("HOST.test.", RecordType::A, ResponseCode::NoError, vec![v4]),
            (
                "host.test.",
                RecordType::AAAA,
                ResponseCode::NoError,
                vec![],
            ),
            (
                "other.test.",
                RecordType::AAAA,
                ResponseCode::NoError,
                vec![v6],
            ),
            ("none.test.", RecordType::A, ResponseCode::NXDomain, vec![]),
        ] {
            let query = query(name, kind);
            socket.send(&query).expect("sent");
            let mut room = [0; 1_500];
            let len = socket.recv(&mut room).expect("an answer");
            assert_eq!(
                read(&room[..len]),
                (code, addresses.clone()),
                "{name} over UDP"
            );
            stream
                .write_all(&(query.len() as u16).to_be_bytes())
                .expect("written");
            stream.write_all(&query).expect("written");
            let mut len = [0; 2];
            stream.read_exact(&mut len).expect("a length");
            let mut answer = vec![0; u16::from_be_bytes(len).into()];
            stream.read_exact(&mut answer).expect("an answer");
            assert_eq!(read(&answer), (code, addresses), "{name} over TCP");
        }
        // What is no query gets no answer, and hurts nobody.
        socket.send(b"nonsense").expect("sent");
        socket
            .send(&query("host.test.", RecordType::A))
            .expect("sent");
        let mut room = [0; 1_500];
        let len = socket.recv(&mut room).expect("an answer");
        assert_eq!(read(&room[..len]), (ResponseCode::NoError, vec![v4]));
    });
}
