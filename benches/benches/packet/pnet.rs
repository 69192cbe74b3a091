//! `pnet_packet`. It reads fields at their offsets without validating the packet.

use pnet_packet::Packet;
use pnet_packet::ip::IpNextHeaderProtocols as Proto;
use pnet_packet::ipv4::{self, Ipv4Packet, MutableIpv4Packet};
use pnet_packet::ipv6::{
    ExtensionPacket, FragmentPacket, Ipv6Packet, MutableExtensionPacket, MutableFragmentPacket,
    MutableIpv6Packet,
};
use pnet_packet::tcp::{self, MutableTcpPacket, TcpOption, TcpPacket};
use pnet_packet::udp::{self, MutableUdpPacket, UdpPacket};

use super::parse::Found;
use super::samples;

#[inline(always)]
pub(crate) fn v4_tcp(bytes: &[u8], verify: bool) -> Option<Found> {
    let ip = Ipv4Packet::new(bytes)?;
    if ipv4::checksum(&ip) != ip.get_checksum() {
        return None;
    }
    let tcp = TcpPacket::new(ip.payload())?;
    if verify {
        let sum = tcp::ipv4_checksum(&tcp, &ip.get_source(), &ip.get_destination());
        if sum != tcp.get_checksum() {
            return None;
        }
    }
    let stamp = tcp
        .get_options_iter()
        .find(|option| option.get_number().0 == 8)
        .map_or(0, |option| match *option.payload() {
            [a, b, c, d, ..] => u32::from_be_bytes([a, b, c, d]),
            _ => 0,
        });
    Some((
        tcp.get_source(),
        tcp.get_destination(),
        tcp.get_sequence() ^ stamp,
        tcp.payload().len(),
    ))
}

#[inline(always)]
pub(crate) fn v6_udp(bytes: &[u8], verify: bool) -> Option<Found> {
    let ip = Ipv6Packet::new(bytes)?;
    let mut next = ip.get_next_header();
    let mut rest = ip.payload();
    while matches!(next, Proto::Hopopt | Proto::Ipv6Opts | Proto::Ipv6Frag) {
        if next == Proto::Ipv6Frag {
            next = FragmentPacket::new(rest)?.get_next_header();
            rest = rest.get(8..)?;
        } else {
            let extension = ExtensionPacket::new(rest)?;
            next = extension.get_next_header();
            rest = rest.get(8 + usize::from(extension.get_hdr_ext_len()) * 8..)?;
        }
    }
    let udp = UdpPacket::new(rest)?;
    if verify {
        let sum = udp::ipv6_checksum(&udp, &ip.get_source(), &ip.get_destination());
        if sum != udp.get_checksum() {
            return None;
        }
    }
    let len = udp.payload().len();
    Some((udp.get_source(), udp.get_destination(), 0, len))
}

/// Returns the options, which are on the heap and are therefore made once.
pub(crate) fn tcp_options() -> [TcpOption; 3] {
    [
        TcpOption::nop(),
        TcpOption::nop(),
        TcpOption::timestamp(samples::STAMPS.val, samples::STAMPS.ecr),
    ]
}

#[inline(always)]
pub(crate) fn build_tcp(data: &[u8], out: &mut Vec<u8>, options: &[TcpOption], full: bool) {
    let (src, dst) = (samples::SRC4.into(), samples::DST4.into());
    out.resize(52 + data.len(), 0);
    let total = out.len() as u16;
    let (ip_bytes, tcp_bytes) = out.split_at_mut(20);
    let mut segment = MutableTcpPacket::new(tcp_bytes).unwrap();
    segment.set_source(samples::TCP_SRC);
    segment.set_destination(samples::TCP_DST);
    segment.set_sequence(samples::SEQ);
    segment.set_acknowledgement(samples::ACK);
    segment.set_data_offset(8);
    segment.set_flags(0x18);
    segment.set_window(samples::WINDOW);
    segment.set_options(options);
    segment.set_payload(data);
    segment.set_checksum(0);
    if full {
        let sum = tcp::ipv4_checksum(&segment.to_immutable(), &src, &dst);
        segment.set_checksum(sum);
    }
    let mut packet = MutableIpv4Packet::new(ip_bytes).unwrap();
    packet.set_version(4);
    packet.set_header_length(5);
    packet.set_total_length(total);
    packet.set_flags(2);
    packet.set_ttl(samples::TTL);
    packet.set_next_level_protocol(Proto::Tcp);
    packet.set_source(src);
    packet.set_destination(dst);
    packet.set_checksum(0);
    let sum = ipv4::checksum(&packet.to_immutable());
    packet.set_checksum(sum);
}

#[inline(always)]
pub(crate) fn build_udp(data: &[u8], out: &mut Vec<u8>, three: bool, full: bool) {
    let (src, dst) = (samples::SRC6.into(), samples::DST6.into());
    let chain = if three { 24 } else { 0 };
    out.resize(48 + chain + data.len(), 0);
    let len = (out.len() - 40) as u16;
    let (ip_bytes, rest) = out.split_at_mut(40);
    let mut packet = MutableIpv6Packet::new(ip_bytes).unwrap();
    packet.set_version(6);
    packet.set_payload_length(len);
    packet.set_hop_limit(samples::TTL);
    packet.set_next_header(if three { Proto::Hopopt } else { Proto::Udp });
    packet.set_source(src);
    packet.set_destination(dst);
    let (extensions, datagram) = rest.split_at_mut(chain);
    if three {
        for (at, next, options) in [
            (0, Proto::Ipv6Opts, [5, 2, 0, 0, 1, 0]),
            (8, Proto::Ipv6Frag, [1, 4, 0, 0, 0, 0]),
        ] {
            let mut header = MutableExtensionPacket::new(&mut extensions[at..at + 8]).unwrap();
            header.set_next_header(next);
            header.set_hdr_ext_len(0);
            extensions[at + 2..at + 8].copy_from_slice(&options);
        }
        let mut header = MutableFragmentPacket::new(&mut extensions[16..]).unwrap();
        header.set_next_header(Proto::Udp);
        header.set_fragment_offset_with_flags(0);
        header.set_id(9);
    }
    let mut datagram = MutableUdpPacket::new(datagram).unwrap();
    datagram.set_source(samples::UDP_SRC);
    datagram.set_destination(samples::UDP_DST);
    datagram.set_length((8 + data.len()) as u16);
    datagram.set_payload(data);
    datagram.set_checksum(0);
    if full {
        let sum = udp::ipv6_checksum(&datagram.to_immutable(), &src, &dst);
        datagram.set_checksum(sum);
    }
}
