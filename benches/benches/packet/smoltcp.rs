//! `smoltcp::wire`.

use smoltcp::phy::{Checksum, ChecksumCapabilities};
use smoltcp::wire::{
    IpProtocol, Ipv4Address, Ipv4Packet, Ipv4Repr, Ipv6Address, Ipv6ExtHeader, Ipv6ExtHeaderRepr,
    Ipv6FragmentHeader, Ipv6FragmentRepr, Ipv6HopByHopHeader, Ipv6HopByHopRepr, Ipv6Option,
    Ipv6OptionRepr, Ipv6OptionRouterAlert, Ipv6Packet, Ipv6Repr, TcpControl, TcpPacket, TcpRepr,
    TcpSeqNumber, TcpTimestampRepr, UdpPacket, UdpRepr,
};

use super::parse::Found;
use super::samples;

pub(crate) fn caps(verify: bool) -> ChecksumCapabilities {
    let mut caps = ChecksumCapabilities::default();
    if !verify {
        caps.tcp = Checksum::None;
        caps.udp = Checksum::None;
    }
    caps
}

#[inline(always)]
pub(crate) fn v4_tcp(bytes: &[u8], caps: &ChecksumCapabilities) -> Option<Found> {
    let packet = Ipv4Packet::new_checked(bytes).ok()?;
    let ip = Ipv4Repr::parse(&packet, caps).ok()?;
    let tcp = TcpPacket::new_checked(packet.payload()).ok()?;
    let repr = TcpRepr::parse(&tcp, &ip.src_addr.into(), &ip.dst_addr.into(), caps).ok()?;
    let stamp = repr.timestamp.map_or(0, |stamps| stamps.tsval);
    Some((
        repr.src_port,
        repr.dst_port,
        repr.seq_number.0 as u32 ^ stamp,
        repr.payload.len(),
    ))
}

#[inline(always)]
pub(crate) fn v6_udp(bytes: &[u8], caps: &ChecksumCapabilities) -> Option<Found> {
    let packet = Ipv6Packet::new_checked(bytes).ok()?;
    let ip = Ipv6Repr::parse(&packet).ok()?;
    let mut next = ip.next_header;
    let mut rest = packet.payload();
    loop {
        match next {
            IpProtocol::HopByHop | IpProtocol::Ipv6Opts => {
                let header = Ipv6ExtHeader::new_checked(rest).ok()?;
                let repr = Ipv6ExtHeaderRepr::parse(&header).ok()?;
                let options = Ipv6HopByHopHeader::new_checked(repr.data).ok()?;
                let options = Ipv6HopByHopRepr::parse(&options).ok()?;
                if options.options.is_empty() {
                    return None;
                }
                next = repr.next_header;
                rest = rest.get(8 + usize::from(repr.length) * 8..)?;
            }
            IpProtocol::Ipv6Frag => {
                let header = Ipv6ExtHeader::new_checked(rest).ok()?;
                let repr = Ipv6ExtHeaderRepr::parse(&header).ok()?;
                let fragment = Ipv6FragmentHeader::new_checked(repr.data).ok()?;
                let fragment = Ipv6FragmentRepr::parse(&fragment).ok()?;
                if fragment.more_frags || fragment.frag_offset != 0 {
                    return None;
                }
                next = repr.next_header;
                rest = rest.get(8..)?;
            }
            _ => break,
        }
    }
    let udp = UdpPacket::new_checked(rest).ok()?;
    let repr = UdpRepr::parse(&udp, &ip.src_addr.into(), &ip.dst_addr.into(), caps).ok()?;
    Some((repr.src_port, repr.dst_port, 0, udp.payload().len()))
}

#[inline(always)]
pub(crate) fn build_tcp(data: &[u8], out: &mut Vec<u8>, full: bool) {
    let caps = caps(full);
    let [a, b, c, d] = samples::SRC4;
    let src_addr = Ipv4Address::new(a, b, c, d);
    let [a, b, c, d] = samples::DST4;
    let dst_addr = Ipv4Address::new(a, b, c, d);
    let tcp = TcpRepr {
        src_port: samples::TCP_SRC,
        dst_port: samples::TCP_DST,
        control: TcpControl::Psh,
        seq_number: TcpSeqNumber(samples::SEQ as i32),
        ack_number: Some(TcpSeqNumber(samples::ACK as i32)),
        window_len: samples::WINDOW,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: Some(TcpTimestampRepr::new(
            samples::STAMPS.val,
            samples::STAMPS.ecr,
        )),
        payload: data,
    };
    let ip = Ipv4Repr {
        src_addr,
        dst_addr,
        next_header: IpProtocol::Tcp,
        payload_len: tcp.buffer_len(),
        hop_limit: samples::TTL,
    };
    out.resize(20 + tcp.buffer_len(), 0);
    let mut packet = Ipv4Packet::new_unchecked(&mut out[..]);
    ip.emit(&mut packet, &caps);
    let mut segment = TcpPacket::new_unchecked(packet.payload_mut());
    tcp.emit(&mut segment, &src_addr.into(), &dst_addr.into(), &caps);
}

#[inline(always)]
pub(crate) fn build_udp(data: &[u8], out: &mut Vec<u8>, three: bool, full: bool) {
    let caps = caps(full);
    let (src_addr, dst_addr) = (
        Ipv6Address::from(samples::SRC6),
        Ipv6Address::from(samples::DST6),
    );
    let udp = UdpRepr {
        src_port: samples::UDP_SRC,
        dst_port: samples::UDP_DST,
    };
    let chain = if three { 24 } else { 0 };
    let ip = Ipv6Repr {
        src_addr,
        dst_addr,
        next_header: match three {
            true => IpProtocol::HopByHop,
            false => IpProtocol::Udp,
        },
        payload_len: chain + 8 + data.len(),
        hop_limit: samples::TTL,
    };
    out.resize(48 + chain + data.len(), 0);
    let mut packet = Ipv6Packet::new_unchecked(&mut out[..]);
    ip.emit(&mut packet);
    let mut rest = packet.payload_mut();
    if three {
        let (hop_by_hop, behind) = rest.split_at_mut(8);
        options(
            hop_by_hop,
            IpProtocol::Ipv6Opts,
            &[
                Ipv6OptionRepr::RouterAlert(Ipv6OptionRouterAlert::MulticastListenerDiscovery),
                Ipv6OptionRepr::PadN(0),
            ],
        );
        let (destination, behind) = behind.split_at_mut(8);
        options(
            destination,
            IpProtocol::Ipv6Frag,
            &[Ipv6OptionRepr::PadN(4)],
        );
        let (fragment, behind) = behind.split_at_mut(8);
        extension(fragment, IpProtocol::Udp, &[]);
        // The fragment header has a reserved byte where others have their length.
        let repr = Ipv6FragmentRepr {
            frag_offset: 0,
            more_frags: false,
            ident: 9,
        };
        repr.emit(&mut Ipv6FragmentHeader::new_unchecked(&mut fragment[2..]));
        rest = behind;
    }
    let mut datagram = UdpPacket::new_unchecked(rest);
    udp.emit(
        &mut datagram,
        &src_addr.into(),
        &dst_addr.into(),
        data.len(),
        |out| out.copy_from_slice(data),
        &caps,
    );
}

fn extension(out: &mut [u8], next_header: IpProtocol, data: &[u8]) {
    let repr = Ipv6ExtHeaderRepr {
        next_header,
        length: 0,
        data,
    };
    repr.emit(&mut Ipv6ExtHeader::new_unchecked(out));
}

fn options(out: &mut [u8], next_header: IpProtocol, options: &[Ipv6OptionRepr<'_>]) {
    extension(&mut *out, next_header, &[]);
    let mut at = 2;
    for option in options {
        let len = option.buffer_len();
        option.emit(&mut Ipv6Option::new_unchecked(&mut out[at..at + len]));
        at += len;
    }
}
