//! Bytes of the packets that arrive at the stack.

use std::net::{IpAddr, SocketAddr};

use packet::IpProto;
use packet::build::{Head, IpFields, TxChecksum, prepend_ip, prepend_udp};
use packet::checksum::pseudo_header;
use packet::tcp::{SackBlocks, TcpOption, Timestamps, write_option};
use packet::udp::UdpHeader;

use crate::pktscript::ast::{Ecn, IpInfo, Tcp, TcpOpt};

/// Most bytes of options that a header has room for.
const MAX_OPTIONS: usize = 40;

/// The magic number of the experimental Fast Open option (RFC 6994).
const FAST_OPEN_MAGIC: [u8; 2] = [0xf9, 0x89];

/// Returns the byte of type of service or traffic class.
fn traffic_class(info: &IpInfo) -> u8 {
    let ecn = match info.ecn {
        Some(Ecn::Bits(bits)) => bits,
        Some(Ecn::AnyEct) => 2,
        None => 0,
    };
    info.tos.unwrap_or(0) | ecn
}

/// Returns an IP packet with this payload.
///
/// # Errors
/// The packet is longer than IP can say.
pub fn ip(
    from: IpAddr,
    to: IpAddr,
    proto: IpProto,
    info: &IpInfo,
    payload: &[u8],
) -> Result<Vec<u8>, String> {
    let fields = IpFields {
        src: from,
        dst: to,
        proto,
        ttl: info.ttl.unwrap_or(255),
        traffic_class: traffic_class(info),
        ident: 0,
        dont_fragment: true,
        flow_label: info.flow_label.unwrap_or(0),
    };
    let mut head = Head::new();
    prepend_ip(&mut head, &fields, payload.len()).map_err(|error| error.to_string())?;
    Ok([head.as_slice(), payload].concat())
}

/// Returns a TCP segment, header and payload, with a right checksum.
///
/// # Errors
/// The options do not fit, or a value cannot be written.
pub fn tcp_segment(
    from: SocketAddr,
    to: SocketAddr,
    segment: &Tcp,
    payload: &[u8],
) -> Result<Vec<u8>, String> {
    let options = options(segment.options.as_deref().unwrap_or_default())?;
    let header_len = 20 + options.len();
    let data_offset = (header_len / 4) as u16;
    let mut bytes = Vec::with_capacity(header_len + payload.len());
    bytes.extend(from.port().to_be_bytes());
    bytes.extend(to.port().to_be_bytes());
    bytes.extend(segment.seq.to_be_bytes());
    bytes.extend(segment.ack.unwrap_or(0).to_be_bytes());
    bytes.extend((data_offset << 12 | segment.flags & 0x1ff).to_be_bytes());
    bytes.extend(segment.window.unwrap_or(0).to_be_bytes());
    bytes.extend([0; 2]);
    bytes.extend(segment.urgent.unwrap_or(0).to_be_bytes());
    bytes.extend(options);
    bytes.extend(payload);
    let mut sum = pseudo_header(from.ip(), to.ip(), IpProto::TCP, bytes.len() as u32);
    sum.add_bytes(&bytes);
    if let Some(field) = bytes.get_mut(16..18) {
        field.copy_from_slice(&sum.finish().to_be_bytes());
    }
    Ok(bytes)
}

/// Returns a packet with a TCP segment.
///
/// # Errors
/// As [`tcp_segment`] and [`ip`].
pub fn tcp(
    from: SocketAddr,
    to: SocketAddr,
    info: &IpInfo,
    segment: &Tcp,
    payload: &[u8],
) -> Result<Vec<u8>, String> {
    let bytes = tcp_segment(from, to, segment, payload)?;
    ip(from.ip(), to.ip(), IpProto::TCP, info, &bytes)
}

/// Returns a packet with a UDP datagram.
///
/// # Errors
/// The datagram is longer than IP can say.
pub fn udp(
    from: SocketAddr,
    to: SocketAddr,
    info: &IpInfo,
    payload: &[u8],
) -> Result<Vec<u8>, String> {
    let header = UdpHeader {
        src_port: from.port(),
        dst_port: to.port(),
        len: 0,
    };
    let mut head = Head::new();
    prepend_udp(
        &mut head,
        &header,
        from.ip(),
        to.ip(),
        [payload].into_iter(),
        payload.len(),
        TxChecksum::Full,
    )
    .map_err(|error| error.to_string())?;
    let bytes = [head.as_slice(), payload].concat();
    ip(from.ip(), to.ip(), IpProto::UDP, info, &bytes)
}

/// Returns options in wire format, padded to a multiple of four bytes.
fn options(options: &[TcpOpt]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for option in options {
        let written = one(option)?;
        bytes.extend(written);
    }
    let padded = bytes.len().next_multiple_of(4);
    if padded > MAX_OPTIONS {
        return Err(format!(
            "the options take {} bytes: a header has room for {MAX_OPTIONS}",
            bytes.len()
        ));
    }
    // The end of the list, of which one byte counts and the others are not read.
    bytes.resize(padded, 0);
    Ok(bytes)
}

/// Returns one option in wire format.
fn one(option: &TcpOpt) -> Result<Vec<u8>, String> {
    let known = match option {
        TcpOpt::Nop => TcpOption::Nop,
        TcpOpt::Mss(mss) => TcpOption::Mss(*mss),
        TcpOpt::WindowScale(shift) => TcpOption::WindowScale(*shift),
        TcpOpt::SackOk => TcpOption::SackPermitted,
        TcpOpt::Timestamps { val, ecr } => TcpOption::Timestamps(Timestamps {
            val: *val,
            ecr: *ecr,
        }),
        TcpOpt::Sack(blocks) if !blocks.is_empty() => {
            let mut sack = SackBlocks::new();
            for (left, right) in blocks {
                sack.push(*left, *right);
            }
            TcpOption::Sack(sack)
        }
        TcpOpt::Eol => return Ok(vec![0]),
        // Written here, since lengths that are not valid must be possible as well.
        TcpOpt::Sack(_) => return raw(5, &[]),
        TcpOpt::FastOpen(cookie) => return raw(34, cookie),
        TcpOpt::FastOpenExperimental(cookie) => {
            return raw(254, &[&FAST_OPEN_MAGIC, &cookie[..]].concat());
        }
        TcpOpt::Md5(Some(signature)) => return raw(19, signature),
        TcpOpt::Md5(None) => return Err("a valid md5 signature needs a key".to_owned()),
        TcpOpt::AccEcn {
            ect1_first,
            counters,
        } => {
            let kind = if *ect1_first { 174 } else { 172 };
            let bytes: Vec<u8> = counters
                .iter()
                .flat_map(|counter| counter.to_be_bytes().into_iter().skip(1))
                .collect();
            return raw(kind, &bytes);
        }
        TcpOpt::Other { kind, data } => return raw(*kind, data),
    };
    let mut buffer = [0; MAX_OPTIONS];
    let len = write_option(known, &mut buffer)
        .ok_or_else(|| format!("the option {option:?} cannot be written"))?;
    Ok(buffer.get(..len).unwrap_or_default().to_vec())
}

/// Returns an option of this kind with these bytes.
fn raw(kind: u8, data: &[u8]) -> Result<Vec<u8>, String> {
    let len = u8::try_from(data.len() + 2)
        .map_err(|_| format!("{} bytes do not fit an option", data.len()))?;
    Ok([&[kind, len], data].concat())
}
