//! The harness that compares the parsers with those of another library.

use std::net::IpAddr;

use etherparse::IpSlice;
use packet::checksum::RxChecksum;
use packet::ip::AnyIpPacket;
use packet::tcp::{TcpHeader, TcpOptionIter, TcpView};
use packet::udp::UdpView;

use super::either;

/// Checks that etherparse parses every accepted packet to the same values. (It accepts more packets;
/// the tests of the packet crate cover each of those cases.)
pub fn fuzz_reference(data: &[u8]) {
    either(data, compare);
}

fn compare(data: &[u8]) {
    let Some(ours) = AnyIpPacket::parse(data) else {
        return;
    };
    // It accepts authentication headers, parses on after a fragment header, and takes a payload length
    // of zero for a jumbogram.
    let ah = ours.proto() == packet::IpProto::AH;
    let zero = matches!(&ours, AnyIpPacket::V6(packet) if packet.header().payload_len.get() == 0);
    if ah || zero || ours.fragment().is_some() {
        return;
    }
    let theirs = IpSlice::from_slice(data).expect("etherparse refuses what we accept");
    assert_eq!(theirs.source_addr(), ours.src());
    assert_eq!(theirs.destination_addr(), ours.dst());
    assert_eq!(theirs.payload().ip_number.0, ours.proto().0);
    assert_eq!(theirs.payload().payload, ours.payload());
    assert!(!theirs.payload().fragmented);
    let (src, dst, bytes) = (ours.src(), ours.dst(), ours.payload());
    match ours.proto() {
        packet::IpProto::TCP => {
            let Ok(view) = TcpView::parse(src, dst, bytes, RxChecksum::Vouched) else {
                return;
            };
            let theirs = etherparse::TcpSlice::from_slice(bytes).expect("a segment");
            let header: TcpHeader = view.header();
            assert_eq!(theirs.sequence_number(), header.seq);
            assert_eq!(theirs.acknowledgment_number(), header.ack);
            assert_eq!(theirs.window_size(), header.window);
            assert_eq!(theirs.payload(), view.payload());
            assert!(TcpOptionIter::new(theirs.options()).count() <= 40);
            let sum = match (src, dst) {
                (IpAddr::V4(src), IpAddr::V4(dst)) => {
                    theirs.calc_checksum_ipv4(src.octets(), dst.octets())
                }
                (IpAddr::V6(src), IpAddr::V6(dst)) => {
                    theirs.calc_checksum_ipv6(src.octets(), dst.octets())
                }
                _ => return,
            };
            let valid = TcpView::parse(src, dst, bytes, RxChecksum::Unknown).is_ok();
            // All ones and zero are the same number, but only one of them is sent.
            let field = theirs.checksum();
            if field != 0 && field != 0xffff {
                assert_eq!(valid, sum.is_ok_and(|sum| sum == field));
            }
        }
        packet::IpProto::UDP => {
            if let Ok(view) = UdpView::parse(src, dst, bytes, RxChecksum::Vouched) {
                let theirs = etherparse::UdpSlice::from_slice(bytes).expect("a datagram");
                assert_eq!(theirs.payload(), view.payload());
                assert_eq!(theirs.destination_port(), view.dst_port());
            }
        }
        _ => {}
    }
}
