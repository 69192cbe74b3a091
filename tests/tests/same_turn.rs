//! One batch of packets ends a connection and opens a new one with the same addresses and ports: the
//! stack accepts the new one, although the old one leaves the tables only at the end of the turn.

use std::net::SocketAddr;

use netstack::base::{Config, Counters, Instant};
use netstack::device::Device as _;
use netstack::device::memory::{self, LinkConfig};
use netstack::engine::sim::Simulation;
use netstack::net::{Stack, TcpListener};
use netstack::stack::Host;
use packet::frame::TxPacket;
use packet::ip::{IpPacket, Ipv4};
use packet::tcp::{TcpFlags, TcpHeader, TcpView};
use packet::{Buffers, RxChecksum};
use tools::virtual_stack::segment;

fn from_client(seq: u32, ack: u32, flags: TcpFlags) -> TxPacket {
    let from: SocketAddr = "10.77.0.1:4000".parse().expect("address");
    let to: SocketAddr = "10.77.0.2:7".parse().expect("address");
    let header = TcpHeader {
        seq,
        ack,
        flags,
        window: 65_535,
        ..TcpHeader::default()
    };
    segment(from, to, &header, &[]).expect("a packet")
}

#[test]
fn a_port_reused_in_the_turn_that_freed_it() {
    let (mut client, server) = memory::pair(&LinkConfig::default());
    let mut sim = Simulation::new(Instant::from_millis(1));
    let address = "10.77.0.2".parse().expect("address");
    let caps = server.caps();
    let shared = Host::new(Config::default(), &[(address, 24)], caps, 1, [9; 32]).expect("stack");
    sim.add(&shared, 0, server);
    let stack = Stack::from_host(shared);
    let listener = TcpListener::bind_now(&stack, SocketAddr::new(address, 7)).expect("bind");

    let (buffers, counters) = (Buffers::new(2_048, 64, 64), Counters::new());
    let mut exchange = |batch: Vec<TxPacket>| {
        let mut batch = batch;
        client.send_batch(&mut batch, &counters).expect("sent");
        let limit = sim.now();
        sim.step(limit).expect("step");
        let mut received = Vec::new();
        client
            .recv_batch(&mut received, 16, &buffers, sim.now(), &counters)
            .expect("received");
        received
            .iter()
            .map(|packet| {
                let ip = IpPacket::<Ipv4>::parse(&packet.data).expect("IPv4");
                let (src, dst) = (ip.src().into(), ip.dst().into());
                TcpView::parse(src, dst, ip.payload(), RxChecksum::Unknown)
                    .expect("TCP")
                    .header()
            })
            .collect::<Vec<_>>()
    };

    let answers = exchange(vec![from_client(100, 0, TcpFlags::SYN)]);
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(answers[0].flags, TcpFlags::SYN | TcpFlags::ACK);
    let ours = answers[0].seq.wrapping_add(1);
    let answers = exchange(vec![from_client(101, ours, TcpFlags::ACK)]);
    assert!(answers.is_empty(), "{answers:?}");

    let answers = exchange(vec![
        from_client(101, ours, TcpFlags::RST | TcpFlags::ACK),
        from_client(90_000, 0, TcpFlags::SYN),
    ]);
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(
        answers[0].flags,
        TcpFlags::SYN | TcpFlags::ACK,
        "{answers:?}"
    );
    assert_eq!(answers[0].ack, 90_001);
    drop(listener);
}
