//! Whole packets from fragments, and fragments from whole packets.

use std::collections::HashMap;

use super::Captured;
use super::datagrams::Datagrams;
use super::packet::Packet;

/// Most datagrams whose fragments are remembered.
const MAX_REMEMBERED: usize = 1_024;

/// A packet, and the lengths of the fragments that it came in; none if it was whole.
#[derive(Clone, Debug)]
pub(crate) struct Whole {
    pub(crate) captured: Captured,
    pub(crate) pieces: Vec<usize>,
}

/// Puts the fragments among `packets` together. A packet takes the place of its last missing fragment;
/// fragments without the others are left out.
pub(crate) fn defragment(packets: &[Captured]) -> Vec<Whole> {
    let mut datagrams = Datagrams::default();
    let mut pieces: HashMap<_, Vec<(u32, usize)>> = HashMap::new();
    let mut all = Vec::new();
    for captured in packets {
        let Some(packet) = Packet::parse(&captured.ip, captured.ip.len() as u32) else {
            continue;
        };
        let Some(fragment) = packet.fragment else {
            all.push(Whole {
                captured: captured.clone(),
                pieces: Vec::new(),
            });
            continue;
        };
        let key = (
            packet.source,
            packet.destination,
            packet.protocol,
            fragment.id,
        );
        if pieces.len() < MAX_REMEMBERED || pieces.contains_key(&key) {
            let seen = pieces.entry(key).or_default();
            seen.push((fragment.offset, packet.payload().len()));
        }
        let Some(data) = datagrams.add(&packet) else {
            continue;
        };
        let mut seen = pieces.remove(&key).unwrap_or_default();
        seen.sort_unstable();
        if let Some(ip) = whole(&packet, &data) {
            all.push(Whole {
                captured: Captured {
                    ip,
                    ..captured.clone()
                },
                pieces: seen.into_iter().map(|(_, len)| len).collect(),
            });
        }
    }
    all
}

/// Returns a packet without fragmentation that has the header of a fragment.
fn whole(fragment: &Packet<'_>, data: &[u8]) -> Option<Vec<u8>> {
    let mut ip = if fragment.source.is_ipv4() {
        let mut header = fragment.ip.get(..fragment.payload_at)?.to_vec();
        let total = u16::try_from(header.len() + data.len()).ok()?;
        header.get_mut(2..4)?.copy_from_slice(&total.to_be_bytes());
        header.get_mut(6..8)?.fill(0);
        header
    } else {
        // Extension headers in front of the fragment header are left out.
        let mut header = fragment.ip.get(..40)?.to_vec();
        let len = u16::try_from(data.len()).ok()?;
        header.get_mut(4..6)?.copy_from_slice(&len.to_be_bytes());
        *header.get_mut(6)? = fragment.protocol;
        header
    };
    ip.extend_from_slice(data);
    Some(ip)
}

/// Cuts a packet into fragments of these lengths; each but the last is cut to a multiple of eight bytes.
pub(crate) fn fragments(ip: &[u8], pieces: &[usize], id: u32) -> Vec<Vec<u8>> {
    let Some(packet) = Packet::parse(ip, ip.len() as u32).filter(|_| pieces.len() > 1) else {
        return vec![ip.to_vec()];
    };
    let payload = packet.payload();
    let mut all = Vec::new();
    let mut at = 0;
    for (number, len) in pieces.iter().enumerate() {
        let last = number + 1 == pieces.len();
        let end = if last {
            payload.len()
        } else {
            (at + (len & !7)).min(payload.len())
        };
        let Some(piece) = payload.get(at..end) else {
            break;
        };
        all.extend(fragment(
            &packet,
            piece,
            (at as u16, end < payload.len()),
            id,
        ));
        at = end;
    }
    all
}

fn fragment(packet: &Packet<'_>, piece: &[u8], place: (u16, bool), id: u32) -> Option<Vec<u8>> {
    let (offset, more) = place;
    let mut ip = packet.ip.get(..packet.payload_at)?.to_vec();
    if packet.source.is_ipv4() {
        let total = u16::try_from(ip.len() + piece.len()).ok()?;
        ip.get_mut(2..4)?.copy_from_slice(&total.to_be_bytes());
        ip.get_mut(4..6)?
            .copy_from_slice(&(id as u16).to_be_bytes());
        let word = (offset / 8) | if more { 0x2000 } else { 0 };
        ip.get_mut(6..8)?.copy_from_slice(&word.to_be_bytes());
    } else {
        let len = u16::try_from(piece.len() + 8).ok()?;
        ip.truncate(40);
        ip.get_mut(4..6)?.copy_from_slice(&len.to_be_bytes());
        *ip.get_mut(6)? = 44;
        let word = offset | u16::from(more);
        ip.extend([packet.protocol, 0]);
        ip.extend(word.to_be_bytes());
        ip.extend(id.to_be_bytes());
    }
    ip.extend_from_slice(piece);
    super::checksum::write_header(&mut ip);
    Some(ip)
}
