//! Tests of every TUN device: packets in and out, both families, parking and unparking.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use netstack::base::counters::Counter;
use netstack::base::{DropReason, Instant};
use netstack::device::{OffloadMode, kernel_drops};
use packet::Buffers;
use packet::checksum::RxChecksum;

use crate::host::{HOST_V4, OURS_V4, PAIRS, PATIENCE, Tun, config, in_namespace, kinds};
use crate::wire::{self, Checksum, Seen};

#[test]
fn a_datagram_of_the_kernel_arrives_whole() {
    for config in kinds() {
        in_namespace(move || {
            let mut tun = Tun::open(&config);
            for (host, ours) in PAIRS {
                // No wait between open and bind: the address must be usable at once.
                let socket = UdpSocket::bind((host, 0)).expect("bind at once");
                let from = socket.local_addr().expect("address");
                for len in [0, 1, 5, 1000, 1452] {
                    let sent: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
                    socket.send_to(&sent, (ours, 7)).expect("send");
                    tun.wait(|packet| {
                        let seen = Seen::of(&packet.data);
                        if seen.proto != wire::UDP {
                            return None;
                        }
                        assert_eq!(seen.source(), from);
                        assert_eq!((seen.dst, seen.dst_port()), (ours, 7));
                        assert_eq!(&seen.transport[8..], sent);
                        assert_eq!(packet.gso_size, 0);
                        assert_eq!(packet.arrived_nanos, 77);
                        match packet.checksum {
                            RxChecksum::Unknown => assert!(seen.is_intact(), "{config:?} {len}"),
                            RxChecksum::Vouched => assert_eq!(config.offload, OffloadMode::On),
                        }
                        Some(())
                    });
                }
            }
            assert!(tun.counters.count(Counter::PacketsIn) >= 10);
            assert!(tun.counters.count(Counter::BytesIn) > 2 * 2458);
        });
    }
}

#[test]
fn a_datagram_of_ours_arrives_whole() {
    for config in kinds() {
        in_namespace(move || {
            let mut tun = Tun::open(&config);
            for (host, ours) in PAIRS {
                let socket = UdpSocket::bind((host, 0)).expect("bind");
                socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
                let to = socket.local_addr().expect("address");
                for checksum in [Checksum::Full, Checksum::Partial] {
                    for len in [0, 1, 2, 3, 400, 800, 1452] {
                        let sent: Vec<u8> = (0..len).map(|i| (i * 13) as u8).collect();
                        let from = SocketAddr::new(ours, 9);
                        tun.send(wire::udp(from, to, &sent, checksum, None));
                        let mut got = [0; 2000];
                        let (count, source) = socket.recv_from(&mut got).expect("arrives");
                        assert_eq!((&got[..count], source), (&sent[..], from), "{config:?}");
                    }
                }
            }
            assert_eq!(tun.counters.count(Counter::PacketsOut), 28);
            assert_eq!(tun.counters.dropped(DropReason::TransmitFailed), 0);
        });
    }
}

#[test]
fn the_kernel_answers_echo_requests() {
    for config in kinds() {
        in_namespace(move || {
            let mut tun = Tun::open(&config);
            for (host, ours) in PAIRS {
                let sent: Vec<u8> = (0..1400).map(|i| (i * 3) as u8).collect();
                tun.send(wire::echo(ours, host, &sent));
                tun.wait(|packet| {
                    let seen = Seen::of(&packet.data);
                    if !matches!(
                        (seen.proto, seen.transport[0]),
                        (wire::ICMP, 0) | (wire::ICMPV6, 129)
                    ) {
                        return None;
                    }
                    assert!(seen.is_intact());
                    assert_eq!((seen.src, seen.dst), (host, ours));
                    assert_eq!(&seen.transport[8..], sent);
                    Some(())
                });
            }
        });
    }
}

#[test]
fn a_refused_connection_is_refused_at_once() {
    for config in kinds() {
        in_namespace(move || {
            let mut tun = Tun::open(&config);
            for (_, ours) in PAIRS {
                let to = SocketAddr::new(ours, 80);
                // Threads inherit the namespace.
                let client = std::thread::spawn(move || TcpStream::connect_timeout(&to, PATIENCE));
                let (from, syn) = tun.wait(|packet| {
                    let seen = Seen::of(&packet.data);
                    (seen.proto == wire::TCP).then(|| (seen.source(), seen.tcp()))
                });
                assert_eq!(syn.flags & wire::SYN, wire::SYN);
                let reset = wire::Tcp {
                    seq: 0,
                    ack: syn.seq.wrapping_add(1),
                    flags: wire::RST | wire::ACK,
                };
                tun.send(wire::tcp(to, from, reset, &[], Checksum::Full, None));
                let error = client.join().expect("client").expect_err("refused");
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
            }
        });
    }
}

#[test]
fn unpark_ends_a_park_before_and_during_it() {
    for config in kinds() {
        in_namespace(move || {
            let mut tun = Tun::open(&config);
            // Read the kernel's own packets first, which would end the park, too.
            for _ in 0..5 {
                tun.poll();
            }
            for device in &mut tun.devices {
                let unparker = device.unparker();
                unparker.unpark();
                device.park(None).expect("returns at once");
                std::thread::scope(|scope| {
                    scope.spawn(|| unparker.unpark());
                    device.park(None).expect("returns when unparked");
                });
            }
        });
    }
}

#[test]
fn an_empty_pool_costs_packets_and_nothing_else() {
    for config in kinds() {
        in_namespace(move || {
            let mut tun = Tun::open(&config);
            for _ in 0..5 {
                tun.poll();
            }
            let slab = tun.devices[0].caps().slab_bytes();
            let socket = UdpSocket::bind((HOST_V4, 0)).expect("bind");
            socket.connect((OURS_V4, 7)).expect("connect");
            let drops = |tun: &Tun| tun.counters.dropped(DropReason::NoReceiveBuffer);

            // No slab at all: each packet is taken off the queue and counted.
            tun.buffers = Buffers::new(slab, 0, 0);
            let before = (tun.counters.count(Counter::PacketsIn), drops(&tun));
            for _ in 0..10 {
                socket.send(b"lost").expect("send");
            }
            assert!(tun.poll().is_empty());
            let took = tun.counters.count(Counter::PacketsIn) - before.0;
            assert!(took >= 10, "{took} of 10");
            assert_eq!(drops(&tun) - before.1, took);

            // A few slabs: as many packets as fit are received, and the rest counted. All slabs are free
            // afterwards.
            tun.buffers = Buffers::new(slab, 2, 3);
            for _ in 0..10 {
                socket.send(b"some").expect("send");
            }
            let held = tun.poll();
            assert!((3..=5).contains(&held.len()), "{} packets held", held.len());
            drop(held);
            socket.send(b"more").expect("send");
            tun.wait(|packet| packet.data.ends_with(b"more").then_some(()));
        });
    }
}

#[test]
fn the_queue_holds_ten_thousand_packets_and_drops_are_seen() {
    for config in [config(OffloadMode::On, 1), config(OffloadMode::Off, 1)] {
        in_namespace(move || {
            const SENT: u64 = 10_100;
            let mut tun = Tun::open(&config);
            let socket = UdpSocket::bind((HOST_V4, 0)).expect("bind");
            socket.connect((OURS_V4, 7)).expect("connect");
            for _ in 0..SENT {
                socket.send(b"x").expect("send");
            }
            let dropped = kernel_drops("t0").expect("statistics");
            let mut received = 0;
            loop {
                let packets = tun.poll();
                if packets.is_empty() {
                    break;
                }
                let udp =
                    |packet: &&packet::frame::RxPacket| Seen::of(&packet.data).proto == wire::UDP;
                received += packets.iter().filter(udp).count() as u64;
            }
            assert!(received >= 9_900, "{received} received");
            assert!(dropped > 0);
            // The kernel's own packets may be among the dropped, and may be dropped later, too.
            assert!(received + dropped >= SENT, "{received} + {dropped}");
        });
    }
}

#[test]
fn a_full_batch_does_not_lose_the_wake_up() {
    for config in kinds() {
        in_namespace(move || {
            let mut tun = Tun::open(&config);
            let socket = UdpSocket::bind((HOST_V4, 0)).expect("bind");
            socket.connect((OURS_V4, 7)).expect("connect");
            for count in 0..40_u8 {
                socket.send(&[count]).expect("send");
            }
            let mut next = 0;
            let mut idle = 0;
            while next < 40 && idle < 1000 {
                for device in &mut tun.devices {
                    let mut out = Vec::new();
                    device
                        .recv_batch(&mut out, 3, &tun.buffers, Instant::ZERO, &tun.counters)
                        .expect("receive");
                    assert!(out.len() <= 3);
                    for packet in &out {
                        let seen = Seen::of(&packet.data);
                        if seen.proto == wire::UDP {
                            assert_eq!(seen.transport[8], next, "order within a flow");
                            next += 1;
                        }
                    }
                    idle = if out.is_empty() { idle + 1 } else { 0 };
                    device.park(Some(Duration::from_millis(1))).expect("park");
                }
            }
            assert_eq!(next, 40);
        });
    }
}
