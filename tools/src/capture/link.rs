//! Link headers: finds the IP packet in a captured frame, by link type.

use pcap_file::DataLink;

/// A supported link type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkType {
    /// The IP header comes first.
    Raw,
    /// Ethernet II, with any number of VLAN tags.
    Ethernet,
    /// Linux "cooked" capture, version 1.
    LinuxSll,
    /// Linux "cooked" capture, version 2.
    LinuxSll2,
}

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];

impl LinkType {
    /// Returns the link type of a capture file; `None` if it is not supported.
    pub fn from_pcap(link: DataLink) -> Option<Self> {
        // Some systems number raw IP differently: 12 and 14 beside 101, and 228/229 by version.
        match link {
            DataLink::RAW | DataLink::IPV4 | DataLink::IPV6 => Some(Self::Raw),
            DataLink::Unknown(12 | 14) => Some(Self::Raw),
            DataLink::ETHERNET => Some(Self::Ethernet),
            DataLink::LINUX_SLL => Some(Self::LinuxSll),
            DataLink::LINUX_SLL2 => Some(Self::LinuxSll2),
            _ => None,
        }
    }

    /// Returns the IP packet inside `frame`, with any link padding after it; `None` if the frame carries
    /// another protocol or is too short.
    pub fn ip(self, frame: &[u8]) -> Option<&[u8]> {
        let (ethertype, rest) = match self {
            Self::Raw => return is_ip(frame).then_some(frame),
            Self::Ethernet => (be16(frame, 12)?, frame.get(14..)?),
            Self::LinuxSll => (be16(frame, 14)?, frame.get(16..)?),
            Self::LinuxSll2 => (be16(frame, 0)?, frame.get(20..)?),
        };
        let (mut ethertype, mut rest) = (ethertype, rest);
        while ETHERTYPE_VLAN.contains(&ethertype) {
            (ethertype, rest) = (be16(rest, 2)?, rest.get(4..)?);
        }
        let ip = ethertype == ETHERTYPE_IPV4 || ethertype == ETHERTYPE_IPV6;
        (ip && is_ip(rest)).then_some(rest)
    }
}

fn is_ip(bytes: &[u8]) -> bool {
    matches!(bytes.first().map(|first| first >> 4), Some(4 | 6))
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes([pair[0], pair[1]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: [u8; 3] = [0x45, 1, 2];

    fn framed(head: &[u8]) -> Vec<u8> {
        [head, &PACKET].concat()
    }

    #[test]
    fn each_link_type_gives_the_ip_packet() {
        let mut ethernet = [0; 14];
        ethernet[12..].copy_from_slice(&[0x08, 0x00]);
        let mut vlan = [0; 18];
        vlan[12..].copy_from_slice(&[0x81, 0x00, 0, 5, 0x08, 0x00]);
        let mut sll = [0; 16];
        sll[14..].copy_from_slice(&[0x08, 0x00]);
        let mut sll2 = [0; 20];
        sll2[..2].copy_from_slice(&[0x08, 0x00]);
        for (link, head) in [
            (LinkType::Raw, &[][..]),
            (LinkType::Ethernet, &ethernet),
            (LinkType::Ethernet, &vlan),
            (LinkType::LinuxSll, &sll),
            (LinkType::LinuxSll2, &sll2),
        ] {
            assert_eq!(link.ip(&framed(head)), Some(&PACKET[..]), "{link:?}");
        }
    }

    #[test]
    fn other_payloads_and_short_frames_are_nothing() {
        let mut arp = [0; 20];
        arp[12..14].copy_from_slice(&[0x08, 0x06]);
        assert_eq!(LinkType::Ethernet.ip(&arp), None);
        let frame = framed(&[0; 20]);
        for link in [
            LinkType::Raw,
            LinkType::Ethernet,
            LinkType::LinuxSll,
            LinkType::LinuxSll2,
        ] {
            for len in 0..frame.len() {
                let _ = link.ip(&frame[..len]);
            }
            assert_eq!(link.ip(&[]), None);
        }
    }
}
