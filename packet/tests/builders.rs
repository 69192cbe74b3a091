//! Errors of the builders. A builder that fails leaves the head unchanged.

#![allow(clippy::unwrap_used)] // A test that fails says so.

use std::net::IpAddr;

use packet::IpProto;
use packet::build::{
    self,
    BuildError::{self, Fragment, MixedVersions, NoRoom, Options, TooLong},
    Head, Headroom, IpFields, SliceHead, TxChecksum,
};
use packet::checksum::Checksum;
use packet::icmp::{Icmpv4, Icmpv6};
use packet::ip::FragmentInfo;
use packet::tcp::{TcpHeader, TcpOptions, Timestamps};
use packet::udp::UdpHeader;

const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

fn fields(addr: IpAddr) -> IpFields {
    IpFields {
        src: addr,
        dst: addr,
        proto: IpProto::UDP,
        ttl: 1,
        traffic_class: 0xff,
        ident: 0xffff,
        dont_fragment: true,
        flow_label: 0xffff_ffff,
    }
}

fn mixed() -> IpFields {
    IpFields {
        dst: V6,
        ..fields(V4)
    }
}

fn none() -> std::iter::Empty<&'static [u8]> {
    std::iter::empty()
}

fn tcp(head: &mut Head, src: IpAddr, dst: IpAddr, len: usize) -> Result<(), BuildError> {
    let header = TcpHeader {
        options: TcpOptions {
            timestamps: Some(Timestamps::default()),
            ..TcpOptions::default()
        },
        ..TcpHeader::default()
    };
    build::prepend_tcp(head, &header, src, dst, none(), len, TxChecksum::Partial)
}

fn udp(head: &mut Head, src: IpAddr, dst: IpAddr, len: usize) -> Result<(), BuildError> {
    let header = UdpHeader::default();
    build::prepend_udp(head, &header, src, dst, none(), len, TxChecksum::Partial)
}

fn fragment(head: &mut Head, fields: &IpFields, len: usize) -> Result<(), BuildError> {
    let info = FragmentInfo {
        id: 1,
        offset_bytes: 8,
        more: false,
    };
    build::prepend_ip_fragment(head, fields, info, len)
}

type Builder = (&'static str, usize, fn(&mut Head) -> Result<(), BuildError>);

/// Every builder with the number of bytes that it writes.
const BUILDERS: [Builder; 13] = [
    ("tcp", 32, |head| tcp(head, V4, V4, 0)),
    ("udp", 8, |head| udp(head, V6, V6, 0)),
    ("icmp", 8, |head| {
        build::prepend_icmp(head, Icmpv4::SourceQuench, V4, V4, none(), 0)
    }),
    ("icmpv6", 8, |head| {
        let message = Icmpv6::PacketTooBig { mtu: 1280 };
        build::prepend_icmp(head, message, V6, V6, none(), 0)
    }),
    ("ipv4", 20, |head| build::prepend_ip(head, &fields(V4), 0)),
    ("ipv6", 40, |head| build::prepend_ip(head, &fields(V6), 0)),
    ("ipv4 fragment", 20, |head| fragment(head, &fields(V4), 0)),
    ("ipv6 fragment", 48, |head| fragment(head, &fields(V6), 0)),
    ("ipv4 options", 24, |head| {
        build::prepend_ipv4_with_options(head, &fields(V4), &[148, 4, 0, 0], 0)
    }),
    ("ipv4 options, padded", 28, |head| {
        build::prepend_ipv4_with_options(head, &fields(V4), &[1; 5], 0)
    }),
    ("fragment header", 8, |head| {
        let info = FragmentInfo {
            id: 1,
            offset_bytes: 0,
            more: false,
        };
        build::prepend_fragment_header(head, IpProto::UDP, info)
    }),
    ("options header", 8, |head| {
        build::prepend_options_header(head, IpProto::UDP, &[5, 2, 0, 0])
    }),
    ("options header, padded", 16, |head| {
        build::prepend_options_header(head, IpProto::UDP, &[0x1e, 5, 0, 0, 0, 0, 0])
    }),
];

/// Returns the head with the room in front of it, which a builder that fails must leave zero.
fn all_of(head: &Head) -> Vec<u8> {
    let mut head = head.clone();
    let room = head.room();
    head.prepend(room).unwrap();
    head.as_slice().to_vec()
}

#[test]
fn a_head_without_room_is_unchanged() {
    for (name, len, builder) in BUILDERS {
        for taken in 0..=Head::CAPACITY {
            let mut head = Head::new();
            head.prepend(taken).unwrap().fill(0xa5);
            let before = head.clone();
            let built = builder(&mut head);
            if head.len() == taken {
                assert_eq!(built, Err(NoRoom), "{name} behind {taken}");
                assert_eq!(all_of(&head), all_of(&before), "{name} behind {taken}");
                assert!(before.room() < len, "{name} behind {taken}");
            } else {
                assert_eq!(built, Ok(()), "{name} behind {taken}");
                assert_eq!(head.len(), taken + len, "{name} behind {taken}");
                assert_eq!(head.as_slice()[len..], *before.as_slice());
            }
        }
    }
}

/// Runs `builder` on heads of several lengths. It must fail and leave them unchanged.
fn refused(expected: BuildError, builder: impl Fn(&mut Head) -> Result<(), BuildError>) {
    for taken in [0, 8, 40] {
        let mut head = Head::new();
        head.prepend(taken).unwrap().fill(0xa5);
        let before = all_of(&head);
        assert_eq!(builder(&mut head), Err(expected));
        assert_eq!((head.len(), all_of(&head)), (taken, before));
    }
}

#[test]
fn impossible_headers_are_refused() {
    refused(MixedVersions, |head| tcp(head, V4, V6, 0));
    refused(MixedVersions, |head| udp(head, V6, V4, 0));
    refused(MixedVersions, |head| build::prepend_ip(head, &mixed(), 0));
    refused(MixedVersions, |head| fragment(head, &mixed(), 0));
    refused(MixedVersions, |head| {
        build::prepend_ipv4_with_options(head, &mixed(), &[], 0)
    });
    refused(MixedVersions, |head| {
        build::prepend_icmp(head, Icmpv4::SourceQuench, V6, V6, none(), 0)
    });
    refused(MixedVersions, |head| {
        build::prepend_icmp(head, Icmpv4::SourceQuench, V4, V6, none(), 0)
    });
    for len in [65_536, usize::MAX] {
        refused(TooLong, |head| tcp(head, V4, V4, len));
        refused(TooLong, |head| udp(head, V6, V6, len));
        refused(TooLong, |head| {
            build::prepend_icmp(head, Icmpv4::SourceQuench, V4, V4, none(), len)
        });
        for addr in [V4, V6] {
            refused(TooLong, |head| build::prepend_ip(head, &fields(addr), len));
            refused(TooLong, |head| fragment(head, &fields(addr), len));
        }
        refused(TooLong, |head| {
            build::prepend_ipv4_with_options(head, &fields(V4), &[1], len)
        });
    }
    for bad in [&[7, 1][..], &[1; 41], &[148, 4, 0]] {
        refused(Options, |head| {
            build::prepend_ipv4_with_options(head, &fields(V4), bad, 0)
        });
    }
    for bad in [
        &[0xc2, 0][..],
        &[5, 1, 0],
        &[0; 8],
        &[1, 5, 0, 0, 0, 0, 0],
        &[0; 3000],
    ] {
        refused(Options, |head| {
            build::prepend_options_header(head, IpProto::UDP, bad)
        });
    }
    refused(Fragment, |head| {
        let info = FragmentInfo {
            id: 1,
            offset_bytes: 4,
            more: true,
        };
        build::prepend_fragment_header(head, IpProto::UDP, info)
    });
    for (id, offset_bytes, more, len) in [
        (1, 4, false, 8),
        (1, 8, true, 0),
        (1, 8, true, 12),
        (0x1_0000, 8, false, 8),
    ] {
        let info = FragmentInfo {
            id,
            offset_bytes,
            more,
        };
        let mut head = Head::new();
        let built = build::prepend_ip_fragment(&mut head, &fields(V4), info, len);
        assert_eq!((built, head.len()), (Err(Fragment), 0), "{info:?} {len}");
    }
}

/// Each builder accepts the longest packet and refuses one more byte.
#[test]
fn the_longest_packet_of_each_builder() {
    type Longest = (
        &'static str,
        usize,
        fn(&mut Head, usize) -> Result<(), BuildError>,
    );
    let table: [Longest; 8] = [
        ("tcp", 65_535 - 32, |head, len| tcp(head, V4, V4, len)),
        ("udp", 65_535 - 8, |head, len| udp(head, V4, V4, len)),
        ("ipv4", 65_535 - 20, |head, len| {
            build::prepend_ip(head, &fields(V4), len)
        }),
        ("ipv6", 65_535, |head, len| {
            build::prepend_ip(head, &fields(V6), len)
        }),
        ("ipv4 options", 65_535 - 24, |head, len| {
            build::prepend_ipv4_with_options(head, &fields(V4), &[148, 4, 0, 0], len)
        }),
        // The offset is 8, and the limit includes the IPv4 header.
        ("ipv4 fragment", 65_535 - 28, |head, len| {
            fragment(head, &fields(V4), len)
        }),
        // The payload length includes the fragment header.
        ("ipv6 fragment", 65_535 - 8, |head, len| {
            fragment(head, &fields(V6), len)
        }),
        ("ipv6 last fragment", 7, |head, len| {
            let info = FragmentInfo {
                id: 1,
                offset_bytes: 65_528,
                more: false,
            };
            build::prepend_ip_fragment(head, &fields(V6), info, len)
        }),
    ];
    for (name, longest, builder) in table {
        assert_eq!(builder(&mut Head::new(), longest), Ok(()), "{name}");
        let mut head = Head::new();
        assert_eq!(builder(&mut head, longest + 1), Err(TooLong), "{name}");
        assert_eq!(all_of(&head), all_of(&Head::new()), "{name}");
    }
}

/// A transport header covers the bytes that are already in the head.
#[test]
fn transport_headers_cover_the_head() {
    use packet::checksum::RxChecksum::Unknown;
    use packet::icmp::Icmpv4View;
    use packet::tcp::TcpView;
    let inner = [1, 2, 3, 4, 5];
    let payload = [6, 7, 8];
    let fill = || {
        let mut head = Head::new();
        head.prepend(inner.len()).unwrap().copy_from_slice(&inner);
        head
    };
    let pieces = || [&payload[..]].into_iter();
    let all = [&inner[..], &payload].concat();

    let mut head = fill();
    let header = TcpHeader::default();
    // The head has an odd number of bytes, so the payload starts at an odd offset.
    build::prepend_tcp(&mut head, &header, V4, V4, pieces(), 3, TxChecksum::Full).unwrap();
    let bytes = [head.as_slice(), &payload].concat();
    assert_eq!(
        TcpView::parse(V4, V4, &bytes, Unknown).unwrap().payload(),
        all
    );

    // The same with a sum that was made while the payload was copied.
    let (mut sum, mut copy) = (Checksum::new(), [0; 3]);
    sum.copy_and_add(&payload, &mut copy);
    let (full, mut head) = (head, fill());
    let mode = TxChecksum::Payload(sum);
    build::prepend_tcp(&mut head, &header, V4, V4, none(), 3, mode).unwrap();
    assert_eq!((&head, copy), (&full, payload));

    let mut head = fill();
    let message = Icmpv4::EchoRequest { ident: 1, seq: 2 };
    build::prepend_icmp(&mut head, message, V4, V4, pieces(), 3).unwrap();
    let bytes = [head.as_slice(), &payload].concat();
    assert_eq!(Icmpv4View::parse(&bytes, Unknown).unwrap().body(), all);
}

/// A `SliceHead` works in a buffer with any previous contents, and fails if the room is too small.
#[test]
fn slice_head_writes_what_head_writes() {
    fn all<H: Headroom>(head: &mut H, addr: IpAddr) -> Result<(), BuildError> {
        let mode = TxChecksum::Partial;
        build::prepend_udp(head, &UdpHeader::default(), addr, addr, none(), 3, mode)?;
        if addr.is_ipv4() {
            return build::prepend_ipv4_with_options(head, &fields(addr), &[148, 4, 0, 0, 1], 3);
        }
        let info = FragmentInfo {
            id: 1,
            offset_bytes: 0,
            more: false,
        };
        build::prepend_fragment_header(head, IpProto::UDP, info)?;
        build::prepend_options_header(head, IpProto::FRAGMENT, &[0x1e, 1, 7])?;
        build::prepend_ip(head, &fields(addr), 3)
    }
    for (addr, len) in [(V4, 36), (V6, 64)] {
        let mut expected = Head::new();
        all(&mut expected, addr).unwrap();
        assert_eq!(expected.len(), len);
        for room in 0..=80 {
            let mut buffer = vec![0xee; room];
            let mut head = SliceHead::new(&mut buffer);
            let built = all(&mut head, addr);
            let (left, written) = (head.room(), head.as_slice().to_vec());
            assert_eq!(head.len() + left, room);
            if room < len {
                assert_eq!(built, Err(NoRoom), "{room}");
                assert!(expected.as_slice().ends_with(&written), "{room}");
            } else {
                assert_eq!((built, &written[..]), (Ok(()), expected.as_slice()));
            }
            assert!(buffer[..left].iter().all(|byte| *byte == 0xee), "{room}");
        }
    }
}
