//! Which packets a capture wants: a protocol, a host, a port. It looks at a packet of any content, and reads nothing that
//! is not there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netstack::device::observe::SeenPacket;
use serde::{Deserialize, Serialize};

use super::rows::NetId;

/// Bytes of a packet in which its headers are looked for.
const HEADERS_BYTES: usize = 256;

/// Most extension headers that are passed over.
const MAX_EXTENSIONS: usize = 8;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// The properties that a packet must have. Those that are `None` may be anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PacketFilter {
    pub(crate) protocol: Option<NetId>,
    /// The source or the destination.
    pub(crate) host: Option<IpAddr>,
    /// The source's or the destination's. Fragments but the first have none.
    pub(crate) port: Option<u16>,
}

/// The addresses, ports and protocol of a packet.
#[derive(Debug)]
struct Headers {
    ends: [IpAddr; 2],
    protocol: u8,
    ports: Option<[u16; 2]>,
}

impl PacketFilter {
    /// Returns whether a packet is wanted. One that is no packet is wanted if all are.
    pub(crate) fn accepts(&self, packet: &SeenPacket<'_>) -> bool {
        *self == Self::default() || self.accepts_bytes(&packet.beginning(HEADERS_BYTES))
    }

    fn accepts_bytes(&self, packet: &[u8]) -> bool {
        let Some(headers) = Headers::of(packet) else {
            return false;
        };
        let is_protocol = self.protocol.is_none_or(|wanted| match wanted {
            NetId::Tcp => headers.protocol == TCP,
            NetId::Udp => headers.protocol == UDP,
            NetId::Icmp => matches!(headers.protocol, ICMP | ICMPV6),
        });
        let is_host = self.host.is_none_or(|host| headers.ends.contains(&host));
        let is_port = self
            .port
            .is_none_or(|port| headers.ports.is_some_and(|ports| ports.contains(&port)));
        is_protocol && is_host && is_port
    }
}

fn array<const N: usize>(packet: &[u8], at: usize) -> Option<[u8; N]> {
    packet.get(at..at + N)?.try_into().ok()
}

impl Headers {
    fn of(packet: &[u8]) -> Option<Self> {
        let (ends, protocol, transport) = match packet.first()? >> 4 {
            4 => Self::of_v4(packet)?,
            6 => Self::of_v6(packet)?,
            _ => return None,
        };
        let is_with_ports = matches!(protocol, TCP | UDP);
        let ports = transport.filter(|_| is_with_ports).and_then(|at| {
            let [a, b, c, d] = array(packet, at)?;
            Some([u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])])
        });
        Some(Self {
            ends,
            protocol,
            ports,
        })
    }

    fn of_v4(packet: &[u8]) -> Option<([IpAddr; 2], u8, Option<usize>)> {
        let header_len = usize::from(packet.first()? & 0xf) * 4;
        let fragment = u16::from_be_bytes(array(packet, 6)?) & 0x1fff;
        let ends =
            [12, 16].map(|at| array::<4>(packet, at).map(|bytes| Ipv4Addr::from(bytes).into()));
        let [source, destination] = ends;
        let transport = (fragment == 0).then_some(header_len);
        Some(([source?, destination?], *packet.get(9)?, transport))
    }

    fn of_v6(packet: &[u8]) -> Option<([IpAddr; 2], u8, Option<usize>)> {
        let ends =
            [8, 24].map(|at| array::<16>(packet, at).map(|bytes| Ipv6Addr::from(bytes).into()));
        let [source, destination] = ends;
        let ends = [source?, destination?];
        let (mut next, mut at) = (*packet.get(6)?, 40);
        for _ in 0..MAX_EXTENSIONS {
            match next {
                // Hop-by-hop options, routing, destination options.
                0 | 43 | 60 => {
                    let [following, len] = array(packet, at)?;
                    next = following;
                    at += (usize::from(len) + 1) * 8;
                }
                // Fragment.
                44 => {
                    let [following, _, high, low] = array(packet, at)?;
                    next = following;
                    if u16::from_be_bytes([high, low]) >> 3 != 0 {
                        return Some((ends, next, None));
                    }
                    at += 8;
                }
                _ => return Some((ends, next, Some(at))),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(protocol: u8, fragment: u16) -> Vec<u8> {
        let mut packet = vec![0; 24];
        packet[0] = 0x45;
        packet[6..8].copy_from_slice(&fragment.to_be_bytes());
        packet[9] = protocol;
        packet[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        packet[20..24].copy_from_slice(&[0, 80, 0, 7]);
        packet
    }

    /// TCP behind hop-by-hop options and a fragment header.
    fn v6(offset: u16) -> Vec<u8> {
        let mut packet = vec![0; 60];
        packet[0] = 0x60;
        packet[6] = 0;
        packet[23] = 1;
        packet[39] = 2;
        packet[40] = 44;
        packet[48] = TCP;
        packet[50..52].copy_from_slice(&(offset << 3).to_be_bytes());
        packet[56..60].copy_from_slice(&[0, 80, 0, 7]);
        packet
    }

    fn filter(text: &str) -> PacketFilter {
        serde_json::from_str(text).expect(text)
    }

    #[test]
    fn a_packet_must_have_all_that_is_asked() {
        for (text, tcp4, udp4, later, tcp6) in [
            ("{}", true, true, true, true),
            (r#"{"protocol":"tcp"}"#, true, false, true, true),
            (r#"{"host":"10.0.0.2"}"#, true, true, true, false),
            (r#"{"host":"::1"}"#, false, false, false, true),
            (r#"{"port":80}"#, true, true, false, true),
            (r#"{"port":81}"#, false, false, false, false),
            (r#"{"protocol":"udp","port":7}"#, false, true, false, false),
            (r#"{"protocol":"icmp"}"#, false, false, false, false),
        ] {
            let wanted = filter(text);
            let packets = [v4(TCP, 0), v4(UDP, 0), v4(TCP, 100), v6(0)];
            let accepted = packets.map(|packet| wanted.accepts_bytes(&packet));
            assert_eq!(accepted, [tcp4, udp4, later, tcp6], "{text}");
        }
        assert!(filter(r#"{"protocol":"icmp"}"#).accepts_bytes(&v4(ICMP, 0)));
        assert!(
            !filter(r#"{"port":80}"#).accepts_bytes(&v6(1)),
            "a later fragment has no ports"
        );
    }

    #[test]
    fn what_is_cut_off_is_not_read() {
        let wanted = filter(r#"{"port":80}"#);
        for packet in [v4(TCP, 0), v6(0)] {
            for len in 0..packet.len() {
                assert!(!wanted.accepts_bytes(&packet[..len]), "{len} bytes");
            }
        }
        let endless = [&[0x60, 0, 0, 0, 0, 0, 0][..], &[0; 200]].concat();
        assert!(
            !wanted.accepts_bytes(&endless),
            "extension headers without an end"
        );
    }
}
