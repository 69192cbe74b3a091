//! The objects of the MIBs: traffic of known amounts gives exactly these values.

use std::net::{IpAddr, SocketAddr, UdpSocket as KernelSocket};
use std::time::Duration;

use futures::FutureExt as _;
use netstack::base::Config;
use netstack::base::mib::Mib;
use netstack::net::{TcpListener, TcpSocket, UdpSocket};
use packet::tcp::TcpOptions;
use tests::raw_peer::{ACK, FIN, Peer, RST, SYN, Wire, ours};
use tests::world::{in_namespace, port, serve, targets};
use tests::{forge, program};
use tools::virtual_stack::VirtualStack;

/// The stack's addresses, each with one of a peer, and the length of an IP header.
const ENDS: [(&str, &str, usize); 2] = [("10.0.0.1", "10.0.0.9", 20), ("fd77::1", "fd77::9", 40)];

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

/// A stack, and the link to it.
struct Link {
    world: VirtualStack,
    now: Duration,
}

impl Link {
    fn new(mtu: u16) -> Self {
        let config = Config {
            udp_queue_datagrams: 4,
            ..Config::default()
        };
        let addresses = ENDS.map(|(ours, _, _)| (ip(ours), 24));
        let world = VirtualStack::new(config, &addresses, mtu, 7).expect("a stack");
        let now = Duration::from_millis(1);
        Self { world, now }
    }

    fn send(&mut self, packets: impl IntoIterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
        for packet in packets {
            self.world.deliver(packet, 0);
        }
        let mut sent = Vec::new();
        self.world.settle(self.now, &mut sent).expect("at rest");
        sent
    }

    fn bind(&self, address: &str, port: u16) -> UdpSocket {
        let to = SocketAddr::new(ip(address), port);
        UdpSocket::bind_now(self.world.stack(), to).expect("bound")
    }

    fn mib(&self) -> Mib {
        self.world.stack().mib()
    }
}

fn total(packets: &[Vec<u8>]) -> u64 {
    packets.iter().map(|packet| packet.len() as u64).sum()
}

fn udp(ends: (&str, &str, usize), to: u16, payload: &[u8]) -> Vec<u8> {
    forge::sealed(forge::packet_to(
        ip(ends.1),
        ip(ends.0),
        17,
        &forge::udp(9, to, payload),
    ))
}

/// Returns the objects of the family of `ours`.
fn of<T>(ours: &str, v4: T, v6: T) -> T {
    if ours.contains(':') { v6 } else { v4 }
}

#[test]
fn ip_in() {
    for ends in ENDS {
        let mut link = Link::new(1_500);
        let socket = link.bind(ends.0, 7);
        let good = udp(ends, 7, b"hello");
        let elsewhere = of(ends.0, "10.0.0.77", "fd77::77");
        let not_ours = forge::packet_to(ip(ends.1), ip(elsewhere), 17, b"12345678");
        let loopback =
            forge::packet_to(of(ends.0, ip("127.0.0.1"), ip("::1")), ip(ends.0), 17, b"1");
        let unknown = forge::packet_to(ip(ends.1), ip(ends.0), 200, b"what?");
        let truncated = good[..good.len() - 2].to_vec();
        // A wrong header length, or an extension header that is cut off.
        let mut bad_header = good.clone();
        if ends.2 == 20 {
            bad_header[10] ^= 1;
        } else {
            bad_header[6] = 60;
            bad_header[41] = 200;
        }
        let group = of(ends.0, "224.0.0.1", "ff02::1");
        let to_group = forge::packet_to(ip(ends.1), ip(group), 17, &forge::udp(9, 7, b"all"));
        let to_group = forge::sealed(to_group);
        let mut packets = vec![good.clone(), good.clone(), good];
        packets.extend([not_ours.clone(), not_ours, loopback, unknown]);
        packets.extend([truncated, bad_header, to_group.clone()]);
        let bytes = total(&packets);
        link.send(packets);
        let mib = link.mib();
        let ip = of(ends.0, mib.ip, mib.ip6);
        assert_eq!((ip.in_receives, ip.in_octets), (10, bytes), "{ip:?}");
        assert_eq!((ip.in_hdr_errors, ip.in_truncated_pkts), (1, 1), "{ip:?}");
        assert_eq!((ip.in_addr_errors, ip.in_unknown_protos), (3, 1), "{ip:?}");
        assert_eq!((ip.in_delivers, ip.in_discards), (4, 0), "{ip:?}");
        let group_bytes = to_group.len() as u64;
        assert_eq!((ip.in_mcast_pkts, ip.in_mcast_octets), (1, group_bytes));
        // The other family saw nothing.
        assert_eq!(of(ends.0, mib.ip6, mib.ip), Default::default());
        drop(socket);
    }
}

#[test]
fn reassembly_and_fragmentation() {
    for ends in ENDS {
        let mut link = Link::new(1_500);
        let socket = link.bind(ends.0, 7);
        let fragment = |ident, offset: usize, more, part: &[u8]| {
            if ends.2 == 20 {
                forge::ipv4_fragment(
                    "10.0.0.1".parse().expect("v4"),
                    17,
                    ident as u16,
                    offset as u16,
                    more,
                    part,
                )
            } else {
                let part = forge::fragment_v6(17, ident, offset as u16, more, part);
                forge::packet_to(ip(ends.1), ip(ends.0), 44, &part)
            }
        };
        let from_peer = |mut packet: Vec<u8>| {
            if ends.2 == 20 {
                packet[12..16].copy_from_slice(&[10, 0, 0, 9]);
                forge::seal_v4(&mut packet);
            }
            packet
        };
        let datagram = udp(ends, 7, &[7; 100]);
        let message = &datagram[ends.2..];
        let whole = [
            fragment(1, 0, true, &message[..56]),
            fragment(1, 56, false, &message[56..]),
        ];
        let single = fragment(2, 0, true, &message[..56]);
        let overlap = [
            fragment(3, 0, true, &message[..56]),
            fragment(3, 48, false, &message[48..]),
        ];
        let packets = whole.into_iter().chain([single]).chain(overlap);
        link.send(packets.map(from_peer).collect::<Vec<_>>());
        link.now += Duration::from_secs(61);
        link.send([]);
        let mib = link.mib();
        let stats = of(ends.0, mib.ip, mib.ip6);
        assert_eq!((stats.reasm_reqds, stats.reasm_oks), (5, 1), "{stats:?}");
        assert_eq!(
            (stats.reasm_fails, stats.reasm_timeout),
            (2, 1),
            "{stats:?}"
        );
        assert_eq!((stats.in_receives, stats.in_delivers), (5, 1), "{stats:?}");
        // The time was over for a first fragment: that is said.
        assert_eq!(of(ends.0, mib.icmp, mib.icmp6).out_time_excds, 1);

        let sent = socket.send_to(&[1; 4_000], SocketAddr::new(ip(ends.1), 9));
        sent.now_or_never().expect("room").expect("sent");
        let sent = link.send([]);
        let mib = link.mib();
        let stats = of(ends.0, mib.ip, mib.ip6);
        let fragments = sent.len() as u64;
        assert_eq!((stats.frag_oks, stats.frag_creates, fragments), (1, 3, 3));
        // One Time Exceeded before.
        assert_eq!(
            (stats.out_requests, stats.out_transmits),
            (2, 1 + fragments)
        );
        assert_eq!(of(ends.0, mib.udp, mib.udp6).out_datagrams, 1);
        assert!(stats.out_octets > total(&sent) && stats.out_octets < total(&sent) + 1_500);
    }
}

#[test]
fn udp_in_and_out() {
    for ends in ENDS {
        let mut link = Link::new(1_500);
        let socket = link.bind(ends.0, 7);
        let good = udp(ends, 7, b"hello");
        let mut damaged = good.clone();
        damaged[ends.2 + 8] ^= 1;
        let mut short = good.clone();
        short[ends.2 + 5] = 3;
        let mut packets = vec![good; 6];
        packets.extend([damaged, short, udp(ends, 8, b"?"), udp(ends, 8, b"?")]);
        let sent = link.send(packets);
        let mib = link.mib();
        let stats = of(ends.0, mib.udp, mib.udp6);
        assert_eq!((stats.in_datagrams, stats.no_ports), (4, 2), "{stats:?}");
        // Two beyond the queue, two in error.
        assert_eq!((stats.in_errors, stats.rcvbuf_errors), (4, 2), "{stats:?}");
        assert_eq!(stats.in_csum_errors, 1, "{stats:?}");
        let icmp = of(ends.0, mib.icmp, mib.icmp6);
        assert_eq!((icmp.out_msgs, icmp.out_dest_unreachs), (2, 2), "{icmp:?}");
        assert_eq!(sent.len(), 2);
        for _ in 0..3 {
            let to = SocketAddr::new(ip(ends.1), 9);
            let sent = socket.send_to(b"hello", to).now_or_never();
            sent.expect("room").expect("sent");
        }
        let sent = [sent, link.send([])].concat();
        let mib = link.mib();
        assert_eq!(of(ends.0, mib.udp, mib.udp6).out_datagrams, 3);
        let stats = of(ends.0, mib.ip, mib.ip6);
        assert_eq!((stats.out_requests, stats.out_transmits), (5, 5));
        assert_eq!(stats.out_octets, total(&sent));
    }
}

#[test]
fn icmp_in_and_out() {
    for ends in ENDS {
        let mut link = Link::new(1_500);
        let (request, error, proto) = of(ends.0, (8, 3, 1), (128, 1, 58));
        let message = |kind, rest, payload: &[u8]| {
            let message = forge::icmp(kind, 0, rest, payload);
            forge::sealed(forge::packet_to(ip(ends.1), ip(ends.0), proto, &message))
        };
        let echo = message(request, [0, 7, 0, 1], b"ping");
        let mut damaged = echo.clone();
        damaged[ends.2 + 8] ^= 1;
        let unreachable = message(error, [0; 4], &[0x45; 28]);
        let sent = link.send([echo.clone(), echo.clone(), echo, damaged, unreachable]);
        assert_eq!(sent.len(), 3);
        let mib = link.mib();
        let icmp = of(ends.0, mib.icmp, mib.icmp6);
        assert_eq!((icmp.in_msgs, icmp.in_errors), (5, 1), "{icmp:?}");
        assert_eq!((icmp.in_csum_errors, icmp.in_echos), (1, 3), "{icmp:?}");
        assert_eq!((icmp.out_msgs, icmp.out_echo_reps), (3, 3), "{icmp:?}");
    }
}

fn peer(port: u16) -> Peer {
    let options = TcpOptions {
        mss: Some(1_460),
        ..TcpOptions::default()
    };
    Peer::new(([10, 1, 0, 1], port).into(), ours(80), options)
}

#[test]
fn tcp_passive_opens_and_their_ends() {
    let mut wire = Wire::new(Config::default());
    let listener = TcpListener::bind_now(wire.stack(), ours(80)).expect("bound");
    // One that is reset in ESTABLISHED, one whose handshake is reset, one that ends as it should.
    let mut cut_off = peer(4_000);
    cut_off.open(&mut wire);
    assert_eq!(wire.stack().mib().tcp_curr_estab, 1);
    wire.send(cut_off.packet(RST, b""));
    let mut half_open = peer(4_001);
    half_open.syn(&mut wire).expect("a SYN-ACK");
    wire.send(half_open.packet(RST, b""));
    let mut orderly = peer(4_002);
    orderly.open(&mut wire);
    let tcp = wire.stack().mib().tcp;
    // SYN, ACK, RST; SYN, RST; SYN, ACK.
    assert_eq!((tcp.in_segs, tcp.out_segs), (7, 3), "{tcp:?}");
    assert_eq!((tcp.passive_opens, tcp.attempt_fails), (3, 1), "{tcp:?}");
    assert_eq!((tcp.estab_resets, tcp.active_opens), (1, 0), "{tcp:?}");
    for answer in wire.send(orderly.packet(FIN | ACK, b"")) {
        orderly.hear(&answer);
    }
    assert_eq!(wire.stack().mib().tcp_curr_estab, 1, "CLOSE-WAIT");
    while let Some(accepted) = listener.accept().now_or_never() {
        drop(accepted);
    }
    for answer in wire.settle() {
        orderly.hear(&answer);
    }
    wire.send(orderly.packet(ACK, b""));
    // Damaged segments.
    let mut bad_checksum = peer(4_003).packet(SYN, b"");
    let last = bad_checksum.len() - 1;
    bad_checksum[last] ^= 1;
    wire.send(bad_checksum);
    let mib = wire.stack().mib();
    let tcp = mib.tcp;
    assert_eq!((tcp.estab_resets, tcp.attempt_fails), (1, 1), "{tcp:?}");
    assert_eq!((tcp.in_errs, tcp.in_csum_errors), (1, 1), "{tcp:?}");
    assert_eq!((tcp.in_segs, mib.tcp_curr_estab), (10, 0), "{tcp:?}");
    assert_eq!((tcp.out_rsts, tcp.retrans_segs), (0, 0), "{tcp:?}");
    assert_eq!(mib.ip.in_delivers, 10);
}

#[test]
fn tcp_active_opens_and_retransmissions() {
    let mut wire = Wire::new(Config::default());
    let remote: SocketAddr = ([10, 1, 0, 1], 80).into();
    let stack = wire.stack().clone();
    let mut connecting = Box::pin(TcpSocket::new_v4(&stack).connect(remote));
    assert!((&mut connecting).now_or_never().is_none());
    let sent = wire.pass(Duration::from_millis(3_500));
    // The SYN, after one second again, after two more seconds again.
    assert_eq!(sent.len(), 3);
    let tcp = stack.mib().tcp;
    assert_eq!((tcp.active_opens, tcp.out_segs), (1, 1), "{tcp:?}");
    assert_eq!((tcp.retrans_segs, tcp.in_segs), (2, 0), "{tcp:?}");
    // Refused.
    let mut peer = Peer::new(remote, sent[0].from, TcpOptions::default());
    peer.seq = 0;
    peer.ack = sent[0].header.seq.wrapping_add(1);
    wire.send(peer.packet(RST | ACK, b""));
    assert!(
        (&mut connecting)
            .now_or_never()
            .expect("an answer")
            .is_err()
    );
    let tcp = stack.mib().tcp;
    assert_eq!((tcp.attempt_fails, tcp.estab_resets), (1, 0), "{tcp:?}");
    // A segment to a port without a listener is answered by a reset.
    let stray = Peer::new(remote, ours(9), TcpOptions::default()).packet(SYN, b"");
    assert_eq!(wire.send(stray).len(), 1);
    let tcp = stack.mib().tcp;
    assert_eq!((tcp.out_rsts, tcp.out_segs), (1, 2), "{tcp:?}");
}

/// Over a TUN device, with the kernel as the peer: the daemon prints what was sent, as nstat does.
#[test]
fn the_daemon_prints_what_nstat_would() {
    in_namespace(|| {
        let daemon = serve(program!(), &[]);
        let before = daemon.nstat().expect("counters");
        for target in targets(port::ECHO) {
            let socket = KernelSocket::bind((if target.is_ipv4() { "0.0.0.0" } else { "::" }, 0));
            let socket = socket.expect("a socket");
            socket
                .set_read_timeout(Some(Duration::from_secs(20)))
                .expect("a limit");
            for _ in 0..10 {
                socket.send_to(b"hello", target).expect("sent");
                socket.recv_from(&mut [0; 16]).expect("an echo");
            }
        }
        let after = daemon.nstat().expect("counters");
        for name in [
            "UdpInDatagrams",
            "UdpOutDatagrams",
            "Udp6InDatagrams",
            "Udp6OutDatagrams",
        ] {
            assert_eq!(after.get(name) - before.get(name), 10, "{name}");
        }
        assert!(after.get("IpInReceives") - before.get("IpInReceives") >= 10);
        assert!(after.get("Ip6InDelivers") - before.get("Ip6InDelivers") >= 10);
        assert_eq!(
            (after.get("UdpInErrors"), after.get("TcpCurrEstab")),
            (0, 0)
        );
    });
}
