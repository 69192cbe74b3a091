//! The largest segment of a socket's options, on both ends of a connection, on virtual time.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use netstack::base::{Config, Instant};
use netstack::device::Device as _;
use netstack::device::memory::{self, LinkConfig};
use netstack::engine::sim::Simulation;
use netstack::net::{Stack, TcpSocket};
use netstack::stack::Host;

/// Payload that the timestamps option leaves of a segment of 1,000 bytes.
const EXPECTED: u16 = 988;

/// Returns the payload of a full segment that the client and the server send, with a limit of 1,000 bytes for one of
/// them.
fn segments(limits_server: bool) -> [u16; 2] {
    let (a, b) = memory::pair(&LinkConfig::default());
    let mut sim = Simulation::new(Instant::from_millis(1_000));
    let mut add = |device: memory::LinkDevice, number: u8| {
        let address: IpAddr = [10, 77, 0, number].into();
        let caps = device.caps();
        let host = Host::new(Config::default(), &[(address, 24)], caps, 1, [number; 32]);
        let host = host.expect("a host");
        let place = sim.add(&host, 0, device);
        (Stack::from_host(host), place)
    };
    let (client, client_place) = add(a, 1);
    let (server, server_place) = add(b, 2);
    let socket = TcpSocket::new_v4(&server);
    socket
        .bind(([10, 77, 0, 2], 80).into())
        .expect("a free port");
    let connecting = TcpSocket::new_v4(&client);
    let limited = if limits_server { &socket } else { &connecting };
    limited.set_max_segment(1_000).expect("enough");
    let listener = socket.listen(8).expect("a listener");
    let found = Arc::new([AtomicU16::new(0), AtomicU16::new(0)]);
    let (at_client, at_server) = (Arc::clone(&found), Arc::clone(&found));
    sim.spawn(
        server_place,
        Box::pin(async move {
            let (stream, _) = listener.accept().await.expect("a connection");
            at_server[1].store(stream.info().mss, Ordering::Relaxed);
        }),
    );
    sim.spawn(
        client_place,
        Box::pin(async move {
            let to = ([10, 77, 0, 2], 80).into();
            let stream = connecting.connect(to).await.expect("a connection");
            at_client[0].store(stream.info().mss, Ordering::Relaxed);
        }),
    );
    let limit = Instant::from_millis(60_000);
    let is_done = || found.iter().all(|mss| mss.load(Ordering::Relaxed) > 0);
    for _ in 0..10_000 {
        if is_done() {
            break;
        }
        sim.step(limit).expect("the link works");
    }
    [0, 1].map(|end: usize| found[end].load(Ordering::Relaxed))
}

#[test]
fn a_listener_sends_no_larger_segments_than_its_options_allow() {
    assert_eq!(segments(true), [EXPECTED; 2]);
}

#[test]
fn an_active_open_sends_no_larger_segments_than_its_options_allow() {
    assert_eq!(segments(false), [EXPECTED; 2]);
}
