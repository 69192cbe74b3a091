//! The harness of the IP headers of both versions.

use packet::build::{self, Head, IpFields};
use packet::ip::{
    Ip, IpPacket, IpParseError, IpVersion, Ipv4, Ipv6, MAX_EXTENSION_HEADERS, MAX_OPTIONS, Outline,
};

use super::either;

/// Fuzzes the IP headers of both versions, with options and extension headers.
pub fn fuzz_ip(data: &[u8]) {
    either(data, ip_headers);
}

fn ip_headers(data: &[u8]) {
    ip::<Ipv4>(data);
    ip::<Ipv6>(data);
    if let Ok(packet) = IpPacket::<Ipv4>::parse(data) {
        assert!(packet.options().count() <= 40);
        let fields = IpFields {
            ident: packet.identification(),
            ..fields(&packet)
        };
        rebuild_v4(&packet, &fields);
    }
    if let Ok(packet) = IpPacket::<Ipv6>::parse(data) {
        assert!(packet.extensions().count() <= MAX_EXTENSION_HEADERS);
        for extension in packet.extensions() {
            use packet::ip::Ipv6Extension::{DestinationOptions, HopByHop, Routing};
            match extension {
                HopByHop(options) | DestinationOptions(options) => {
                    // Padding counts, too, with at most seven octets in a row.
                    assert!(options.count() <= (MAX_OPTIONS + 1) * 8);
                }
                Routing(routing) => assert_eq!(routing.segments_left, 0),
                _ => {}
            }
        }
        let fields = IpFields {
            flow_label: packet.flow_label(),
            ..fields(&packet)
        };
        rebuild_v6(&packet, &fields);
    }
    // An outline can be read from any bytes.
    if let Some(outline) = Outline::read(data) {
        assert!(outline.transport.len() <= data.len());
        let _ = (
            outline.ports(),
            outline.tcp_seq(),
            outline.may_be_answered(),
        );
    }
}

fn fields<I: Ip>(packet: &IpPacket<'_, I>) -> IpFields {
    IpFields {
        src: packet.src().into(),
        dst: packet.dst().into(),
        proto: packet.proto(),
        ttl: packet.ttl(),
        traffic_class: packet.traffic_class(),
        ident: 0,
        dont_fragment: packet.dont_fragment(),
        flow_label: 0,
    }
}

/// Builds the header again and compares it, except for the bits that have no field: the reserved flag,
/// a fragment's DF, and the octets after the end of the options.
fn rebuild_v4(packet: &IpPacket<'_, Ipv4>, fields: &IpFields) {
    let (mut head, len) = (Head::new(), packet.payload().len());
    let options = packet.bytes().get(20..packet.header_len()).unwrap_or(&[]);
    match packet.fragment() {
        Some(fragment) if options.is_empty() => {
            build::prepend_ip_fragment(&mut head, fields, fragment, len).expect("fits");
        }
        Some(_) => return,
        None => build::prepend_ipv4_with_options(&mut head, fields, options, len).expect("fits"),
    }
    let built = [head.as_slice(), packet.payload()].concat();
    let again = IpPacket::<Ipv4>::parse(&built).expect("built right");
    same(packet, &again);
    assert_eq!(again.identification(), packet.identification());
    assert!(again.options().eq(packet.options()));
}

/// Builds the header again before the same extension headers, and compares it.
fn rebuild_v6(packet: &IpPacket<'_, Ipv6>, fields: &IpFields) {
    let chain = packet.bytes().get(40..packet.header_len()).unwrap_or(&[]);
    let mut head = Head::new();
    let Some(out) = head.prepend(chain.len()).filter(|_| chain.len() <= 100) else {
        return;
    };
    out.copy_from_slice(chain);
    let fields = IpFields {
        proto: packet.header().next_header.into(),
        ..*fields
    };
    build::prepend_ip(&mut head, &fields, packet.payload().len()).expect("fits");
    let built = [head.as_slice(), packet.payload()].concat();
    assert_eq!(built, packet.bytes());
}

fn same<I: Ip>(one: &IpPacket<'_, I>, other: &IpPacket<'_, I>) {
    assert_eq!((one.src(), one.dst()), (other.src(), other.dst()));
    assert_eq!((one.proto(), one.ttl()), (other.proto(), other.ttl()));
    assert_eq!(one.traffic_class(), other.traffic_class());
    assert_eq!(one.fragment(), other.fragment());
    assert_eq!(one.payload(), other.payload());
}

fn ip<I: Ip>(data: &[u8]) {
    match IpPacket::<I>::parse(data) {
        Ok(packet) => {
            assert_eq!(&data[packet.payload_range()], packet.payload());
            assert_eq!(packet.bytes().len(), packet.total_len());
            assert!(packet.next_header_offset() < packet.header_len());
            // Without its padding it is the same packet; one octet shorter, it is invalid.
            let again = IpPacket::<I>::parse(packet.bytes()).expect("the same packet");
            assert_eq!(again.payload_range(), packet.payload_range());
            same(&packet, &again);
            assert!(IpPacket::<I>::parse(&data[..packet.total_len() - 1]).is_err());
            whole::<I>(&packet);
        }
        Err(IpParseError::Parse { .. }) => {}
        Err(error @ IpParseError::ParameterProblem { pointer, .. }) => {
            let pointer: u32 = pointer.into();
            assert!((pointer as usize) < data.len());
            assert!(!error.to_string().is_empty());
            if error.should_send_icmp() {
                may_be_answered(data);
            }
        }
    }
}

/// Panics if RFC 1122 section 3.2.2 or RFC 4443 section 2.4(e) forbids an ICMP error about this packet,
/// checked on the octets.
fn may_be_answered(data: &[u8]) {
    let v4 = data[0] >> 4 == 4;
    let (src, mut proto, mut rest) = if v4 {
        let header_len = usize::from(data[0] & 15) * 4;
        assert_eq!(u16::from_be_bytes([data[6], data[7]]) & 0x1fff, 0, "later");
        (&data[12..16], data[9], &data[header_len..])
    } else {
        let total_len = 40 + usize::from(u16::from_be_bytes([data[4], data[5]]));
        (&data[8..24], data[6], &data[40..total_len])
    };
    let one_host = match src {
        [0 | 127 | 224..=255, ..] if v4 => false,
        [0xff, ..] if !v4 => false,
        _ if !v4 => src[..15] != [0; 15] || src[15] > 1,
        _ => true,
    };
    assert!(one_host, "the source is not one host: {src:?}");
    while !v4 && matches!(proto, 0 | 43 | 44 | 60) && rest.len() >= 8 {
        let len = match proto {
            44 => 8,
            _ => 8 + usize::from(rest[1]) * 8,
        };
        if proto == 44 && rest[2..4] != [0, 0] && rest[2..4] != [0, 1] {
            assert_ne!(rest[0], 58, "a later fragment of what may be an error");
            return;
        }
        proto = rest[0];
        let Some(behind) = rest.get(len..) else {
            return;
        };
        rest = behind;
    }
    match (v4, proto, rest.first()) {
        (true, 1, kind) => assert!(matches!(kind, Some(0 | 8 | 13 | 14)), "an error"),
        (false, 58, kind) => assert!(kind.is_some_and(|kind| *kind >= 128 && *kind != 137)),
        _ => {}
    }
}

/// Checks that the header which a receiver rebuilds from a first fragment is that of a whole packet.
fn whole<I: Ip>(packet: &IpPacket<'_, I>) {
    let mut out = vec![0; packet.header_len()];
    if packet.fragment().map(|fragment| fragment.offset_bytes) != Some(0) {
        return;
    }
    let Some(len) = packet.write_whole_header(packet.payload().len(), &mut out) else {
        return;
    };
    let bytes = [&out[..len], packet.payload()].concat();
    match IpPacket::<I>::parse(&bytes) {
        Ok(whole) => {
            // Reassembly refuses a fragment within a fragment.
            assert!(whole.fragment().is_none() || I::VERSION == IpVersion::V6);
            assert_eq!(whole.total_len(), len + packet.payload().len());
        }
        // Only what was inside the fragment can be wrong now, and IPv4 has no headers there.
        Err(error) => {
            assert_eq!(I::VERSION, IpVersion::V6);
            assert!(matches!(error, IpParseError::ParameterProblem { .. }));
        }
    }
}
