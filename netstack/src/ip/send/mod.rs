//! Builds packets to send from transport headers and payload.
//!
//! A [`TxPacket`] from here has correct lengths, and its checksum is complete or left to a device that
//! completes it. No packet exceeds the path MTU unless the device cuts it.
//!
//! Headers are written into the packet's inline head, the payload is shared, and nothing here allocates.
//! Addresses, path MTU and identification are arguments.
//!
//! Sections: RFC 791 section 3.2, RFC 1122 section 3.3.3, RFC 1191 section 3, RFC 6864 section 4,
//! RFC 8200 sections 4.5 and 5.

use core::net::{IpAddr, SocketAddr};

use packet::build::{
    BuildError, Head, IpFields, TxChecksum, prepend_icmp, prepend_ip, prepend_tcp, prepend_udp,
};
use packet::frame::{ChecksumOffload, SegmentKind, SegmentOffload, TxOffload};
use packet::icmp::IcmpMessage;
use packet::tcp::TcpHeader;
use packet::udp::UdpHeader;
use packet::{Chunks, IpProto, TxPacket};

mod packets;

pub use packets::Packets;

use super::fragment::{FragmentError, FragmentPlan};
use super::pmtu::Path;
use crate::base::OffloadCaps;

/// Parameters of a packet to send, beyond its addresses and content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TxParams {
    /// Limits of the path: its MTU, and whether packets carry the don't fragment bit. Packets that are
    /// fragmented here never carry it.
    pub path: Path,
    /// Time to live (IPv4) or hop limit (IPv6).
    pub ttl: u8,
    /// DSCP in the upper 6 bits, ECN in the lower 2.
    pub traffic_class: u8,
    /// IPv6 flow label, 20 bits (RFC 6437); 0 means none. IPv4 ignores it.
    pub flow_label: u32,
    /// Work that the device takes over.
    pub offload: OffloadCaps,
}

/// The reason why a packet cannot be built.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SendError {
    /// The packet exceeds the path MTU, and neither the device nor IP may cut it.
    #[error(
        "a packet of {len} bytes exceeds the path MTU of {mtu} bytes and may not be fragmented: send less"
    )]
    TooBig {
        /// Length of the packet, in bytes with its headers.
        len: usize,
        /// The path MTU, in bytes.
        mtu: u16,
    },
    /// The datagram cannot be fragmented.
    #[error(transparent)]
    Fragment(#[from] FragmentError),
    /// The headers cannot be written: mixed address families, or a value that exceeds its field.
    #[error(transparent)]
    Build(#[from] BuildError),
}

impl TxParams {
    fn fields(&self, src: IpAddr, dst: IpAddr, proto: IpProto, ident: u16) -> IpFields {
        IpFields {
            src,
            dst,
            proto,
            ttl: self.ttl,
            traffic_class: self.traffic_class,
            ident,
            dont_fragment: self.path.dont_fragment,
            flow_label: self.flow_label,
        }
    }

    /// Returns the identification of a packet that is sent whole: 0 unless routers may fragment it
    /// (RFC 6864 section 4.1).
    fn ident(&self, dst: IpAddr, ident: impl FnOnce() -> u32) -> u16 {
        if dst.is_ipv6() || self.path.dont_fragment {
            0
        } else {
            // IPv4 uses 16 bits.
            ident() as u16
        }
    }

    fn checksum(&self) -> TxChecksum {
        if self.offload.tx_checksum {
            TxChecksum::Partial
        } else {
            TxChecksum::Full
        }
    }
}

/// Returns the length of the IP header that [`prepend_ip`] writes, in bytes.
fn ip_header_len(dst: IpAddr) -> usize {
    if dst.is_ipv4() { 20 } else { 40 }
}

/// Builds a TCP segment. The payload may exceed `mss` if the device cuts segments, each of which has `mss`
/// bytes of it. The ports of `src` and `dst` replace those of `header`. `ident` is called only if routers
/// may fragment the packet.
///
/// # Errors
/// [`SendError::TooBig`] if the payload exceeds `mss` and the device does not cut segments, or the packet
/// exceeds the path MTU; [`SendError::Build`] if the headers cannot be written.
#[inline]
pub fn tcp_packet(
    src: SocketAddr,
    dst: SocketAddr,
    header: &TcpHeader,
    payload: Chunks,
    mss: u16,
    params: &TxParams,
    ident: impl FnOnce() -> u32,
) -> Result<TxPacket, SendError> {
    let header = TcpHeader {
        src_port: src.port(),
        dst_port: dst.port(),
        ..*header
    };
    let mut packet = TxPacket {
        payload,
        ..TxPacket::default()
    };
    write_tcp(
        &mut packet,
        [src.ip(), dst.ip()],
        &header,
        mss,
        params,
        ident,
    )?;
    Ok(packet)
}

/// Writes the headers of a TCP segment to `packet`, which has its payload and no headers, as [`tcp_packet`] does. The
/// ports are those of `header`.
///
/// # Errors
/// As [`tcp_packet`]; the headers are incomplete then.
#[inline]
pub fn write_tcp(
    packet: &mut TxPacket,
    [src_ip, dst_ip]: [IpAddr; 2],
    header: &TcpHeader,
    mss: u16,
    params: &TxParams,
    ident: impl FnOnce() -> u32,
) -> Result<(), SendError> {
    let len = packet.payload.len_bytes();
    let header_len = ip_header_len(dst_ip) + header.len();
    let cut = len > usize::from(mss);
    let can_cut = params.offload.tso && params.offload.tx_checksum && mss > 0;
    let each = if cut { usize::from(mss) } else { len };
    if (cut && !can_cut) || header_len + each > usize::from(params.path.mtu) {
        return Err(SendError::TooBig {
            len: header_len + len,
            mtu: params.path.mtu,
        });
    }
    prepend_tcp(
        &mut packet.head,
        header,
        src_ip,
        dst_ip,
        packet.payload.slices(),
        len,
        params.checksum(),
    )?;
    let ident = params.ident(dst_ip, ident);
    prepend_ip(
        &mut packet.head,
        &params.fields(src_ip, dst_ip, IpProto::TCP, ident),
        len,
    )?;
    let kind = if dst_ip.is_ipv4() {
        SegmentKind::Tcp4
    } else {
        SegmentKind::Tcp6
    };
    packet.offload = TxOffload {
        checksum: params
            .offload
            .tx_checksum
            .then_some(ChecksumOffload::tcp(ip_header_len(dst_ip) as u16)),
        segment: cut.then_some(SegmentOffload {
            kind,
            size: mss,
            // At most 40 + 60.
            header_len: header_len as u16,
        }),
    };
    Ok(())
}

/// Builds a UDP datagram: one packet, or several fragments if it exceeds the path MTU. `ident` is called
/// only if there are fragments, or routers may fragment the packet.
///
/// ```
/// use netstack::base::OffloadCaps;
/// use netstack::ip::pmtu::Path;
/// use netstack::ip::send::{TxParams, udp_packets};
/// use packet::Payload;
///
/// let params = TxParams {
///     path: Path::unknown(1_500),
///     ttl: 64,
///     traffic_class: 0,
///     flow_label: 0,
///     offload: OffloadCaps::default(),
/// };
/// let payload = Payload::from(bytes::Bytes::from(vec![0; 4_000]));
/// let (src, dst) = ("10.0.0.1:53".parse()?, "10.0.0.9:4000".parse()?);
/// let packets = udp_packets(src, dst, payload.into(), &params, || 0x1234)?;
/// assert_eq!(packets.remaining(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`SendError::Fragment`] if no datagram can be that long; [`SendError::Build`] if the headers cannot be
/// written.
#[inline]
pub fn udp_packets(
    src: SocketAddr,
    dst: SocketAddr,
    payload: Chunks,
    params: &TxParams,
    ident: impl FnOnce() -> u32,
) -> Result<Packets, SendError> {
    let (src_ip, dst_ip) = (src.ip(), dst.ip());
    if fits_datagram(dst_ip, payload.len_bytes(), params) {
        let mut packet = TxPacket {
            payload,
            ..TxPacket::default()
        };
        write_udp(&mut packet, src, dst, params, ident)?;
        return Ok(Packets::whole(packet));
    }
    FragmentPlan::new(
        dst_ip.is_ipv6(),
        packet::udp::LEN + payload.len_bytes(),
        params.path.mtu,
    )?;
    let mut head = Head::new();
    // The device completes checksums of single packets, not of fragmented datagrams.
    prepend_udp(
        &mut head,
        &udp_header(src, dst),
        src_ip,
        dst_ip,
        payload.slices(),
        payload.len_bytes(),
        TxChecksum::Full,
    )?;
    let offload = TxOffload::default();
    Packets::new(
        src_ip,
        dst_ip,
        IpProto::UDP,
        head,
        payload,
        offload,
        params,
        ident,
    )
}

/// Writes the headers of a UDP datagram to `packet`, which has its payload and no headers. `ident` is called only if
/// routers may fragment the packet.
///
/// # Errors
/// [`SendError::TooBig`] if the datagram exceeds the path MTU; [`SendError::Build`] if the headers cannot be written. They
/// are incomplete then.
#[inline]
pub fn write_udp(
    packet: &mut TxPacket,
    src: SocketAddr,
    dst: SocketAddr,
    params: &TxParams,
    ident: impl FnOnce() -> u32,
) -> Result<(), SendError> {
    let (src_ip, dst_ip) = (src.ip(), dst.ip());
    let len = packet.payload.len_bytes();
    if !fits_datagram(dst_ip, len, params) {
        return Err(SendError::TooBig {
            len: ip_header_len(dst_ip) + packet::udp::LEN + len,
            mtu: params.path.mtu,
        });
    }
    let checksum = params.checksum();
    prepend_udp(
        &mut packet.head,
        &udp_header(src, dst),
        src_ip,
        dst_ip,
        packet.payload.slices(),
        len,
        checksum,
    )?;
    let ident = params.ident(dst_ip, ident);
    let fields = params.fields(src_ip, dst_ip, IpProto::UDP, ident);
    prepend_ip(&mut packet.head, &fields, len)?;
    packet.offload.checksum = (checksum == TxChecksum::Partial)
        .then_some(ChecksumOffload::udp(ip_header_len(dst_ip) as u16));
    Ok(())
}

/// Returns the header of a datagram whose length is not written yet.
fn udp_header(src: SocketAddr, dst: SocketAddr) -> UdpHeader {
    UdpHeader {
        src_port: src.port(),
        dst_port: dst.port(),
        len: 0,
    }
}

/// Builds one packet that the device cuts into UDP datagrams to one peer (UDP GSO), each with
/// `gso_size` bytes of `payload`; the last may have fewer.
///
/// # Errors
/// [`SendError::TooBig`] if the device does not cut UDP, `gso_size` is zero or a datagram exceeds the
/// MTU; [`SendError::Build`] if the payload exceeds 65,535 bytes with its headers.
#[inline]
pub fn udp_gso_packet(
    src: SocketAddr,
    dst: SocketAddr,
    payload: Chunks,
    gso_size: u16,
    params: &TxParams,
    ident: impl FnOnce() -> u32,
) -> Result<TxPacket, SendError> {
    let (src_ip, dst_ip) = (src.ip(), dst.ip());
    let header_len = ip_header_len(dst_ip) + packet::udp::LEN;
    let len = payload.len_bytes();
    let each = len.min(usize::from(gso_size));
    let can_cut = params.offload.uso && params.offload.tx_checksum && gso_size > 0;
    if !can_cut || header_len + each > usize::from(params.path.mtu) {
        return Err(SendError::TooBig {
            len: header_len + each,
            mtu: params.path.mtu,
        });
    }
    let mut head = Head::new();
    let pieces = payload.slices();
    prepend_udp(
        &mut head,
        &udp_header(src, dst),
        src_ip,
        dst_ip,
        pieces,
        len,
        TxChecksum::Partial,
    )?;
    let ident = params.ident(dst_ip, ident);
    prepend_ip(
        &mut head,
        &params.fields(src_ip, dst_ip, IpProto::UDP, ident),
        len,
    )?;
    Ok(TxPacket {
        head,
        payload,
        offload: TxOffload {
            checksum: Some(ChecksumOffload::udp(ip_header_len(dst_ip) as u16)),
            segment: (len > each).then_some(SegmentOffload {
                kind: SegmentKind::Udp,
                size: gso_size,
                // At most 48.
                header_len: header_len as u16,
            }),
        },
    })
}

/// Builds an ICMP message with the payload behind its header of 8 bytes: one packet, or several fragments
/// if it exceeds the path MTU, as an echo reply may.
///
/// # Errors
/// [`SendError::Fragment`] if no datagram can be that long; [`SendError::Build`] if the headers cannot be
/// written.
pub fn icmp_packets(
    src: IpAddr,
    dst: IpAddr,
    message: IcmpMessage,
    payload: Chunks,
    params: &TxParams,
    ident: impl FnOnce() -> u32,
) -> Result<Packets, SendError> {
    let mut head = Head::new();
    let len = payload.len_bytes();
    prepend_icmp(&mut head, message, src, dst, payload.slices(), len)?;
    let offload = TxOffload::default();
    Packets::new(
        src,
        dst,
        message.proto(),
        head,
        payload,
        offload,
        params,
        ident,
    )
}

/// Returns `true` if a UDP datagram with `len` bytes of payload leaves in one packet.
pub fn fits_datagram(dst: IpAddr, len: usize, params: &TxParams) -> bool {
    fits(dst, packet::udp::LEN + len, params)
}

/// Returns `true` if a packet with `len` bytes behind the IP header fits the path MTU.
fn fits(dst: IpAddr, len: usize, params: &TxParams) -> bool {
    ip_header_len(dst) + len <= usize::from(params.path.mtu)
}

#[cfg(test)]
mod tests;
