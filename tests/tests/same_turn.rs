//! Events within one turn of a worker. One batch of packets ends a connection and opens a new one with the same
//! addresses and ports: the stack accepts the new one, although the old one leaves the tables only at the end of the turn.
//! And a packet that comes after a change of addresses finds it, although the turn had begun before.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use netstack::base::{Config, Counters, Instant, LinkCaps};
use netstack::device::memory::{self, LinkConfig};
use netstack::device::{Device, Unpark};
use netstack::engine::sim::Simulation;
use netstack::ip::prefix::Prefix;
use netstack::net::{Stack, TcpListener};
use netstack::stack::Host;
use packet::frame::{RxPacket, TxPacket};
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

/// A link on which something happens while the stack reads from it for the first time.
struct Meanwhile<F> {
    link: memory::LinkDevice,
    happens: Option<F>,
}

impl<F: FnOnce() + Send + 'static> Device for Meanwhile<F> {
    fn caps(&self) -> LinkCaps {
        self.link.caps()
    }

    fn recv_batch(
        &mut self,
        out: &mut Vec<RxPacket>,
        max: usize,
        buffers: &Buffers,
        now: Instant,
        counters: &Counters,
    ) -> io::Result<usize> {
        if let Some(happens) = self.happens.take() {
            happens();
        }
        self.link.recv_batch(out, max, buffers, now, counters)
    }

    fn send_batch(&mut self, batch: &mut Vec<TxPacket>, counters: &Counters) -> io::Result<()> {
        self.link.send_batch(batch, counters)
    }

    fn park(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.link.park(timeout)
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        self.link.unparker()
    }
}

/// A packet that was sent once the call had returned finds the address, however late in the worker's turn that was.
#[test]
fn an_address_that_was_added_before_a_packet_was_read() {
    let (mut client, link) = memory::pair(&LinkConfig::default());
    let now = Instant::from_millis(1);
    let first: Prefix = "10.77.0.9/24".parse().expect("an address");
    let added: Prefix = "10.77.0.2/24".parse().expect("an address");
    let stack = Arc::new(OnceLock::<Stack>::new());
    let adds = Arc::clone(&stack);
    let device = Meanwhile {
        link,
        happens: Some(move || {
            let stack = adds.get().expect("it runs");
            stack.add_address(added).expect("room for it");
        }),
    };
    let builder = Stack::builder().address(first.address(), 24);
    let (made, mut turns) = builder
        .manual(vec![Box::new(device)], now)
        .expect("a stack");
    let listener = TcpListener::bind_now(&made, "0.0.0.0:7").expect("bind");
    stack.set(made).expect("once");

    let (buffers, counters) = (Buffers::new(2_048, 64, 64), Counters::new());
    let mut syn = vec![from_client(100, 0, TcpFlags::SYN)];
    client.send_batch(&mut syn, &counters).expect("sent");
    turns[0].turn(now).expect("a turn");
    let mut answers = Vec::new();
    client
        .recv_batch(&mut answers, 16, &buffers, now, &counters)
        .expect("received");
    assert_eq!(answers.len(), 1, "{:?}", stack.get().map(Stack::counters));
    drop(listener);
}
