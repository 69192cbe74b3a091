//! Many clients with all kinds of behaviour at once: none of their state may be left afterwards.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::thread;
use std::time::Duration;

use netstackd::probe::ping::Pinger;
use netstackd::probe::{datagram, noise, stream};
use socket2::SockRef;
use tests::program;
use tests::world::{BOTH, Scratch, eventually, in_namespace, port, serve};

const SEED: u64 = 4_242;
const CLIENTS: u64 = 8;
const ACTIONS: u64 = 150;

/// Performs one action, chosen by `random`. An action may break its own connection; wrong bytes are an
/// error in any case.
fn perform_action(address: IpAddr, random: &[u8]) {
    let at = |port| SocketAddr::new(address, port);
    let size = 1 + usize::from(u16::from_le_bytes([random[1], random[2]])) * 3;
    let message = noise(u64::from(random[3]), size);
    match random[0] % 10 {
        0 => {
            let mut stream = stream::connect(at(port::ECHO)).expect("connected");
            stream::exchange(&mut stream, &message, &mut vec![0; size]).expect("an echo");
        }
        1 => {
            // Writes and closes without reading: its kernel answers the echo with a reset.
            let mut stream = stream::connect(at(port::ECHO)).expect("connected");
            stream.write_all(&message).expect("written");
        }
        2 => {
            let mut stream = stream::connect(at(port::ECHO)).expect("connected");
            stream.write_all(&message).expect("written");
            SockRef::from(&stream)
                .set_linger(Some(Duration::ZERO))
                .expect("linger");
        }
        3 => {
            let mut stream = stream::connect(at(port::ECHO)).expect("connected");
            stream.write_all(&message).expect("written");
            stream.shutdown(Shutdown::Write).expect("half closed");
            let mut answer = Vec::new();
            stream
                .read_to_end(&mut answer)
                .expect("everything, then the end");
            assert!(answer == message, "other bytes came back");
        }
        4 => {
            let mut stream = stream::connect(at(port::CHARGEN)).expect("connected");
            let mut characters = vec![0; size];
            stream.read_exact(&mut characters).expect("characters");
            assert!(characters.starts_with(b" !\"#"[..size.min(4)].as_ref()));
        }
        5 => {
            let mut stream = stream::connect(at(port::DISCARD)).expect("connected");
            stream.write_all(&message).expect("written");
        }
        6 => {
            // A small receive buffer: the daemon sees closed windows.
            let stream = stream::connect(at(port::ECHO)).expect("connected");
            SockRef::from(&stream)
                .set_recv_buffer_size(2_048)
                .expect("a small buffer");
            let mut writer = stream.try_clone().expect("a second handle");
            thread::scope(|scope| {
                scope.spawn(|| writer.write_all(&message).expect("written"));
                let mut answer = vec![0; size];
                (&stream).read_exact(&mut answer).expect("an echo");
                assert!(answer == message, "other bytes came back");
            });
        }
        7 => {
            let sizes = [usize::from(random[4]) * 250, 0, usize::from(random[5])];
            datagram::echo(at(port::ECHO), sizes.into_iter()).expect("an echo");
        }
        8 => {
            let ident = u16::from_le_bytes([random[6], random[7]]);
            Pinger::new(address, ident)
                .and_then(|mut p| p.ping(size % 9_000))
                .expect("an answer");
        }
        _ => {
            stream::connect(at(port::CLOSED)).expect_err("no listener");
        }
    }
}

#[test]
fn unruly_clients_leave_nothing_behind() {
    println!("seed {SEED}");
    let scratch = Scratch::new("unruly");
    let config = scratch.write("tcp.toml", "[tcp]\ntime_wait = \"100ms\"\n");
    for flags in [
        ["--offload", "on", "--queues", "4"],
        ["--offload", "off", "--queues", "2"],
    ] {
        in_namespace(|| {
            let mut daemon = serve(program!(), &[&flags[..], &["--config", &config]].concat());
            thread::scope(|scope| {
                for client in 0..CLIENTS {
                    scope.spawn(move || {
                        for number in 0..ACTIONS {
                            let random = noise(SEED + client * ACTIONS + number, 8);
                            perform_action(BOTH[usize::from(random[7]) % 2], &random);
                        }
                    });
                }
            });
            eventually("every connection is gone", || {
                daemon.counters().expect("counters").get("connections") == 0
            });
            // A connection leaves the table a turn before its task is polled for the last time.
            eventually("no task holds payload", || {
                daemon.counters().expect("counters").get("small_slabs") == 0
            });
            let counts = daemon.counters().expect("counters");
            println!(
                "{flags:?}: {} connections, {} resets in, {} out, drops {:?}",
                counts.get("tcp_passive_opens"),
                counts.get("tcp_resets_in"),
                counts.get("tcp_resets_out"),
                counts.drops_since(&Default::default())
            );
            assert_eq!(counts.get("small_slabs"), 0, "payload is still held");
            // Each worker holds one large slab to receive into.
            assert!(
                counts.get("large_slabs") <= 4,
                "{} large slabs",
                counts.get("large_slabs")
            );
            assert_eq!(counts.get("tcp_passive_opens"), counts.get("tcp_closed"));
            assert!(
                daemon.terminate().expect("it ends").success(),
                "{}",
                daemon.stderr()
            );
        });
    }
}
