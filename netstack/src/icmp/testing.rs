//! Packets for the tests of this layer.

use core::net::IpAddr;

use bytes::Bytes;
use packet::build::{Head, IpFields, prepend_icmp, prepend_ip, prepend_ip_fragment};
use packet::icmp::IcmpMessage;
use packet::ip::FragmentInfo;
use packet::{IpProto, Payload};

use crate::ip::addresses::AddressTable;

pub(super) const US4: &str = "10.77.0.2";
pub(super) const US6: &str = "fd77::2";
pub(super) const PEER4: &str = "10.77.0.1";
pub(super) const PEER6: &str = "fd77::1";

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

pub(super) fn addresses() -> AddressTable {
    let mut table = AddressTable::new();
    for prefix in ["10.77.0.2/24", "fd77::2/64"] {
        table.add(prefix.parse().expect(prefix)).expect(prefix);
    }
    table
}

fn fields(src: &str, dst: &str, proto: IpProto) -> IpFields {
    IpFields {
        src: ip(src),
        dst: ip(dst),
        proto,
        ttl: 9,
        traffic_class: 0,
        ident: 0,
        dont_fragment: false,
        flow_label: 0,
    }
}

/// Returns a packet with `payload`, or one fragment of it.
pub(super) fn packet(
    src: &str,
    dst: &str,
    proto: IpProto,
    payload: &[u8],
    fragment: Option<FragmentInfo>,
) -> Payload {
    let mut head = Head::new();
    let fields = fields(src, dst, proto);
    match fragment {
        Some(info) => prepend_ip_fragment(&mut head, &fields, info, payload.len()),
        None => prepend_ip(&mut head, &fields, payload.len()),
    }
    .expect("built");
    Payload::from(Bytes::from([head.as_slice(), payload].concat()))
}

/// Returns a packet with an ICMP message and the body behind its header of 8 bytes.
pub(super) fn icmp(src: &str, dst: &str, message: impl Into<IcmpMessage>, body: &[u8]) -> Payload {
    let message = message.into();
    let mut head = Head::new();
    let pieces = [body].into_iter();
    prepend_icmp(&mut head, message, ip(src), ip(dst), pieces, body.len()).expect("built");
    prepend_ip(&mut head, &fields(src, dst, message.proto()), body.len()).expect("built");
    Payload::from(Bytes::from([head.as_slice(), body].concat()))
}
