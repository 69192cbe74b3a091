use super::header::{AUTHENTICATION, IPV6_FRAGMENT};
use super::*;

/// Returns packets with every kind of header.
fn packets() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let v4 = etherparse::PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
    let mut tcp = Vec::new();
    let options = [etherparse::TcpOptionElement::MaximumSegmentSize(1_460)];
    v4.tcp(1, 2, 3, 4)
        .options(&options)
        .expect("options")
        .write(&mut tcp, b"hello")
        .expect("a packet");
    let tunnel = |protocol, head: &[u8]| {
        let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0];
        ip.extend([10, 1, 0, 1, 10, 1, 0, 2]);
        ip.extend(head);
        ip.extend(&tcp);
        let len = ip.len() as u16;
        ip[2..4].copy_from_slice(&len.to_be_bytes());
        ip
    };
    all.push(tunnel(4, &[]));
    all.push(tunnel(GRE, &[0x20, 0, 8, 0, 0, 0, 0, 1]));
    all.push(tunnel(
        GRE,
        &[
            0x30, 0x81, 0x88, 0x0b, 0, 9, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0xff, 3, 0, 0x21,
        ],
    ));
    all.push(tunnel(
        AUTHENTICATION,
        &[4, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1],
    ));
    let mut v6 = vec![0x60, 0, 0, 0, 0, 0, 0, 64];
    v6.extend([0xfd; 32]);
    // Hop-by-hop, mobility, authentication, an atomic fragment, then UDP.
    v6.extend([135, 0, 1, 4, 0, 0, 0, 0]);
    v6.extend([AUTHENTICATION, 0, 0, 0, 0, 0, 0, 0]);
    v6.extend([IPV6_FRAGMENT, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
    v6.extend([UDP, 0, 0, 0, 0, 0, 0, 1]);
    v6.extend([0, 1, 0, 2, 0, 13, 0, 0]);
    v6.extend(b"hello");
    let len = v6.len() as u16 - 40;
    v6[4..6].copy_from_slice(&len.to_be_bytes());
    all.push(v6);
    all.push(tcp);
    all
}

#[test]
fn headers_are_found_behind_extensions_and_in_tunnels() {
    for ip in packets() {
        let packet = Packet::parse(&ip, ip.len() as u32)
            .expect("a packet")
            .innermost();
        let data = match &packet.transport {
            Transport::Tcp(tcp) => tcp.payload,
            Transport::Udp(udp) => udp.payload,
            other => panic!("{other:?} in {ip:02x?}"),
        };
        assert_eq!(data, b"hello");
        assert_eq!(packet.fragment, None);
    }
}

#[test]
fn cut_and_changed_packets_never_panic() {
    let look = |ip: &[u8], wire: u32| {
        if let Some(packet) = Packet::parse(ip, wire) {
            let _ = packet.ports();
            let _ = packet.innermost().payload();
        }
    };
    for ip in packets() {
        for len in 0..=ip.len() {
            look(&ip[..len], ip.len() as u32);
            look(&ip[..len], len as u32);
        }
        for at in 0..ip.len() {
            for value in [0, 1, 0x2b, 0x3c, 0x45, 0x60, 0x87, 0xff] {
                let mut changed = ip.clone();
                changed[at] = value;
                look(&changed, ip.len() as u32);
                look(&changed, u32::MAX);
            }
        }
    }
}
