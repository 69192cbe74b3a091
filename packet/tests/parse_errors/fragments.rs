//! The positions of fragments, and the headers of the whole packet.

use packet::ip::{IpPacket, Ipv4, Ipv6};

use super::{UNICAST4, UNICAST6, fix_v4, v4, v6};

#[test]
fn fragment_positions_and_whole_headers() {
    let mut bytes = v4(UNICAST4, &[1, 1, 1, 0]);
    bytes[4..8].copy_from_slice(&[0x12, 0x34, 0x20, 0x03]);
    fix_v4(&mut bytes);
    let packet = IpPacket::<Ipv4>::parse(&bytes).expect("fragment");
    let fragment = packet.fragment().expect("fragment");
    assert_eq!(
        (fragment.id, fragment.offset_bytes, fragment.more),
        (0x1234, 24, true)
    );

    // A fragment header after options. Every fragment names the protocol of the first one's payload.
    let rest = [
        &[44, 0, 1, 4, 0, 0, 0, 0][..],
        &[6, 0, 0, 0x11, 1, 2, 3, 4],
        &[7; 16],
    ]
    .concat();
    let bytes = v6(UNICAST6, 60, &rest);
    let packet = IpPacket::<Ipv6>::parse(&bytes).expect("fragment");
    let fragment = packet.fragment().expect("fragment");
    assert_eq!(
        (fragment.id, fragment.offset_bytes, fragment.more),
        (0x0102_0304, 16, true)
    );
    assert_eq!((packet.proto().0, packet.payload()), (6, &[7; 16][..]));

    // The headers of the whole packet have no fragment header, and the header in front names the payload.
    let mut out = [0; 64];
    let len = packet.write_whole_header(100, &mut out).expect("room");
    let whole = [&out[..len], &[0; 100]].concat();
    let packet = IpPacket::<Ipv6>::parse(&whole).expect("whole");
    assert_eq!(packet.fragment(), None);
    assert_eq!((packet.proto().0, packet.payload().len()), (6, 100));
    assert_eq!(packet.header_len(), 48);
}
