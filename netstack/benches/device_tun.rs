//! Measures the cost of a packet on each TUN device, received and sent, small and large.
//!
//! Run `cargo bench -p netstack --bench device_tun` with the rights that `tests/device_tun/host.rs` lists. It
//! creates its own network namespace, and prints nanoseconds per packet of the calling thread: the least of
//! several rounds, because other work on the machine only adds to it.

#![allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Instant as Clock;

use bytes::Bytes;
use netstack::base::{Counters, Instant};
use netstack::device::{Device, OffloadMode, TunConfig, open};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{setsockopt, sockopt::UdpGsoSegment};
use packet::build::{IpFields, TxChecksum, prepend_ip, prepend_udp};
use packet::frame::{ChecksumOffload, SegmentKind, SegmentOffload, TxPacket};
use packet::udp::UdpHeader;
use packet::{Buffers, IpProto, Payload};

const HOST: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 1);
const OURS: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 2);
const ROUNDS: usize = 20;
const PACKETS: usize = 512;
const BATCH: usize = 64;
const SEGMENT: u16 = 1_400;

struct Bench {
    device: Box<dyn Device>,
    buffers: Buffers,
    counters: Counters,
    socket: UdpSocket,
}

impl Bench {
    /// Returns the nanoseconds to read one of `PACKETS` datagrams of `len` bytes from the kernel's queue.
    fn read(&mut self, len: usize) -> f64 {
        let payload = vec![7; len];
        let mut best = f64::MAX;
        let mut out = Vec::with_capacity(BATCH);
        for _ in 0..ROUNDS {
            for _ in 0..PACKETS {
                self.socket.send(&payload).expect("send");
            }
            let mut count = 0;
            let start = Clock::now();
            loop {
                let got = self
                    .device
                    .recv_batch(
                        &mut out,
                        BATCH,
                        &self.buffers,
                        Instant::ZERO,
                        &self.counters,
                    )
                    .expect("receive");
                out.clear();
                if got == 0 {
                    break;
                }
                count += got;
            }
            let took = start.elapsed().as_nanos() as f64 / count.max(1) as f64;
            assert!(count >= PACKETS);
            best = best.min(took);
        }
        best
    }

    /// Returns the nanoseconds to write one datagram of `len` bytes, which the kernel delivers to a socket.
    fn write(&mut self, len: usize, offload: bool) -> f64 {
        let to = self.socket.local_addr().expect("address");
        let payload = Payload::from(Bytes::from(vec![7; len]));
        let mut best = f64::MAX;
        for _ in 0..ROUNDS {
            let mut batches: Vec<Vec<TxPacket>> = (0..PACKETS / BATCH)
                .map(|_| (0..BATCH).map(|_| udp(to, &payload, offload)).collect())
                .collect();
            let start = Clock::now();
            for batch in &mut batches {
                self.device.send_batch(batch, &self.counters).expect("send");
            }
            best = best.min(start.elapsed().as_nanos() as f64 / PACKETS as f64);
        }
        best
    }
}

fn udp(to: SocketAddr, payload: &Payload, offload: bool) -> TxPacket {
    let mut packet = TxPacket {
        payload: payload.clone().into(),
        ..TxPacket::default()
    };
    let (src, dst) = (IpAddr::V4(OURS), to.ip());
    let checksum = if offload {
        TxChecksum::Partial
    } else {
        TxChecksum::Full
    };
    prepend_udp(
        &mut packet.head,
        &UdpHeader {
            src_port: 9,
            dst_port: to.port(),
            len: 0,
        },
        src,
        dst,
        std::iter::once(&payload[..]),
        payload.len(),
        checksum,
    )
    .expect("fits");
    let fields = IpFields {
        src,
        dst,
        proto: IpProto::UDP,
        ttl: 64,
        traffic_class: 0,
        ident: 0,
        dont_fragment: true,
        flow_label: 0,
    };
    prepend_ip(&mut packet.head, &fields, payload.len()).expect("fits");
    if offload {
        packet.offload.checksum = Some(ChecksumOffload {
            start: 20,
            offset: 6,
        });
        packet.offload.segment = (payload.len() > usize::from(SEGMENT)).then_some(SegmentOffload {
            kind: SegmentKind::Udp,
            size: SEGMENT,
            header_len: 28,
        });
    }
    packet
}

fn measure(offload: OffloadMode, queues: usize) {
    let mut config = TunConfig::new("t0");
    config.host_v4 = Some((HOST, 24));
    config.offload = offload;
    config.queues = queues;
    let device = open(&config).expect("a TUN device: run as root").remove(0);
    let socket = UdpSocket::bind((HOST, 0)).expect("bind");
    socket.connect((OURS, 9)).expect("connect");
    let mut bench = Bench {
        buffers: Buffers::new(device.caps().slab_bytes(), 2 * BATCH, 2 * BATCH),
        counters: Counters::new(),
        device,
        socket,
    };
    let on = offload == OffloadMode::On;
    for len in [64, SEGMENT.into()] {
        let (read, write) = (bench.read(len), bench.write(len, on));
        println!(
            "{offload:?} {queues} queue  {len:>6} B  read {read:>6.0} ns  write {write:>6.0} ns"
        );
    }
    if on {
        let len = usize::from(SEGMENT) * 45;
        setsockopt(&bench.socket, UdpGsoSegment, &i32::from(SEGMENT)).expect("UDP_SEGMENT");
        let (read, write) = (bench.read(len), bench.write(len, true));
        println!(
            "{offload:?} {queues} queue  {len:>6} B  read {read:>6.0} ns  write {write:>6.0} ns"
        );
    }
}

fn main() {
    unshare(CloneFlags::CLONE_NEWNET)
        .expect("a new network namespace: run as root, or under unshare --user --map-root-user");
    measure(OffloadMode::On, 1);
    measure(OffloadMode::Off, 1);
}
