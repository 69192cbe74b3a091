//! `etherparse`, with its general types (`SlicedPacket`, which dispatches over every protocol that it
//! knows, and `PacketBuilder`) and layer by layer, its fastest way.
//!
//! It verifies no checksums by itself; here it verifies those that the other libraries verify.

use etherparse::checksum::Sum16BitWords;
use etherparse::{
    IpFragOffset, IpHeaders, IpNumber, Ipv4Header, Ipv4Slice, Ipv6Extensions, Ipv6FragmentHeader,
    Ipv6Header, Ipv6RawExtHeader, Ipv6Slice, NetSlice, PacketBuilder, SlicedPacket, TcpHeader,
    TcpOptionElement, TcpSlice, TransportSlice, UdpHeader, UdpSlice,
};

use super::parse::Found;
use super::samples;

#[inline(always)]
pub(crate) fn v4_tcp(bytes: &[u8], verify: bool) -> Option<Found> {
    let packet = SlicedPacket::from_ip(bytes).ok()?;
    let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Tcp(tcp))) =
        (&packet.net, &packet.transport)
    else {
        return None;
    };
    found_tcp(ip, tcp, verify)
}

#[inline(always)]
pub(crate) fn v4_tcp_by_layer(bytes: &[u8], verify: bool) -> Option<Found> {
    let ip = Ipv4Slice::from_slice(bytes).ok()?;
    if ip.payload().ip_number != IpNumber::TCP || ip.payload().fragmented {
        return None;
    }
    let tcp = TcpSlice::from_slice(ip.payload().payload).ok()?;
    found_tcp(&ip, &tcp, verify)
}

#[inline(always)]
fn found_tcp(ip: &Ipv4Slice<'_>, tcp: &TcpSlice<'_>, verify: bool) -> Option<Found> {
    let header = ip.header();
    if Sum16BitWords::new()
        .add_slice(header.slice())
        .ones_complement()
        != 0
    {
        return None;
    }
    let (src, dst) = (header.source(), header.destination());
    if verify && tcp.calc_checksum_ipv4(src, dst).ok()? != tcp.checksum() {
        return None;
    }
    let stamp = tcp.options_iterator().find_map(|option| match option {
        Ok(TcpOptionElement::Timestamp(val, _)) => Some(val),
        _ => None,
    });
    Some((
        tcp.source_port(),
        tcp.destination_port(),
        tcp.sequence_number() ^ stamp.unwrap_or(0),
        tcp.payload().len(),
    ))
}

#[inline(always)]
pub(crate) fn v6_udp(bytes: &[u8], verify: bool) -> Option<Found> {
    let packet = SlicedPacket::from_ip(bytes).ok()?;
    let (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Udp(udp))) =
        (&packet.net, &packet.transport)
    else {
        return None;
    };
    found_udp(ip, udp, verify)
}

#[inline(always)]
pub(crate) fn v6_udp_by_layer(bytes: &[u8], verify: bool) -> Option<Found> {
    let ip = Ipv6Slice::from_slice(bytes).ok()?;
    if ip.payload().ip_number != IpNumber::UDP || ip.payload().fragmented {
        return None;
    }
    let udp = UdpSlice::from_slice(ip.payload().payload).ok()?;
    found_udp(&ip, &udp, verify)
}

#[inline(always)]
fn found_udp(ip: &Ipv6Slice<'_>, udp: &UdpSlice<'_>, verify: bool) -> Option<Found> {
    if verify {
        let (src, dst) = (ip.header().source(), ip.header().destination());
        let header = udp.to_header();
        let sum = header
            .calc_checksum_ipv6_raw(src, dst, udp.payload())
            .ok()?;
        if sum != udp.checksum() {
            return None;
        }
    }
    let len = udp.payload().len();
    Some((udp.source_port(), udp.destination_port(), 0, len))
}

const TCP_OPTIONS: [TcpOptionElement; 3] = [
    TcpOptionElement::Noop,
    TcpOptionElement::Noop,
    TcpOptionElement::Timestamp(samples::STAMPS.val, samples::STAMPS.ecr),
];

#[inline(always)]
pub(crate) fn build_tcp(data: &[u8], out: &mut Vec<u8>, full: bool) {
    out.clear();
    if full {
        PacketBuilder::ipv4(samples::SRC4, samples::DST4, samples::TTL)
            .tcp(
                samples::TCP_SRC,
                samples::TCP_DST,
                samples::SEQ,
                samples::WINDOW,
            )
            .ack(samples::ACK)
            .psh()
            .options(&TCP_OPTIONS)
            .unwrap()
            .write(out, data)
            .unwrap();
        return;
    }
    let mut tcp = TcpHeader::new(
        samples::TCP_SRC,
        samples::TCP_DST,
        samples::SEQ,
        samples::WINDOW,
    );
    tcp.ack = true;
    tcp.psh = true;
    tcp.acknowledgment_number = samples::ACK;
    tcp.set_options(&TCP_OPTIONS).unwrap();
    let len = (tcp.header_len() + data.len()) as u16;
    let mut ip = Ipv4Header::new(
        len,
        samples::TTL,
        IpNumber::TCP,
        samples::SRC4,
        samples::DST4,
    )
    .unwrap();
    ip.header_checksum = ip.calc_header_checksum();
    ip.write(out).unwrap();
    tcp.write(out).unwrap();
    out.extend_from_slice(data);
}

#[inline(always)]
pub(crate) fn build_udp(data: &[u8], out: &mut Vec<u8>, three: bool, full: bool) {
    out.clear();
    let extensions = match three {
        true => Ipv6Extensions {
            hop_by_hop_options: Some(
                Ipv6RawExtHeader::new_raw(IpNumber::UDP, &[5, 2, 0, 0, 1, 0]).unwrap(),
            ),
            destination_options: Some(
                Ipv6RawExtHeader::new_raw(IpNumber::UDP, &[1, 4, 0, 0, 0, 0]).unwrap(),
            ),
            fragment: Some(Ipv6FragmentHeader::new(
                IpNumber::UDP,
                IpFragOffset::ZERO,
                false,
                9,
            )),
            ..Ipv6Extensions::default()
        },
        false => Ipv6Extensions::default(),
    };
    let mut ip = Ipv6Header {
        payload_length: (extensions.header_len() + 8 + data.len()) as u16,
        next_header: IpNumber::UDP,
        hop_limit: samples::TTL,
        source: samples::SRC6,
        destination: samples::DST6,
        ..Ipv6Header::default()
    };
    if full {
        PacketBuilder::ip(IpHeaders::Ipv6(ip, extensions))
            .udp(samples::UDP_SRC, samples::UDP_DST)
            .write(out, data)
            .unwrap();
        return;
    }
    let mut extensions = extensions;
    ip.next_header = extensions.set_next_headers(IpNumber::UDP);
    ip.write(out).unwrap();
    extensions.write(out, ip.next_header).unwrap();
    UdpHeader {
        source_port: samples::UDP_SRC,
        destination_port: samples::UDP_DST,
        length: (8 + data.len()) as u16,
        checksum: 0,
    }
    .write(out)
    .unwrap();
    out.extend_from_slice(data);
}
