use super::*;
use crate::capture::Frame;
use crate::capture::link::Link;
use crate::capture::packet::of_network;

fn error(text: &str) -> String {
    Filter::compile(text).expect_err(text).to_string()
}

fn selects(text: &str, link: u16, data: &[u8]) -> bool {
    let filter = Filter::compile(text)
        .expect("a filter")
        .expect("an expression");
    let frame = Frame {
        number: 1,
        interface: 0,
        link: Link {
            kind: link,
            fcs_bytes: 0,
        },
        time_nanos: None,
        wire_len: data.len() as u32,
        data,
        comment: None,
    };
    let network = frame.link.network(data);
    let packet = network
        .as_ref()
        .and_then(|network| of_network(&frame, network));
    filter.selects(&View {
        frame: &frame,
        network: network.as_ref(),
        packet: packet.as_ref(),
    })
}

/// A SYN from 10.0.0.1:1000 to 10.0.0.2:80.
fn syn() -> Vec<u8> {
    let mut packet = Vec::new();
    etherparse::PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp(1_000, 80, 7, 100)
        .syn()
        .write(&mut packet, &[])
        .expect("in memory");
    packet
}

#[test]
fn equal_precedence_and_inherited_qualifiers() {
    let packet = syn();
    for (text, expected) in [
        ("", None),
        ("tcp", Some(true)),
        ("udp", Some(false)),
        ("udp or tcp and port 81", Some(false)),
        ("tcp or udp and port 81", Some(false)),
        ("tcp or (udp and port 81)", Some(true)),
        ("port 81 or 80", Some(true)),
        ("src port 80 or 1000", Some(true)),
        ("host (1.1.1.1 or 10.0.0.2)", Some(true)),
        ("not host 1.1.1.1 and not port 81", Some(true)),
        ("src 10.0.0.1 and dst 10.0.0.2", Some(true)),
        ("src and dst net 10", Some(true)),
        ("net 10.0.0.0/30", Some(true)),
        ("net 10.0.0.0 mask 255.255.255.252", Some(true)),
        ("tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn", Some(true)),
        (
            "len = 40 and ip[2:2] - ((ip[0] & 0xf) << 2) = 20",
            Some(true),
        ),
        ("ip[100] = 0 or tcp", Some(false)),
        ("udp[0] = 0 or tcp", Some(true)),
        ("portrange 70-90", Some(true)),
        ("tcp port http", Some(true)),
    ] {
        match expected {
            None => assert_eq!(Filter::compile(text), Ok(None)),
            Some(expected) => assert_eq!(selects(text, 101, &packet), expected, "{text}"),
        }
    }
}

#[test]
fn tags_move_what_follows() {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x81, 0, 0, 5, 8, 0];
    frame.extend(syn());
    for (text, expected) in [
        ("tcp", false),
        ("vlan", true),
        ("vlan 5 and tcp", true),
        ("vlan 6", false),
        ("vlan and vlan", false),
        ("vlan and port 80", true),
        ("ether src 02:00:00:00:00:01", true),
        ("ether dst 02:00:00:00:00:01", false),
    ] {
        assert_eq!(selects(text, 1, &frame), expected, "{text}");
    }
}

#[test]
fn what_cannot_be_used_is_refused_by_name() {
    for (text, expected) in [
        ("inbound", "\"inbound\" is not supported"),
        ("host example.org", "names are not looked up"),
        ("tcp port 99999", "larger than 65535"),
        ("port", "a name is missing before the end"),
        ("tcp or", "a test is missing before the end"),
        ("foo bar", "neither an address nor a keyword"),
        ("(tcp", "\")\" is missing"),
        ("tcp udp", "has no addresses of IP"),
        ("net 10.0.0.1/8", "bits are set that the mask leaves out"),
        ("tcp[0:3] = 1", "1, 2 or 4 bytes"),
        ("icmp port 3", "only tcp, udp and sctp have a port"),
        ("tcp ; udp", "the character ';' has no meaning"),
        (&"(".repeat(100), "levels of parentheses"),
        (&"not ".repeat(100), "levels of parentheses"),
    ] {
        assert!(error(text).contains(expected), "{text}: {}", error(text));
    }
}

#[test]
fn arbitrary_text_never_panics() {
    let words = [
        "tcp", "(", ")", "[", "]", ":", "and", "or", "not", "port", "80", "10.0.0.1", "fe80::1",
        "/", "8", "-", "<", "&", "vlan", "mpls", "src", "len", "ip", "ether", "\\tcp", "net",
        "mask", "0x",
    ];
    let mut state = 1_u32;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..state % 9 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            text.push_str(words[(state >> 16) as usize % words.len()]);
            text.push(' ');
        }
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if let Ok(Some(filter)) = Filter::compile(&text) {
            let frame = syn();
            let _ = selects_compiled(&filter, &frame);
        }
    }
}

fn selects_compiled(filter: &Filter, data: &[u8]) -> bool {
    let frame = Frame {
        number: 1,
        interface: 0,
        link: Link {
            kind: 101,
            fcs_bytes: 0,
        },
        time_nanos: None,
        wire_len: data.len() as u32,
        data,
        comment: None,
    };
    filter.selects(&View {
        frame: &frame,
        network: None,
        packet: None,
    })
}
