//! Packets built and parsed without the code under test.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use packet::Payload;
use packet::build::Head;
use packet::frame::{ChecksumOffload, Chunks, SegmentKind, SegmentOffload, TxOffload, TxPacket};

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMPV6: u8 = 58;

/// Returns the sum of 16-bit words with folded carries, not complemented.
fn sum(pieces: &[&[u8]]) -> u16 {
    let mut sum = 0_u64;
    for piece in pieces {
        for pair in piece.chunks(2) {
            sum += u64::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        }
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn pseudo(src: IpAddr, dst: IpAddr, proto: u8, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for addr in [src, dst] {
        match addr {
            IpAddr::V4(addr) => bytes.extend(addr.octets()),
            IpAddr::V6(addr) => bytes.extend(addr.octets()),
        }
    }
    bytes.extend((len as u32).to_be_bytes());
    bytes.extend([0, 0, 0, proto]);
    bytes
}

fn checksum_at(proto: u8) -> usize {
    match proto {
        TCP => 16,
        UDP => 6,
        _ => 2,
    }
}

/// The state of a checksum: complete, or left to the device.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checksum {
    Full,
    Partial,
}

/// Builds an IP packet with `transport`, whose checksum field is zero, and `payload`. The headers are in the
/// packet's head, the payload in two chunks.
pub(crate) fn packet(
    src: IpAddr,
    dst: IpAddr,
    proto: u8,
    mut transport: Vec<u8>,
    payload: &[u8],
    checksum: Checksum,
    segment: Option<u16>,
) -> TxPacket {
    let len = transport.len() + payload.len();
    let pseudo = if proto == ICMP {
        Vec::new()
    } else {
        pseudo(src, dst, proto, len)
    };
    let at = checksum_at(proto);
    let value = match checksum {
        Checksum::Full => !sum(&[&pseudo, &transport, payload]),
        Checksum::Partial => sum(&[&pseudo]),
    };
    transport[at..at + 2].copy_from_slice(&value.to_be_bytes());
    let ip = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, proto, 0, 0];
            ip[2..4].copy_from_slice(&u16::try_from(20 + len).expect("length").to_be_bytes());
            ip.extend(src.octets());
            ip.extend(dst.octets());
            let header = !sum(&[&ip]);
            ip[10..12].copy_from_slice(&header.to_be_bytes());
            ip
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let mut ip = vec![0x60, 0, 0, 0, 0, 0, proto, 64];
            ip[4..6].copy_from_slice(&u16::try_from(len).expect("length").to_be_bytes());
            ip.extend(src.octets());
            ip.extend(dst.octets());
            ip
        }
        _ => panic!("mixed families"),
    };
    let mut head = Head::new();
    head.prepend(transport.len())
        .expect("room")
        .copy_from_slice(&transport);
    head.prepend(ip.len()).expect("room").copy_from_slice(&ip);
    let mut chunks = Chunks::default();
    let (front, back) = payload.split_at(payload.len() / 3);
    for part in [front, back] {
        if !part.is_empty() {
            chunks
                .push(Payload::from(Bytes::copy_from_slice(part)))
                .expect("two of six");
        }
    }
    TxPacket {
        head,
        payload: chunks,
        offload: TxOffload {
            checksum: (checksum == Checksum::Partial).then_some(ChecksumOffload {
                start: ip.len() as u16,
                offset: at as u16,
            }),
            segment: segment.map(|size| SegmentOffload {
                kind: match (proto, src) {
                    (UDP, _) => SegmentKind::Udp,
                    (_, IpAddr::V4(_)) => SegmentKind::Tcp4,
                    _ => SegmentKind::Tcp6,
                },
                size,
                header_len: (ip.len() + transport.len()) as u16,
            }),
        },
    }
}

/// Builds a UDP datagram.
pub(crate) fn udp(
    src: SocketAddr,
    dst: SocketAddr,
    payload: &[u8],
    checksum: Checksum,
    segment: Option<u16>,
) -> TxPacket {
    let mut header = Vec::new();
    header.extend(src.port().to_be_bytes());
    header.extend(dst.port().to_be_bytes());
    header.extend(((8 + payload.len()) as u16).to_be_bytes());
    header.extend([0, 0]);
    packet(src.ip(), dst.ip(), UDP, header, payload, checksum, segment)
}

/// The header fields of a TCP segment, without options.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tcp {
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
}

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const ACK: u8 = 16;

/// Builds a TCP segment, or a super-segment.
pub(crate) fn tcp(
    src: SocketAddr,
    dst: SocketAddr,
    tcp: Tcp,
    payload: &[u8],
    checksum: Checksum,
    segment: Option<u16>,
) -> TxPacket {
    let mut header = Vec::new();
    header.extend(src.port().to_be_bytes());
    header.extend(dst.port().to_be_bytes());
    header.extend(tcp.seq.to_be_bytes());
    header.extend(tcp.ack.to_be_bytes());
    header.extend([0x50, tcp.flags, 0xff, 0xff, 0, 0, 0, 0]);
    packet(src.ip(), dst.ip(), TCP, header, payload, checksum, segment)
}

/// Builds an echo request.
pub(crate) fn echo(src: IpAddr, dst: IpAddr, payload: &[u8]) -> TxPacket {
    let (proto, kind) = if src.is_ipv4() {
        (ICMP, 8)
    } else {
        (ICMPV6, 128)
    };
    let header = vec![kind, 0, 0, 0, 0x12, 0x34, 0, 1];
    packet(src, dst, proto, header, payload, Checksum::Full, None)
}

/// A parsed packet.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) proto: u8,
    pub(crate) transport: &'a [u8],
}

impl<'a> Seen<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        match bytes[0] >> 4 {
            4 => {
                let len = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
                assert_eq!(len, bytes.len(), "IPv4 length");
                let address = |at: usize| -> IpAddr {
                    <[u8; 4]>::try_from(&bytes[at..at + 4])
                        .expect("four")
                        .into()
                };
                Self {
                    src: address(12),
                    dst: address(16),
                    proto: bytes[9],
                    transport: &bytes[usize::from(bytes[0] & 15) * 4..],
                }
            }
            6 => {
                let len = usize::from(u16::from_be_bytes([bytes[4], bytes[5]]));
                assert_eq!(len + 40, bytes.len(), "IPv6 length");
                let address = |at: usize| -> IpAddr {
                    <[u8; 16]>::try_from(&bytes[at..at + 16])
                        .expect("sixteen")
                        .into()
                };
                Self {
                    src: address(8),
                    dst: address(24),
                    proto: bytes[6],
                    transport: &bytes[40..],
                }
            }
            version => panic!("IP version {version}"),
        }
    }

    /// Returns `true` if the transport checksum is complete and correct.
    pub(crate) fn is_intact(&self) -> bool {
        let pseudo = if self.proto == ICMP {
            Vec::new()
        } else {
            pseudo(self.src, self.dst, self.proto, self.transport.len())
        };
        sum(&[&pseudo, self.transport]) == 0xffff
    }

    pub(crate) fn src_port(&self) -> u16 {
        u16::from_be_bytes([self.transport[0], self.transport[1]])
    }

    pub(crate) fn dst_port(&self) -> u16 {
        u16::from_be_bytes([self.transport[2], self.transport[3]])
    }

    pub(crate) fn source(&self) -> SocketAddr {
        (self.src, self.src_port()).into()
    }

    pub(crate) fn tcp(&self) -> Tcp {
        let word = |at: usize| {
            u32::from_be_bytes(<[u8; 4]>::try_from(&self.transport[at..at + 4]).expect("four"))
        };
        Tcp {
            seq: word(4),
            ack: word(8),
            flags: self.transport[13],
        }
    }

    pub(crate) fn tcp_payload(&self) -> &'a [u8] {
        &self.transport[usize::from(self.transport[12] >> 4) * 4..]
    }
}
