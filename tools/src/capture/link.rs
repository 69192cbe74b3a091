//! Link headers: finds the network packet in a captured frame, by link type.

use super::link_names;

/// Ethertype of IPv4.
pub const IPV4: u16 = 0x0800;
/// Ethertype of IPv6.
pub const IPV6: u16 = 0x86dd;
/// Ethertype of ARP.
pub const ARP: u16 = 0x0806;
/// Ethertypes of VLAN tags: 802.1Q, 802.1ad, and what came before it.
pub const VLAN: [u16; 4] = [0x8100, 0x88a8, 0x9100, 0x9200];
/// Ethertypes of MPLS.
const MPLS: [u16; 2] = [0x8847, 0x8848];
/// Ethertype of a PPPoE session.
const PPPOE: u16 = 0x8864;

/// Most tags and labels in front of a packet.
const MAX_TAGS: usize = 16;

/// The link type of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// Its number in the registry of link types.
    pub kind: u16,
    /// Bytes of the frame check sequence at the end of each frame.
    pub fcs_bytes: u8,
}

/// The content of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    /// Ethertype of the packet; 0 if it has none.
    pub ethertype: u16,
    /// Offset of the packet in the frame.
    pub at: usize,
}

impl Link {
    /// Returns the link type of a word in the header of a pcap file: the number, and how long the frame
    /// check sequence is.
    pub fn from_word(word: u32) -> Self {
        const FCS_PRESENT: u32 = 1 << 26;
        let fcs_bytes = if word & FCS_PRESENT != 0 {
            (word >> 28) as u8 * 2
        } else {
            0
        };
        Self {
            kind: word as u16,
            fcs_bytes,
        }
    }

    /// Returns its name for messages.
    pub fn name(self) -> String {
        link_names::name(self.kind)
    }

    /// Returns true if packets can be found in frames of this type.
    pub fn is_supported(self) -> bool {
        matches!(
            self.kind,
            0 | 1
                | 9
                | 12
                | 14
                | 50
                | 51
                | 101
                | 104
                | 108
                | 109
                | 113
                | 138
                | 204
                | 228
                | 229
                | 239
                | 276
        )
    }

    /// Returns ethertype and offset of what is right behind the link header, tags included.
    pub fn outer(self, frame: &[u8]) -> Option<(u16, usize)> {
        Some(match self.kind {
            0 | 108 => (family_ethertype(family(frame, 0)?)?, 4),
            1 => (be16(frame, 12)?, 14),
            9 | 50 => ppp(frame, 0)?,
            51 => pppoe(frame, 0)?,
            12 | 14 | 101 | 228 | 229 => (by_version(frame, 0)?, 0),
            104 => (be16(frame, 2)?, 4),
            109 => (family_ethertype(family(frame, 0)?)?, 12),
            113 => (be16(frame, 14)?, 16),
            138 => (be16(frame, 16)?, 18),
            204 => ppp(frame, 1)?,
            239 => nflog(frame)?,
            276 => (be16(frame, 0)?, 20),
            _ => return None,
        })
    }

    /// Returns the network packet of `frame`; `None` if the frame is too short or not understood.
    pub fn network(self, frame: &[u8]) -> Option<Network> {
        let (ethertype, at) = self.outer(frame)?;
        let (ethertype, at) = inside(frame, ethertype, at)?;
        (at <= frame.len()).then_some(Network { ethertype, at })
    }
}

/// Goes through tags, labels and LLC headers to the packet inside.
fn inside(frame: &[u8], ethertype: u16, at: usize) -> Option<(u16, usize)> {
    let (mut ethertype, mut at) = (ethertype, at);
    for _ in 0..MAX_TAGS {
        if VLAN.contains(&ethertype) {
            (ethertype, at) = (be16(frame, at + 2)?, at + 4);
        } else if MPLS.contains(&ethertype) {
            let bottom = frame.get(at + 2)? & 1 != 0;
            at += 4;
            if bottom {
                return Some((by_version(frame, at)?, at));
            }
        } else if ethertype == PPPOE {
            (ethertype, at) = pppoe(frame, at)?;
        } else if ethertype <= 1_500 {
            return Some(llc(frame, at).unwrap_or((0, at)));
        } else {
            break;
        }
    }
    Some((ethertype, at))
}

/// Returns the packet behind an 802.2 header: with SNAP, or IP by its own access point.
fn llc(frame: &[u8], at: usize) -> Option<(u16, usize)> {
    match frame.get(at..at + 3)? {
        [0xaa, 0xaa, 3] => {
            let oui = frame.get(at + 3..at + 6)?;
            // Encapsulated Ethernet, or bridge-tunnelled by 802.1H.
            let known = oui == [0, 0, 0] || oui == [0, 0, 0xf8];
            known.then_some((be16(frame, at + 6)?, at + 8))
        }
        [6, 6, 3] => Some((IPV4, at + 3)),
        _ => None,
    }
}

fn pppoe(frame: &[u8], at: usize) -> Option<(u16, usize)> {
    let session_data = frame.get(at + 1)? == &0;
    if !session_data {
        return None;
    }
    Some((ppp_ethertype(be16(frame, at + 6)?), at + 8))
}

/// Returns the packet of a PPP frame, whose address, control and first protocol byte may be left out.
fn ppp(frame: &[u8], at: usize) -> Option<(u16, usize)> {
    let mut at = at;
    match frame.get(at..at + 2)? {
        [0xff, 3] => at += 2,
        // Cisco's HDLC has an ethertype there.
        [0x0f | 0x8f, 0] => return Some((be16(frame, at + 2)?, at + 4)),
        _ => {}
    }
    let first = *frame.get(at)?;
    if first & 1 == 1 {
        return Some((ppp_ethertype(u16::from(first)), at + 1));
    }
    Some((ppp_ethertype(be16(frame, at)?), at + 2))
}

fn ppp_ethertype(protocol: u16) -> u16 {
    match protocol {
        0x21 => IPV4,
        0x57 => IPV6,
        0x281 | 0x283 => MPLS[0],
        _ => 0xffff,
    }
}

/// Returns the packet of an NFLOG frame: its payload attribute.
fn nflog(frame: &[u8]) -> Option<(u16, usize)> {
    const PAYLOAD: u16 = 9;
    let mut at = 4;
    for _ in 0..64 {
        let header = frame.get(at..at + 4)?;
        // In the byte order of the host that captured. Lengths are small, so the order shows itself.
        let little = u16::from_le_bytes([header[0], header[1]]);
        let big = u16::from_be_bytes([header[0], header[1]]);
        let kind = if little <= big {
            u16::from_le_bytes([header[2], header[3]])
        } else {
            u16::from_be_bytes([header[2], header[3]])
        };
        if kind & 0x7fff == PAYLOAD {
            return Some((by_version(frame, at + 4)?, at + 4));
        }
        let len = usize::from(little.min(big));
        if len < 4 {
            return None;
        }
        at += len.next_multiple_of(4);
    }
    None
}

/// Returns the address family in front of a BSD frame, in whichever byte order.
fn family(frame: &[u8], at: usize) -> Option<u32> {
    let four: [u8; 4] = frame.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_be_bytes(four).min(u32::from_le_bytes(four)))
}

fn family_ethertype(family: u32) -> Option<u16> {
    match family {
        2 => Some(IPV4),
        // Linux, the BSDs and Darwin number IPv6 differently.
        10 | 24 | 26 | 28 | 30 => Some(IPV6),
        _ => None,
    }
}

/// Returns the ethertype of an IP packet by its version field.
pub(crate) fn by_version(bytes: &[u8], at: usize) -> Option<u16> {
    match bytes.get(at)? >> 4 {
        4 => Some(IPV4),
        6 => Some(IPV6),
        _ => None,
    }
}

pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes([pair[0], pair[1]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: [u8; 3] = [0x45, 1, 2];

    fn link(kind: u16) -> Link {
        Link { kind, fcs_bytes: 0 }
    }

    /// Frame heads, each in front of an IPv4 packet.
    fn heads() -> Vec<(u16, Vec<u8>)> {
        let ethernet = |rest: &[u8]| [&[0; 12], rest].concat();
        let mut nflog = vec![2, 0, 0, 0];
        nflog.extend([8, 0, 1, 0, 8, 0, 0, 0]);
        nflog.extend([7, 0, 9, 0]);
        vec![
            (0, vec![2, 0, 0, 0]),
            (0, vec![0, 0, 0, 2]),
            (108, vec![0, 0, 0, 2]),
            (1, ethernet(&[8, 0])),
            (1, ethernet(&[0x81, 0, 0, 5, 8, 0])),
            (1, ethernet(&[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0])),
            (1, ethernet(&[0, 11, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0])),
            (1, ethernet(&[0, 6, 6, 6, 3])),
            (1, ethernet(&[0x88, 0x47, 0, 0, 0x10, 64, 0, 0, 0x11, 64])),
            (1, ethernet(&[0x88, 0x64, 0x11, 0, 0, 1, 0, 5, 0, 0x21])),
            (9, vec![0xff, 3, 0, 0x21]),
            (9, vec![0x21]),
            (50, vec![0xff, 3, 0, 0x21]),
            (50, vec![0x0f, 0, 8, 0]),
            (51, vec![0x11, 0, 0, 1, 0, 5, 0, 0x21]),
            (101, vec![]),
            (104, vec![0x0f, 0, 8, 0]),
            (109, vec![0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]),
            (113, [&[0; 14][..], &[8, 0]].concat()),
            (138, [&[0; 16][..], &[8, 0]].concat()),
            (204, vec![1, 0xff, 3, 0, 0x21]),
            (239, nflog),
            (276, [&[8, 0][..], &[0; 18]].concat()),
        ]
    }

    #[test]
    fn each_link_type_gives_the_ip_packet() {
        for (kind, head) in heads() {
            let frame = [&head[..], &PACKET].concat();
            let network = link(kind).network(&frame);
            let found = network.map(|network| (network.ethertype, network.at));
            assert_eq!(found, Some((IPV4, head.len())), "{kind} {head:02x?}");
            assert!(link(kind).is_supported());
        }
    }

    #[test]
    fn short_frames_are_nothing() {
        for (kind, head) in heads() {
            for len in 0..head.len() {
                let network = link(kind).network(&head[..len]);
                assert!(
                    network.is_none_or(|network| network.at <= len),
                    "{kind} {len}"
                );
            }
        }
        assert_eq!(link(105).network(&[0; 64]), None);
    }

    #[test]
    fn the_word_of_a_pcap_file_has_the_length_of_the_check_sequence() {
        let word = 0x4400_0001;
        assert_eq!(
            Link::from_word(word),
            Link {
                kind: 1,
                fcs_bytes: 8
            }
        );
        assert_eq!(Link::from_word(0x2400_0001).fcs_bytes, 4);
        assert_eq!(Link::from_word(101).fcs_bytes, 0);
    }
}
