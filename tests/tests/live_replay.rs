//! Captured sessions are replayed against a running daemon, over a TUN device and in real time: with the daemon's own
//! services, and with the captured applications, played through its control socket.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use tests::program;
use tests::world::{Scratch, V4, in_namespace, port, serve};
use tools::capture::{Captured, read};
use tools::replay::{
    Difference, Found, Live, LiveOptions, Part, Record, Report, Which, prepare, run_all,
};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sizes of requests, all of which are answered with themselves.
const SIZES: [usize; 3] = [1, 700, 20_000];

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ (at >> 8)) as u8).collect()
}

/// Captures a connection to the echo service, datagrams to it, and one to a port that nobody has.
fn captured(name: &str) -> Vec<Captured> {
    let scratch = Scratch::new(name);
    let path = scratch.path("run.pcap");
    in_namespace(|| {
        let mut daemon = serve(program!(), &["--pcap", &path.display().to_string()]);
        let mut stream = TcpStream::connect((V4, port::ECHO)).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        for len in SIZES {
            let request = pattern(len);
            stream.write_all(&request).expect("a request");
            let mut answer = vec![0; len];
            stream.read_exact(&mut answer).expect("an answer");
            assert!(answer == request);
        }
        stream.shutdown(Shutdown::Write).expect("an end");
        assert_eq!(stream.read(&mut [0]).expect("the end"), 0);
        for port in [port::ECHO, port::CLOSED] {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
            socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
            socket.connect((V4, port)).expect("a peer");
            socket.send(b"anybody?").expect("a datagram");
            let answered = socket.recv(&mut [0; 100]);
            assert_eq!(answered.is_ok(), port == port::ECHO, "{answered:?}");
        }
        // The last packets of the connection are on their way.
        thread::sleep(Duration::from_millis(100));
        daemon.terminate().expect("the daemon ends");
    });
    let (packets, _) = read(&path).expect("the capture");
    packets
}

fn part(found: Found) -> Part {
    let name = found.name;
    found
        .part
        .unwrap_or_else(|error| panic!("{name} cannot be replayed: {error}"))
}

fn replay(parts: Vec<Part>, live: &mut Live) -> Vec<Report> {
    run_all(parts, live, false, None::<&mut Record<Vec<u8>>>).expect("no record is written")
}

/// Reaches the daemon of this namespace, which is the thread's.
fn reach(port: Option<u16>, patience: Duration) -> Live {
    let options = LiveOptions {
        addresses: vec![V4.into()],
        port,
        control: None,
        patience,
    };
    Live::reach(options, Some("/proc/thread-self/ns/net")).expect("a device")
}

#[test]
fn the_services_of_a_daemon_answer_as_captured() {
    let packets = captured("live-services");
    let parts: Vec<Part> = prepare(&packets, Which::Host(V4.into()))
        .into_iter()
        .map(part)
        .collect();
    assert_eq!(parts.len(), 3, "a connection, datagrams, and one in vain");
    in_namespace(|| {
        let _daemon = serve(program!(), &[]);
        let mut live = reach(None, PATIENCE);
        for part in &parts {
            assert_eq!(live.refuses(part), None);
        }
        live.begin_again(Duration::ZERO);
        let reports = replay(parts.clone(), &mut live);
        for report in &reports {
            assert!(report.is_same(), "{report}");
            assert!(report.played > 0 && report.replayed_out > 0, "{report}");
        }
        let bytes: usize = SIZES.iter().sum();
        assert_eq!(reports[0].our_bytes, bytes as u64, "{}", reports[0]);
        assert_eq!(reports[0].peer_bytes, bytes as u64, "{}", reports[0]);
    });
}

#[test]
fn another_service_than_the_captured_one_is_a_difference() {
    let packets = captured("live-other");
    let first = prepare(&packets, Which::Host(V4.into())).remove(0);
    let parts = vec![part(first)];
    in_namespace(|| {
        let _daemon = serve(program!(), &[]);
        // It takes everything and says nothing.
        let mut live = reach(Some(port::DISCARD), Duration::from_secs(1));
        live.begin_again(Duration::ZERO);
        let reports = replay(parts, &mut live);
        let names_it = reports[0].differences.iter().any(|difference| {
            matches!(difference, Difference::Stuck { waiting_for, .. } if waiting_for.contains("acknowledges"))
        });
        assert!(names_it, "{}", reports[0]);
    });
}

#[test]
fn captured_applications_are_played_in_both_roles() {
    let packets = captured("live-roles");
    in_namespace(|| {
        let mut live = Live::start(program!(), PATIENCE).expect("a daemon");
        assert!(live.plays_one_at_a_time());
        for which in [Which::Servers, Which::Clients] {
            let found = prepare(&packets, which);
            assert_eq!(found.len(), 3, "{which:?}");
            for found in found {
                let name = found.name.clone();
                let part = part(found);
                assert_eq!(live.refuses(&part), None, "{name}");
                live.begin_again(part.start());
                let reports = replay(vec![part], &mut live);
                assert!(reports[0].is_same(), "{which:?}, {name}:\n{}", reports[0]);
                assert!(reports[0].played > 0, "{name}:\n{}", reports[0]);
            }
        }
    });
}

#[test]
fn what_cannot_be_replayed_live_says_why() {
    let packets = captured("live-refused");
    let first = part(prepare(&packets, Which::Clients).remove(0));
    in_namespace(|| {
        let live = reach(None, PATIENCE);
        let why = live.refuses(&first).expect("the host would connect");
        assert!(why.contains("--control PATH"), "{why}");
    });
    in_namespace(|| {
        let options = LiveOptions {
            addresses: vec!["fd77::2".parse().expect("an address")],
            ..LiveOptions::default()
        };
        let live = Live::reach(options, Some("/proc/thread-self/ns/net")).expect("a device");
        let why = live.refuses(&first).expect("no address");
        assert!(why.contains("no address of IPv4"), "{why}");
    });
    in_namespace(|| {
        let options = LiveOptions {
            addresses: vec![SocketAddr::from((V4, 0)).ip()],
            ..LiveOptions::default()
        };
        // This namespace forwards nothing, and is not named.
        let why = Live::reach(options, None).expect_err("no forwarding");
        assert!(why.contains("sysctl -w net.ipv4.ip_forward=1"), "{why}");
    });
}
