//! TCP super-segments and segmented UDP datagrams, both ways, against the kernel's own TCP and UDP.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

use bytes::Bytes;
use netstack::base::DropReason;
use netstack::base::counters::Counter;
use netstack::device::OffloadMode;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{TcpCongestion, UdpGroSegment, UdpGsoSegment};
use packet::Payload;
use packet::checksum::RxChecksum;
use packet::frame::TxPacket;

use crate::host::{PAIRS, PATIENCE, Tun, config, in_namespace};
use crate::wire::{self, ACK, Checksum, FIN, SYN, Seen, Tcp};

const ISN: u32 = 0xffff_fff0;

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ (i >> 8)) as u8).collect()
}

#[test]
fn a_super_segment_of_ours_reaches_a_kernel_socket() {
    in_namespace(|| {
        let mut tun = Tun::open(&config(OffloadMode::On, 1));
        assert!(tun.devices[0].caps().offload.tso && tun.devices[0].caps().offload.tx_checksum);
        for (host, ours) in PAIRS {
            let listener = TcpListener::bind((host, 0)).expect("listen");
            let to = listener.local_addr().expect("address");
            let from = SocketAddr::new(ours, 4000);
            let say = |seq: u32, ack: u32, flags: u8| Tcp { seq, ack, flags };
            tun.send(wire::tcp(
                from,
                to,
                say(ISN, 0, SYN),
                &[],
                Checksum::Partial,
                None,
            ));
            let syn_ack = tun.wait(|packet| {
                let seen = Seen::of(&packet.data);
                // Skips packets of the connection before.
                (seen.proto == wire::TCP && seen.source() == to).then(|| seen.tcp())
            });
            assert_eq!(syn_ack.flags, SYN | ACK);
            let ack = syn_ack.seq.wrapping_add(1);
            let seq = ISN.wrapping_add(1);
            let sent = bytes(40_000);
            tun.send(wire::tcp(
                from,
                to,
                say(seq, ack, ACK),
                &[],
                Checksum::Full,
                None,
            ));
            tun.send(wire::tcp(
                from,
                to,
                say(seq, ack, ACK),
                &sent,
                Checksum::Partial,
                Some(1400),
            ));
            let fin = say(seq.wrapping_add(sent.len() as u32), ack, FIN | ACK);
            tun.send(wire::tcp(from, to, fin, &[], Checksum::Partial, None));
            let (mut socket, peer) = listener.accept().expect("accept");
            assert_eq!(peer, from);
            socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
            let mut got = Vec::new();
            socket.read_to_end(&mut got).expect("read");
            assert!(got == sent, "40,000 bytes as they were sent");
            assert_eq!(tun.counters.dropped(DropReason::TransmitFailed), 0);
        }
    });
}

#[test]
fn a_super_segment_of_the_kernel_reaches_us() {
    in_namespace(|| {
        let mut tun = Tun::open(&config(OffloadMode::On, 1));
        for (_, ours) in PAIRS {
            let to = SocketAddr::new(ours, 80);
            let sent = bytes(8_000);
            let client = std::thread::spawn({
                let sent = sent.clone();
                move || {
                    let mut socket = TcpStream::connect_timeout(&to, PATIENCE).expect("connect");
                    // An algorithm that does not pace the first packets.
                    setsockopt(&socket, TcpCongestion, &"cubic".into()).expect("cubic");
                    socket.write_all(&sent).expect("write");
                    socket
                }
            });
            let (from, syn) = tun.wait(|packet| {
                let seen = Seen::of(&packet.data);
                let ours = seen.proto == wire::TCP && seen.dst == ours;
                ours.then(|| (seen.source(), seen.tcp()))
            });
            assert_eq!(syn.flags & SYN, SYN);
            let answer = Tcp {
                seq: ISN,
                ack: syn.seq.wrapping_add(1),
                flags: SYN | ACK,
            };
            tun.send(wire::tcp(to, from, answer, &[], Checksum::Partial, None));
            // No option was offered: segments of 536 bytes (1,220 over IPv6), in one piece.
            tun.wait(|packet| {
                let seen = Seen::of(&packet.data);
                let ours = seen.proto == wire::TCP && seen.source() == from;
                if !ours || seen.tcp_payload().len() < 2_000 {
                    return None;
                }
                let payload = seen.tcp_payload();
                assert!(
                    [536, 1220].contains(&packet.gso_size),
                    "{}",
                    packet.gso_size
                );
                assert!(payload == &sent[..payload.len()]);
                assert_eq!(packet.checksum, RxChecksum::Vouched);
                Some(())
            });
            drop(client.join().expect("client"));
        }
        assert_eq!(tun.counters.dropped(DropReason::DeviceHeader), 0);
    });
}

#[test]
fn segmented_datagrams_go_both_ways_where_the_kernel_can() {
    in_namespace(|| {
        let mut tun = Tun::open(&config(OffloadMode::On, 1));
        assert!(
            tun.devices[0].caps().offload.uso,
            "UDP segmentation: Linux 6.2 or later"
        );
        for (host, ours) in PAIRS {
            let socket = UdpSocket::bind((host, 0)).expect("bind");
            socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
            let there = socket.local_addr().expect("address");
            let here = SocketAddr::new(ours, 443);
            let sent = bytes(5_300);

            tun.send(wire::udp(
                here,
                there,
                &sent,
                Checksum::Partial,
                Some(1_000),
            ));
            for piece in sent.chunks(1_000) {
                let mut got = [0; 2_000];
                let (count, from) = socket.recv_from(&mut got).expect("arrives");
                assert_eq!(from, here);
                assert!(
                    &got[..count] == piece,
                    "a datagram of {} bytes",
                    piece.len()
                );
            }

            setsockopt(&socket, UdpGsoSegment, &1_000).expect("UDP_SEGMENT");
            socket.send_to(&sent, here).expect("send");
            tun.wait(|packet| {
                let seen = Seen::of(&packet.data);
                if seen.proto != wire::UDP {
                    return None;
                }
                assert_eq!(packet.gso_size, 1_000);
                assert_eq!(packet.checksum, RxChecksum::Vouched);
                assert!(seen.transport[8..] == sent);
                Some(())
            });
        }
    });
}

/// Datagrams that are sent in one batch: runs of equal length, and others between them.
fn burst() -> Vec<Vec<u8>> {
    let lens = [
        vec![40; 70],
        vec![13],
        vec![1_400; 50],
        vec![0, 0],
        vec![900, 901, 901, 1],
    ];
    let lens = lens.concat();
    let numbered = lens.into_iter().enumerate();
    numbered
        .map(|(number, len)| vec![number as u8; len])
        .collect()
}

fn send_burst(tun: &mut Tun, here: SocketAddr, there: SocketAddr) {
    let datagram = |bytes: Vec<u8>| TxPacket {
        // In one piece, as a program sends it.
        payload: Payload::from(Bytes::from(bytes.clone())).into(),
        ..wire::udp(here, there, &bytes, Checksum::Partial, None)
    };
    let mut batch: Vec<_> = burst().into_iter().map(datagram).collect();
    tun.devices[0]
        .send_batch(&mut batch, &tun.counters)
        .expect("send");
}

#[test]
fn equal_datagrams_of_a_batch_leave_together_and_arrive_one_by_one() {
    in_namespace(|| {
        for offload in [OffloadMode::On, OffloadMode::Off] {
            let mut tun = Tun::open(&config(offload, 1));
            for (host, ours) in PAIRS {
                let socket = UdpSocket::bind((host, 0)).expect("bind");
                socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
                let there = socket.local_addr().expect("address");
                send_burst(&mut tun, SocketAddr::new(ours, 443), there);
                for sent in burst() {
                    let mut got = [0; 2_000];
                    let (count, _) = socket.recv_from(&mut got).expect("arrives");
                    assert!(got[..count] == sent, "{count} bytes, {} sent", sent.len());
                }
            }
            let out = tun.counters.count(Counter::PacketsOut);
            assert_eq!(out, 2 * burst().len() as u64);
        }
    });
}

#[test]
fn a_run_of_datagrams_is_one_packet_to_the_kernel() {
    in_namespace(|| {
        let mut tun = Tun::open(&config(OffloadMode::On, 1));
        for (host, ours) in PAIRS {
            let socket = UdpSocket::bind((host, 0)).expect("bind");
            socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
            setsockopt(&socket, UdpGroSegment, &true).expect("UDP_GRO");
            let there = socket.local_addr().expect("address");
            send_burst(&mut tun, SocketAddr::new(ours, 443), there);
            let mut got = vec![0; 65_535];
            let mut next = || socket.recv_from(&mut got).expect("arrives").0;
            // Runs of at most 64 datagrams and 65,535 bytes.
            let reads = [
                64 * 40,
                6 * 40,
                13,
                46 * 1_400,
                4 * 1_400,
                0,
                0,
                900,
                2 * 901,
                1,
            ];
            assert_eq!(reads.map(|_| next()), reads);
        }
    });
}

#[test]
fn flows_spread_over_the_queues_and_none_is_lost() {
    in_namespace(|| {
        const FLOWS: u8 = 64;
        let mut tun = Tun::open(&config(OffloadMode::On, 4));
        assert_eq!(tun.devices.len(), 4);
        let (host, ours) = PAIRS[0];
        for flow in 0..FLOWS {
            let socket = UdpSocket::bind((host, 0)).expect("bind");
            socket.send_to(&[flow], (ours, 7)).expect("send");
        }
        let mut seen = [0_u32; FLOWS as usize];
        let mut used = 0;
        for device in &mut tun.devices {
            let mut out = Vec::new();
            device
                .recv_batch(
                    &mut out,
                    1_000,
                    &tun.buffers,
                    Default::default(),
                    &tun.counters,
                )
                .expect("receive");
            let mut any = false;
            for packet in &out {
                let packet = Seen::of(&packet.data);
                if packet.proto == wire::UDP {
                    seen[usize::from(packet.transport[8])] += 1;
                    any = true;
                }
            }
            used += u32::from(any);
        }
        assert_eq!(seen, [1; FLOWS as usize]);
        assert!(used > 1, "64 flows on one of four queues");
    });
}
