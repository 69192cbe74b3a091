//! The begin and the end of connections: many at once, many in a row, half-closed, reset, refused, and
//! without an answer.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use netstackd::child::Daemon;
use netstackd::probe::{noise, stream};
use socket2::SockRef;
use tests::program;
use tests::world::{Scratch, eventually, in_namespace, nft, port, serve, targets};

fn count(daemon: &Daemon, name: &str) -> u64 {
    daemon.counters().expect("counters").get(name)
}

fn wait_until_empty(daemon: &Daemon) {
    eventually("every connection is gone", || {
        count(daemon, "connections") == 0
    });
}

#[test]
fn a_thousand_concurrent_echoing_connections() {
    const EACH: usize = 500;
    const ROUNDS: usize = 5;
    in_namespace(|| {
        let daemon = serve(program!(), &[]);
        let clients = |target: SocketAddr| -> Vec<TcpStream> {
            let mut streams: Vec<TcpStream> = (0..EACH)
                .map(|n| stream::connect(target).unwrap_or_else(|e| panic!("{n} to {target}: {e}")))
                .collect();
            for round in 0..ROUNDS {
                // All of them write before any reads, so that all are busy at once.
                let message = |n: usize| noise((round * EACH + n) as u64, 1_000 + 7 * n);
                for (n, stream) in streams.iter_mut().enumerate() {
                    stream
                        .write_all(&message(n))
                        .unwrap_or_else(|e| panic!("{n}: {e}"));
                }
                for (n, stream) in streams.iter_mut().enumerate() {
                    let mut answer = vec![0; 1_000 + 7 * n];
                    stream
                        .read_exact(&mut answer)
                        .unwrap_or_else(|e| panic!("{n}: {e}"));
                    assert!(
                        answer == message(n),
                        "connection {n}, round {round}: other bytes"
                    );
                }
            }
            streams
        };
        let streams: Vec<TcpStream> = thread::scope(|scope| {
            let both = targets(port::ECHO).map(|target| scope.spawn(move || clients(target)));
            both.into_iter()
                .flat_map(|clients| clients.join().expect("clients"))
                .collect()
        });
        assert_eq!(count(&daemon, "connections"), 2 * EACH as u64);
        println!(
            "{} connections echoed {ROUNDS} rounds at once",
            streams.len()
        );
        drop(streams);
        wait_until_empty(&daemon);
    });
}

#[test]
fn a_half_closed_connection_still_echoes() {
    in_namespace(|| {
        let daemon = serve(program!(), &[]);
        for target in targets(port::ECHO) {
            let mut stream = stream::connect(target).expect("connected");
            let message = noise(3, 300_000);
            let mut writer = stream.try_clone().expect("a second handle");
            let written = message.clone();
            let writing = thread::spawn(move || {
                writer.write_all(&written).expect("written");
                writer.shutdown(Shutdown::Write).expect("half closed");
            });
            let mut answer = Vec::new();
            stream
                .read_to_end(&mut answer)
                .expect("everything, then the end");
            writing.join().expect("the writer");
            assert!(
                answer == message,
                "{} of {} bytes came back",
                answer.len(),
                message.len()
            );
        }
        wait_until_empty(&daemon);
        assert_eq!(
            count(&daemon, "tcp_resets_out") + count(&daemon, "tcp_resets_in"),
            0
        );
    });
}

#[test]
fn a_service_that_closes_first_ends_in_time_wait_only() {
    let scratch = Scratch::new("time-wait");
    let config = scratch.write("tcp.toml", "[tcp]\ntime_wait = \"300ms\"\n");
    in_namespace(|| {
        let daemon = serve(program!(), &["--config", &config]);
        for target in targets(port::DAYTIME) {
            let line = stream::read_all(target, b"").expect("a line, then the end");
            assert!(line.ends_with(b"-UTC\r\n"), "{line:?}");
        }
        wait_until_empty(&daemon);
    });
}

#[test]
fn a_reset_ends_a_connection_at_once() {
    in_namespace(|| {
        let daemon = serve(program!(), &[]);
        for (before, target) in targets(port::ECHO).into_iter().enumerate() {
            let mut stream = stream::connect(target).expect("connected");
            stream::exchange(&mut stream, b"hello", &mut [0; 5]).expect("an echo");
            assert_eq!(count(&daemon, "connections"), 1);
            SockRef::from(&stream)
                .set_linger(Some(std::time::Duration::ZERO))
                .expect("linger");
            drop(stream);
            wait_until_empty(&daemon);
            assert_eq!(count(&daemon, "tcp_resets_in"), before as u64 + 1);
        }
    });
}

#[test]
fn a_closed_port_refuses_at_once() {
    in_namespace(|| {
        let daemon = serve(program!(), &[]);
        for target in targets(port::CLOSED) {
            let error = stream::connect(target).expect_err("no listener");
            assert_eq!(
                error.kind(),
                ErrorKind::ConnectionRefused,
                "{target}: {error}"
            );
        }
        // One SYN each: the first answer was the refusal.
        assert_eq!(count(&daemon, "drop.tcp_no_listener"), 2);
        assert_eq!(count(&daemon, "tcp_resets_out"), 2);
        assert_eq!(count(&daemon, "connections"), 0);
    });
}

#[test]
fn a_peer_that_vanishes_is_given_up() {
    let scratch = Scratch::new("vanish");
    let config = scratch.write(
        "tcp.toml",
        "[tcp]\nrto_max = \"1s\"\nrto_initial = \"500ms\"\ndata_retries = 4\nsyn_retries = 2\n\
         keepalive_idle = \"1s\"\nkeepalive_interval = \"500ms\"\nkeepalive_probes = 3\n",
    );
    in_namespace(|| {
        let daemon = serve(program!(), &["--config", &config]);
        let mut kept = Vec::new();
        for target in targets(port::ECHO) {
            // An idle connection: only keepalive finds out.
            let mut idle = stream::connect(target).expect("connected");
            stream::exchange(&mut idle, b"hello", &mut [0; 5]).expect("an echo");
            kept.push(idle);
        }
        for target in targets(port::CHARGEN) {
            // A connection with data in flight: retransmission must give up.
            let mut busy = stream::connect(target).expect("connected");
            busy.read_exact(&mut [0; 1_000]).expect("characters");
            kept.push(busy);
        }
        assert_eq!(count(&daemon, "connections"), 4);
        nft(
            "table inet gone { chain in { type filter hook input priority 0; drop; }; \
             chain out { type filter hook output priority 0; drop; }; }",
        );
        eventually("every connection was given up", || {
            count(&daemon, "connections") == 0
        });
        println!("{} connections without a peer were given up", kept.len());
    });
}

/// Returns the numbers of large and of small slabs when they have stayed the same for two seconds: slabs that nothing
/// needed for one go back to the system.
fn slabs_at_rest(daemon: &Daemon) -> (u64, u64) {
    let slabs = || {
        let counts = daemon.counters().expect("counters");
        (counts.get("large_slabs"), counts.get("small_slabs"))
    };
    let mut last = slabs();
    eventually("the numbers of slabs stay the same", || {
        thread::sleep(Duration::from_secs(2));
        let before = std::mem::replace(&mut last, slabs());
        before == last
    });
    last
}

#[test]
fn twenty_thousand_connections_in_a_row_leave_nothing() {
    const TOTAL: u64 = 20_000;
    let scratch = Scratch::new("sequential");
    let config = scratch.write("tcp.toml", "[tcp]\ntime_wait = \"100ms\"\n");
    in_namespace(|| {
        let daemon = serve(program!(), &["--config", &config]);
        let [v4, v6] = targets(port::ECHO);
        let state = || {
            wait_until_empty(&daemon);
            (
                slabs_at_rest(&daemon),
                daemon.resident_bytes(),
                count(&daemon, "tcp_passive_opens"),
            )
        };
        // Pools and tables reach their working size before the measurement.
        stream::connections(v4, TOTAL / 4, 100).expect("to warm up");
        stream::connections(v6, TOTAL / 4, 100).expect("to warm up");
        let (slabs, resident, opened) = state();
        stream::connections(v4, TOTAL / 2, 100).expect("each one served");
        stream::connections(v6, TOTAL / 2, 100).expect("each one served");
        let (slabs_after, resident_after, opened_after) = state();
        println!(
            "{TOTAL} connections: slabs {slabs:?} then {slabs_after:?}, resident {resident} then \
             {resident_after} bytes"
        );
        assert_eq!(opened_after - opened, TOTAL);
        assert_eq!(slabs_after, slabs, "buffers are still held");
        // Less than 100 bytes for each connection. What the heap had in use at its most goes back when it is quiet.
        eventually("memory is given back", || {
            daemon.resident_bytes() < resident + 100 * TOTAL
        });
    });
}

#[test]
fn an_idle_connection_costs_at_most_two_kibibytes() {
    const EACH: usize = 3_500;
    const WARM: usize = 500;
    in_namespace(|| {
        let daemon = serve(program!(), &[]);
        let open = |target: SocketAddr, count: usize| -> Vec<TcpStream> {
            let mut answer = [0; 5];
            let used = |n: usize| {
                let mut stream = stream::connect(target)?;
                // It carries data once: the memory for that must be given back.
                stream::exchange(&mut stream, b"hello", &mut answer)
                    .map(|()| stream)
                    .map_err(|e| std::io::Error::other(format!("connection {n}: {e}")))
            };
            (0..count)
                .map(used)
                .collect::<Result<_, _>>()
                .expect("connected")
        };
        let [v4, v6] = targets(port::ECHO);
        // The first thousand also take what all share: the device's buffers and the first steps of the tables.
        let warm = (open(v4, WARM), open(v6, WARM));
        let before = daemon.resident_bytes();
        let idle = (open(v4, EACH), open(v6, EACH));
        let after = daemon.resident_bytes();
        assert_eq!(count(&daemon, "connections"), 2 * (EACH + WARM) as u64);
        let each = (after - before) / (2 * EACH as u64);
        println!("{} idle connections, {each} resident bytes each", 2 * EACH);
        assert!(each <= 2_048, "{each} bytes");
        drop((warm, idle));
        wait_until_empty(&daemon);
    });
}

#[test]
fn the_memory_of_a_peak_of_connections_goes_back_to_the_system() {
    const EACH: usize = 8_000;
    /// Bytes that tables and lists of their working size may add to the memory of a daemon that has just started.
    const KEPT: u64 = 3 << 20;
    in_namespace(|| {
        let daemon = serve(program!(), &[]);
        let before = daemon.resident_bytes();
        let mut answer = [0; 5];
        let mut open = |target: SocketAddr| {
            let mut stream = stream::connect(target).expect("connected");
            stream::exchange(&mut stream, b"hello", &mut answer).expect("an echo");
            stream
        };
        let all =
            targets(port::ECHO).map(|target| (0..EACH).map(|_| open(target)).collect::<Vec<_>>());
        assert_eq!(count(&daemon, "connections"), 2 * EACH as u64);
        let peak = daemon.resident_bytes();
        drop(all);
        wait_until_empty(&daemon);
        eventually("memory is given back", || {
            daemon.resident_bytes() < before + KEPT
        });
        let after = daemon.resident_bytes();
        println!(
            "{before} bytes resident, {peak} with {} connections, {after} without",
            2 * EACH
        );
        assert!(peak > before + 3 * KEPT, "{peak} bytes: not a peak");
    });
}
