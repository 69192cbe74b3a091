//! The harnesses of TCP segments and UDP datagrams.

use std::net::IpAddr;

use packet::build::{self, Head, TxChecksum};
use packet::checksum::RxChecksum;
use packet::tcp::{TcpUnverified, TcpView};
use packet::udp::{UdpHeader, UdpView};

use crate::fuzz::input::Input;
use crate::fuzz::optional;

fn addrs(v6: bool) -> (IpAddr, IpAddr) {
    if v6 {
        ([0xfd; 16].into(), [0xfe; 16].into())
    } else {
        ([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
    }
}

/// Fuzzes a TCP segment; the first octet chooses the IP version.
pub fn fuzz_tcp(data: &[u8]) {
    let mut input = Input::new(data);
    let (src, dst) = addrs(input.u8() & 1 != 0);
    let bytes = input.bytes(data.len());
    if let Ok(segment) = TcpUnverified::parse(bytes) {
        assert!(segment.options().count() <= 40);
    }
    let _ = TcpView::parse(src, dst, bytes, RxChecksum::Unknown);
    let Ok(view) = TcpView::parse(src, dst, bytes, RxChecksum::Vouched) else {
        return;
    };
    assert_eq!(view.payload(), &bytes[view.header_len()..]);
    let header = view.header();
    // The builder leaves out options that are not in use, so the header may be shorter. It parses to the same values,
    // with as many SACK blocks as fit, and with Fast Open and Accurate ECN if they fit: it fills up each group of options to
    // a multiple of four octets, which not every peer does.
    let mut head = Head::new();
    let (payload, mode) = (view.payload(), TxChecksum::Full);
    let pieces = [payload].into_iter();
    build::prepend_tcp(&mut head, &header, src, dst, pieces, payload.len(), mode).expect("fits");
    let built = [head.as_slice(), payload].concat();
    let again = TcpView::parse(src, dst, &built, RxChecksum::Unknown).expect("built right");
    let (mut expected, found) = (header, again.header());
    let (all, fitting) = (header.options.sack, found.options.sack);
    let room = 60 - again.header_len();
    assert!(all.as_slice().starts_with(fitting.as_slice()));
    // No further block would have fitted: each takes eight octets, the first one four more.
    let block = if fitting.is_empty() { 12 } else { 8 };
    assert!(fitting.len() == all.len() || room < block);
    if found.options.fast_open() != header.options.fast_open() {
        assert!(found.options.fast_open().is_none() && room < 20);
    }
    expected.options.sack = fitting;
    if found.options.acc_ecn.is_none() {
        // The longest has eleven octets.
        assert!(header.options.acc_ecn.is_none() || room < 12);
        expected.options.acc_ecn = None;
    }
    assert_eq!(found, expected);
    assert_eq!(again.payload(), payload);
}

/// Fuzzes a UDP datagram; the first octet chooses the IP version.
pub fn fuzz_udp(data: &[u8]) {
    let mut input = Input::new(data);
    let (src, dst) = addrs(input.u8() & 1 != 0);
    let bytes = input.bytes(data.len());
    let _ = UdpView::parse(src, dst, bytes, RxChecksum::Unknown);
    let Ok(view) = UdpView::parse(src, dst, bytes, RxChecksum::Vouched) else {
        return;
    };
    let (header, payload) = (view.header(), view.payload());
    assert_eq!(payload.len() + 8, usize::from(header.len));
    let behind = &bytes[8 + payload.len()..];
    optional::surplus(header.len, !view.is_unchecked(), behind);
    let mut head = Head::new();
    let (pieces, mode) = ([payload].into_iter(), TxChecksum::Full);
    build::prepend_udp(&mut head, &header, src, dst, pieces, payload.len(), mode).expect("fits");
    let built = [head.as_slice(), payload].concat();
    let again = UdpView::parse(src, dst, &built, RxChecksum::Unknown).expect("built right");
    assert_eq!((again.header(), again.payload()), (header, payload));
    let _: UdpHeader = header;
}
