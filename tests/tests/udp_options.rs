//! UDP options (RFC 9868): what lies behind the UDP length is checked, counted, and never delivered.

use std::net::IpAddr;
use std::time::Duration;

use futures::FutureExt as _;
use netstack::base::Config;
use netstack::net::UdpSocket;
use netstack::{Counter, DropReason};
use packet::checksum::Checksum;
use tests::forge;
use tools::virtual_stack::VirtualStack;

/// The addresses of the stack, each with one of a peer.
const ENDS: [(&str, &str); 2] = [("10.0.0.1", "10.0.0.9"), ("fd77::1", "fd77::9")];

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

/// The bytes behind the UDP length: aligned, with a right option checksum.
fn area(user_data: &[u8], options: &[u8]) -> Vec<u8> {
    let padding = user_data.len() % 2;
    let mut area = vec![0; padding + 2];
    area.extend(options);
    let mut sum = Checksum::new();
    sum.add_bytes(&area[padding..]);
    sum.add_u16(area.len() as u16);
    area[padding..padding + 2].copy_from_slice(&sum.finish().to_be_bytes());
    area
}

/// Builds a datagram to port 7 with bytes behind its UDP length, and a right checksum of what is in front of them.
fn datagram(ends: (&str, &str), user_data: &[u8], area: &[u8]) -> Vec<u8> {
    let packet = |payload: &[u8]| forge::packet_to(ip(ends.1), ip(ends.0), 17, payload);
    let sealed = forge::sealed(packet(&forge::udp(9, 7, user_data)));
    let header = if ends.0.contains(':') { 40 } else { 20 };
    packet(&[&sealed[header..], area].concat())
}

/// A stack with a socket at port 7.
struct Link {
    world: VirtualStack,
    sockets: Vec<UdpSocket>,
}

impl Link {
    fn new() -> Self {
        let addresses = ENDS.map(|(ours, _)| (ip(ours), 24));
        let world = VirtualStack::new(Config::default(), &addresses, 1_500, 7).expect("a stack");
        let bind = |(ours, _): (&str, &str)| {
            let to = std::net::SocketAddr::new(ip(ours), 7);
            UdpSocket::bind_now(world.stack(), to).expect("bound")
        };
        let sockets = ENDS.map(bind).into();
        Self { world, sockets }
    }

    /// Takes in a packet; returns what the sockets received.
    fn send(&mut self, packet: Vec<u8>) -> Vec<Vec<u8>> {
        self.world.deliver(packet, 0);
        let mut sent = Vec::new();
        let now = Duration::from_millis(1);
        self.world.settle(now, &mut sent).expect("at rest");
        assert!(sent.is_empty(), "nothing answers a surplus area");
        let received = self.sockets.iter().filter_map(|socket| {
            let datagram = socket.recv_payload_from().now_or_never()?;
            Some(datagram.expect("no error").0.to_vec())
        });
        received.collect()
    }

    fn counts(&self) -> [u64; 3] {
        let counters = self.world.stack().counters();
        [
            counters.count(Counter::UdpOptions),
            counters.count(Counter::UdpSurplusInvalid),
            counters.dropped(DropReason::UdpUnsafeOption),
        ]
    }
}

#[test]
fn options_are_left_out_of_what_is_delivered() {
    for ends in ENDS {
        for user_data in [&b"hello"[..], b"even", b""] {
            let mut link = Link::new();
            // Padding, a maximum datagram size, an unknown safe option, the end.
            let options = [1, 1, 4, 4, 5, 0xc8, 100, 3, 7, 0];
            let packet = datagram(ends, user_data, &area(user_data, &options));
            assert_eq!(link.send(packet), [user_data]);
            assert_eq!(link.counts(), [1, 0, 0]);
        }
    }
}

#[test]
fn a_malformed_surplus_is_ignored_and_the_user_data_delivered() {
    let user_data = &b"hello"[..];
    let valid = area(user_data, &[4, 4, 5, 0xc8]);
    let damaged = |at: usize| {
        let mut area = valid.clone();
        area[at] ^= 1;
        area
    };
    let cases = [
        ("alignment", damaged(0)),
        ("option checksum", damaged(1)),
        ("option", damaged(4)),
        ("no option checksum", vec![0; 8]),
        ("one byte", vec![0]),
        ("text", b"not options at all".to_vec()),
        ("length 1", area(user_data, &[4, 1])),
        ("length beyond the area", area(user_data, &[4, 200, 0, 0])),
        ("behind the end", area(user_data, &[0, 0, 9])),
        ("many", area(user_data, &[9, 2].repeat(500))),
    ];
    for ends in ENDS {
        for (what, area) in &cases {
            let mut link = Link::new();
            let packet = datagram(ends, user_data, area);
            assert_eq!(link.send(packet), [user_data], "{what}");
            assert_eq!(link.counts(), [0, 1, 0], "{what}");
        }
    }
}

#[test]
fn user_data_that_an_unknown_option_changes_is_dropped() {
    for ends in ENDS {
        let mut link = Link::new();
        let encrypted = [193, 4, 1, 2];
        let packet = datagram(ends, b"hello", &area(b"hello", &encrypted));
        assert_eq!(link.send(packet), Vec::<Vec<u8>>::new());
        assert_eq!(link.counts(), [0, 0, 1]);
        // Without user data there is nothing to protect: an empty datagram, as for receivers without options.
        let packet = datagram(ends, b"", &area(b"", &encrypted));
        assert_eq!(link.send(packet), [b""]);
        // A fragment's data are behind its options, and stay there.
        let fragment = [&[3, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], b"hidden"].concat();
        let packet = datagram(ends, b"", &area(b"", &fragment));
        assert_eq!(link.send(packet), [b""]);
        assert_eq!(link.counts(), [2, 0, 1]);
    }
}

#[test]
fn a_wrong_udp_checksum_or_length_drops_the_datagram_whatever_follows() {
    for ends in ENDS {
        let mut link = Link::new();
        let area = area(b"hello", &[4, 4, 5, 0xc8]);
        let mut packet = datagram(ends, b"hello", &area);
        let udp = if ends.0.contains(':') { 40 } else { 20 };
        packet[udp + 8] ^= 1;
        assert_eq!(link.send(packet), Vec::<Vec<u8>>::new());
        let mut packet = datagram(ends, b"hello", &area);
        packet[udp + 5] = 200;
        assert_eq!(link.send(packet), Vec::<Vec<u8>>::new());
        let counters = link.world.stack().counters();
        assert_eq!(counters.dropped(DropReason::UdpChecksum), 1);
        assert_eq!(counters.dropped(DropReason::UdpMalformed), 1);
        assert_eq!(link.counts(), [0, 0, 0]);
    }
}

/// Over IPv4 the checksum may be left out, and the option checksum with it.
#[test]
fn without_a_udp_checksum_the_option_checksum_may_be_missing_too() {
    let mut link = Link::new();
    let mut packet = datagram(ENDS[0], b"even", &[0, 0, 4, 4, 5, 0xc8]);
    packet[26..28].copy_from_slice(&[0, 0]);
    assert_eq!(link.send(packet), [b"even"]);
    assert_eq!(link.counts(), [1, 0, 0]);
}

/// Random bytes behind the datagram never reach a socket.
#[test]
fn any_surplus_at_all_is_survived() {
    let mut link = Link::new();
    let mut random = netstack::base::Rng::from_u64(11);
    for n in 0..2_000u32 {
        let user_data = vec![7; random.below(40) as usize];
        let mut options = vec![0; random.below(60) as usize + 1];
        random.fill(&mut options);
        let area = if n % 2 == 0 {
            area(&user_data, &options)
        } else {
            options
        };
        let unsafe_before = link.counts()[2];
        let received = link.send(datagram(ENDS[n as usize / 2 % 2], &user_data, &area));
        let was_unsafe = link.counts()[2] > unsafe_before;
        assert_eq!(received, if was_unsafe { vec![] } else { vec![user_data] });
    }
    let [options, invalid, dropped] = link.counts();
    assert_eq!(options + invalid + dropped, 2_000);
    assert!(invalid > 900, "{invalid}");
}
