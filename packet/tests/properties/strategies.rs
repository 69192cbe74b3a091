//! Strategies for fields, headers, options and payloads.

use std::net::IpAddr;

use packet::IpProto;
use packet::build::IpFields;
use packet::tcp::{SackBlocks, TcpFlags, TcpHeader, TcpOptions, Timestamps};
use proptest::prelude::*;

pub(crate) fn addrs() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    prop_oneof![
        any::<([u8; 4], [u8; 4])>().prop_map(|(src, dst)| (src.into(), dst.into())),
        any::<([u8; 16], [u8; 16])>().prop_map(|(src, dst)| (src.into(), dst.into())),
    ]
}

prop_compose! {
    pub(crate) fn fields()((src, dst) in addrs(), proto: u8, ttl: u8, traffic_class: u8, ident: u16,
                dont_fragment: bool, flow_label in 0u32..1 << 20) -> IpFields {
        IpFields {
            src, dst, proto: IpProto(proto), ttl, traffic_class, ident, dont_fragment, flow_label,
        }
    }
}

prop_compose! {
    pub(crate) fn sack_blocks()(blocks in prop::collection::vec(any::<(u32, u32)>(), 0..=4)) -> SackBlocks {
        let mut sack = SackBlocks::new();
        for (left, right) in blocks {
            assert!(sack.push(left, right));
        }
        sack
    }
}

prop_compose! {
    pub(crate) fn options()(mss: Option<u16>, window_scale: Option<u8>, sack_permitted: bool,
                 stamps: Option<(u32, u32)>, sack in sack_blocks(),
                 authentication_len in prop::sample::select(vec![0u8, 4, 10, 16, 20, 40])) -> TcpOptions {
        let timestamps = stamps.map(|(val, ecr)| Timestamps { val, ecr });
        TcpOptions { mss, window_scale, sack_permitted, timestamps, sack, authentication_len, ..TcpOptions::default() }
    }
}

prop_compose! {
    pub(crate) fn tcp_header()((src_port, dst_port, seq, ack) in any::<(u16, u16, u32, u32)>(), flags: u8,
                    window: u16, urgent: u16, options in options()) -> TcpHeader {
        let flags = TcpFlags::from_bits_retain(flags.into());
        TcpHeader { src_port, dst_port, seq, ack, flags, window, urgent, options }
    }
}

/// Generates an option that is valid or nearly so, as bytes.
pub(crate) fn option_bytes() -> impl Strategy<Value = Vec<u8>> {
    let kinds = vec![0u8, 1, 2, 3, 4, 5, 8, 19, 28, 29, 34, 99];
    let right = |kind| match kind {
        2 | 28 => 4,
        3 => 3,
        4 => 2,
        5 => 18,
        8 => 10,
        19 => 18,
        _ => 6,
    };
    (
        prop::sample::select(kinds),
        any::<[u8; 20]>(),
        0u8..8,
        0usize..8,
    )
        .prop_map(move |(kind, data, wrong_len, cut)| match kind {
            0 | 1 => vec![kind],
            _ => {
                // One in eight has a wrong length field, and one in eight lacks bytes.
                let len = right(kind) - u8::from(wrong_len == 0);
                let mut bytes = vec![kind, len];
                bytes.extend(
                    &data[..usize::from(right(kind)) - 2 - usize::from(cut == 0 && kind != 4)],
                );
                bytes
            }
        })
}

/// Generates a payload and the offsets at which to cut it into pieces.
pub(crate) fn pieces() -> impl Strategy<Value = (Vec<u8>, usize, usize)> {
    (
        prop::collection::vec(any::<u8>(), 0..600),
        any::<u16>(),
        any::<u16>(),
    )
        .prop_map(|(data, a, b)| {
            let first = usize::from(a) % (data.len() + 1);
            let second = first + usize::from(b) % (data.len() - first + 1);
            (data, first, second)
        })
}

pub(crate) fn cut((data, first, second): &(Vec<u8>, usize, usize)) -> [&[u8]; 3] {
    [&data[..*first], &data[*first..*second], &data[*second..]]
}

/// Returns the part of `options` that fits into a header.
pub(crate) fn as_written(mut options: TcpOptions) -> TcpOptions {
    let mut without = options;
    without.sack = SackBlocks::new();
    without.authentication_len = 0;
    let len = usize::from(options.authentication_len).next_multiple_of(4);
    if without.encoded_len() + len > 40 {
        options.authentication_len = 0;
    }
    without.authentication_len = options.authentication_len;
    let room = 40 - without.encoded_len();
    let count = options.sack.len().min(room.saturating_sub(4) / 8);
    let mut sack = SackBlocks::new();
    for (left, right) in options.sack.as_slice().iter().take(count) {
        sack.push(*left, *right);
    }
    options.sack = sack;
    options
}
