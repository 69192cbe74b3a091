//! Memory that runs short: clients that write and never read hold as much as they can, and the stack
//! still answers pings, opens and serves other connections, and gets all of its memory back.

use std::io::{ErrorKind, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use netstackd::probe::ping::Pinger;
use netstackd::probe::{noise, stream};
use socket2::SockRef;
use tests::program;
use tests::world::{Scratch, eventually, in_namespace, port, serve, targets};

/// Writes until the sockets have taken nothing for `quiet`, for ten seconds at most; returns how much
/// they took. Clients that the stack aborts, which is its last resort, are dropped.
#[expect(
    clippy::disallowed_methods,
    reason = "the kernel's sockets work on the machine's clock"
)]
fn fill(streams: &mut Vec<TcpStream>, quiet: Duration) -> usize {
    let block = noise(1, 64 << 10);
    let mut written = 0;
    let start = Instant::now();
    let mut last = start;
    for stream in streams.iter() {
        stream.set_nonblocking(true).expect("nonblocking");
    }
    while last.elapsed() < quiet && start.elapsed() < Duration::from_secs(10) {
        streams.retain_mut(|stream| {
            match stream.write(&block) {
                Ok(count) => {
                    written += count;
                    last = Instant::now();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return false,
                Err(error) => panic!("a client that only writes: {error}"),
            }
            true
        });
        std::thread::sleep(Duration::from_millis(5));
    }
    written
}

/// Clients with small segments pin the most memory for each byte.
fn clients(count: usize, mss: u32) -> Vec<TcpStream> {
    let [target, _] = targets(port::ECHO);
    let client = |n| {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(target),
            socket2::Type::STREAM,
            None,
        )
        .expect("a socket");
        socket.set_tcp_mss(mss).expect("an MSS");
        // The stack's memory is to be filled, not the kernel's.
        socket
            .set_send_buffer_size(64 << 10)
            .expect("a send buffer");
        socket
            .connect_timeout(&target.into(), Duration::from_secs(10))
            .unwrap_or_else(|e| panic!("client {n}: {e}"));
        socket.into()
    };
    (0..count).map(client).collect()
}

fn others_are_served() {
    let [target, _] = targets(port::ECHO);
    let mut ping = Pinger::new(target.ip(), 77).expect("a raw socket");
    for len in [56, 1_400] {
        ping.ping(len).expect("a ping is answered");
    }
    let message = noise(2, 3_000);
    let mut answer = vec![0; message.len()];
    for _ in 0..5 {
        let mut stream = stream::connect(target).expect("a connection is opened");
        stream::exchange(&mut stream, &message, &mut answer).expect("and served");
        assert_eq!(answer, message);
        SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .expect("linger");
    }
}

/// The limits within which clients that never read are to be held.
struct Memory<'a> {
    flags: &'a [&'a str],
    config: &'a str,
}

fn clients_that_never_read(memory: &Memory<'_>, count: usize, mss: u32) {
    in_namespace(|| {
        let scratch = Scratch::new("pressure");
        let file = scratch.write("config.toml", memory.config);
        let flags = [memory.flags, &["--config", &file]].concat();
        let daemon = serve(program!(), &flags);
        let counters = || daemon.counters().expect("counters");
        let mut hogs = clients(count, mss);
        let written = fill(&mut hogs, Duration::from_secs(1));
        let full = counters();
        let resident = daemon.resident_bytes() / 1_024;
        println!(
            "{count} clients wrote {written} bytes and read none, {} are left; memory {} of {} used, level {}, \
             {resident} KiB resident",
            hogs.len(),
            full.get("memory_used"),
            full.get("memory_limit"),
            full.get("memory_level"),
        );
        assert!(full.get("memory_allocated") <= full.get("memory_limit"));
        // Each has its share: nobody had to be given up.
        assert_eq!(hogs.len(), count, "clients that are left");
        others_are_served();
        // Those that hold may still write and be heard; their ends are heard, too.
        drop(hogs);
        let closed = netstackd::probe::now();
        others_are_served();
        eventually("every connection is gone", || {
            counters().get("connections") == 0
        });
        eventually("every slab is back", || {
            let counters = counters();
            counters.get("large_slabs") <= 4 && counters.get("memory_used") < 400_000
        });
        println!("all is back after {:?}", netstackd::probe::now() - closed);
        // What the peak took goes back to the system.
        eventually("the peak is given back", || {
            counters().get("memory_allocated") < 16 << 20
        });
        println!(
            "{} KiB resident when the slabs were freed",
            daemon.resident_bytes() / 1_024
        );
        if resident > 100_000 {
            eventually("resident memory falls", || {
                daemon.resident_bytes() / 1_024 < resident / 2
            });
        }
        println!(
            "{} KiB resident in the end",
            daemon.resident_bytes() / 1_024
        );
    });
}

/// The default, whatever it is on this machine.
const DEFAULT: Memory<'static> = Memory {
    flags: &[],
    config: "",
};

#[test]
fn twenty_five_clients_that_never_read_do_not_stop_the_default_configuration() {
    clients_that_never_read(&DEFAULT, 25, 750);
}

#[test]
fn clients_that_never_read_do_not_stop_a_stack_with_little_memory() {
    let memory = Memory {
        config: "max_large_slabs = 32\nmax_small_slabs = 512\n",
        ..DEFAULT
    };
    clients_that_never_read(&memory, 40, 536);
}

#[test]
fn a_thousand_clients_that_never_read_do_not_stop_the_default_configuration() {
    clients_that_never_read(&DEFAULT, 1_000, 1_400);
}

/// A phone's memory.
#[test]
fn clients_that_never_read_do_not_stop_a_stack_with_fifteen_megabytes() {
    let memory = Memory {
        flags: &["--memory", "15M"],
        ..DEFAULT
    };
    clients_that_never_read(&memory, 300, 1_400);
}

#[test]
fn a_ping_is_answered_from_the_reserve() {
    // So little memory that the hogs hold every slab.
    in_namespace(|| {
        let scratch = Scratch::new("pressure-reserve");
        let file = scratch.write(
            "config.toml",
            "max_large_slabs = 16\nmax_small_slabs = 64\n",
        );
        let daemon = serve(program!(), &["--config", &file]);
        let mut hogs = clients(60, 536);
        fill(&mut hogs, Duration::from_secs(1));
        let mut ping = Pinger::new(Ipv4Addr::new(10, 77, 0, 2).into(), 78).expect("a raw socket");
        for _ in 0..5 {
            ping.ping(1_400).expect("a ping is answered");
        }
        drop(hogs);
        eventually("every connection is gone", || {
            daemon.counters().expect("counters").get("connections") == 0
        });
        others_are_served();
    });
}
