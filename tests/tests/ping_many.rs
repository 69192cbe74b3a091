//! Pings to more than one host: by default those of IPv6 are answered, as RFC 4443 section 4.2 recommends.

use std::net::IpAddr;
use std::time::Duration;

use netstack::base::{Config, EchoPolicy};
use tests::forge;
use tools::virtual_stack::VirtualStack;

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

fn four(bytes: &[u8]) -> IpAddr {
    <[u8; 4]>::try_from(bytes).expect("four bytes").into()
}

fn sixteen(bytes: &[u8]) -> IpAddr {
    <[u8; 16]>::try_from(bytes).expect("sixteen bytes").into()
}

const MANY: [(&str, &str, &str); 5] = [
    ("10.77.0.1", "10.77.0.255", "10.77.0.2"),
    ("10.77.0.1", "255.255.255.255", "10.77.0.2"),
    ("10.77.0.1", "224.0.0.1", "10.77.0.2"),
    ("fd77::1", "ff02::1", "fd77::2"),
    // The group of neighbours whose address ends like its own.
    ("fe80::9", "ff02::1:ff00:2", "fe80::2"),
];

/// Returns which of [`MANY`] are answered; every answer comes from an address of the host and goes to the asker.
fn answered(echo: EchoPolicy) -> [bool; 5] {
    let config = Config {
        echo,
        ..Config::default()
    };
    let own = [("10.77.0.2", 24), ("fd77::2", 64), ("fe80::2", 64)];
    let own = own.map(|(text, len)| (ip(text), len));
    let mut world = VirtualStack::new(config, &own, 1_500, 7).expect("a stack");
    MANY.map(|(from, to, answers_from)| {
        let (proto, kind) = if to.contains(':') { (58, 128) } else { (1, 8) };
        let ping = forge::icmp(kind, 0, [1, 2, 3, 4], b"hello");
        let packet = forge::packet_to(ip(from), ip(to), proto, &ping);
        world.deliver(forge::sealed(packet), 0);
        let mut sent = Vec::new();
        let now = Duration::from_millis(1);
        world.settle(now, &mut sent).expect("at rest");
        let Some(answer) = sent.first() else {
            return false;
        };
        let (asker, proto, message) = forge::parts(answer).expect("a packet");
        let (source, reply) = match proto {
            58 => (sixteen(&answer[8..24]), 129),
            _ => (four(&answer[12..16]), 0),
        };
        assert_eq!((sent.len(), asker, source), (1, ip(from), ip(answers_from)));
        assert_eq!(message[0], reply);
        assert_eq!(message[4..], *b"\x01\x02\x03\x04hello");
        true
    })
}

#[test]
fn pings_to_many_are_answered_as_the_configuration_says() {
    let none = EchoPolicy {
        broadcast: false,
        multicast_v4: false,
        multicast_v6: false,
    };
    assert_eq!(answered(none), [false; 5]);
    let standard = answered(EchoPolicy::default());
    assert_eq!(standard, [false, false, false, true, true]);
    let broadcast = EchoPolicy {
        broadcast: true,
        ..none
    };
    assert_eq!(answered(broadcast), [true, true, false, false, false]);
    let groups = EchoPolicy {
        multicast_v4: true,
        ..none
    };
    assert_eq!(answered(groups), [false, false, true, false, false]);
}
