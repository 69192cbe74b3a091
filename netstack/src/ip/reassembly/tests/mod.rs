//! Reassembly against a model, rule by rule, and under floods.

use super::*;
use crate::base::Rng;

mod floods;
mod model;
mod rules;

const NOW: Instant = Instant::from_millis(1_000);
const TIMEOUT: Duration = Duration::from_secs(60);

fn cache(slots: usize, bytes: usize) -> Reassembly {
    Reassembly::new(
        slots,
        bytes,
        TIMEOUT,
        HashKey::random(&mut Rng::from_u64(1)),
    )
}

/// A fragment's packet, owned.
#[derive(Clone)]
struct Built {
    src: IpAddr,
    dst: IpAddr,
    proto: u8,
    id: u32,
    offset: u16,
    more: bool,
    packet: Vec<u8>,
    header_len: usize,
}

impl Built {
    fn input(&self) -> FragmentIn<'_> {
        FragmentIn {
            src: self.src,
            dst: self.dst,
            proto: self.proto,
            id: self.id,
            offset: self.offset,
            more: self.more,
            packet: &self.packet,
            payload: self.header_len..self.packet.len(),
        }
    }
}

/// The datagram of a fragment.
#[derive(Clone, Copy)]
struct Of {
    ipv6: bool,
    source: u8,
    id: u32,
    ecn: u8,
    /// IPv6: a destination options header of 8 bytes in front of the fragment header.
    extension: bool,
}

const V4: Of = Of {
    ipv6: false,
    source: 9,
    id: 7,
    ecn: 0,
    extension: false,
};
const V6: Of = Of { ipv6: true, ..V4 };

fn fragment(of: Of, offset: usize, data: &[u8], more: bool) -> Built {
    let (src, dst): (IpAddr, IpAddr);
    let mut packet = Vec::new();
    if of.ipv6 {
        let (s, d) = (
            [0xfd, 0x77, 0, 0, 0, 0, 0, of.source],
            [0xfd, 0x77, 0, 0, 0, 0, 0, 1],
        );
        let tail = [0, 0, 0, 0, 0, 0, 0, 2];
        let (s, d): ([u8; 16], [u8; 16]) = (
            core::array::from_fn(|i| if i < 8 { s[i] } else { tail[i - 8] }),
            core::array::from_fn(|i| if i < 8 { d[i] } else { tail[i - 8] }),
        );
        (src, dst) = (s.into(), d.into());
        let extension: &[u8] = if of.extension {
            &[44, 0, 1, 4, 0, 0, 0, 0]
        } else {
            &[]
        };
        let len = (extension.len() + 8 + data.len()) as u16;
        packet.extend_from_slice(&[0x60, of.ecn << 4, 0, 0]);
        packet.extend_from_slice(&len.to_be_bytes());
        packet.extend_from_slice(&[if of.extension { 60 } else { 44 }, 64]);
        packet.extend_from_slice(&s);
        packet.extend_from_slice(&d);
        packet.extend_from_slice(extension);
        packet.extend_from_slice(&[17, 0]);
        packet.extend_from_slice(&((offset as u16) | u16::from(more)).to_be_bytes());
        packet.extend_from_slice(&of.id.to_be_bytes());
    } else {
        (src, dst) = ([10, 0, 0, of.source].into(), [10, 0, 0, 1].into());
        packet.extend_from_slice(&[0x45, of.ecn]);
        packet.extend_from_slice(&((20 + data.len()) as u16).to_be_bytes());
        packet.extend_from_slice(&(of.id as u16).to_be_bytes());
        let flags = (offset / 8) as u16 | if more { 0x2000 } else { 0 };
        packet.extend_from_slice(&flags.to_be_bytes());
        packet.extend_from_slice(&[64, 17, 0xde, 0xad, 10, 0, 0, of.source, 10, 0, 0, 1]);
    }
    let header_len = packet.len();
    packet.extend_from_slice(data);
    Built {
        src,
        dst,
        proto: 17,
        id: of.id,
        offset: offset as u16,
        more,
        packet,
        header_len,
    }
}

/// All fragments of `data`, cut at multiples of 8 by the generator.
fn cut(of: Of, data: &[u8], rng: &mut Rng, most: u32) -> Vec<Built> {
    let mut built = Vec::new();
    let mut at = 0;
    while at < data.len() {
        let len = 8 * (1 + rng.below(most / 8) as usize);
        let end = (at + len).min(data.len());
        built.push(fragment(of, at, &data[at..end], end < data.len()));
        at = end;
    }
    built
}

fn shuffle<T>(items: &mut [T], rng: &mut Rng) {
    for last in (1..items.len()).rev() {
        items.swap(last, rng.below(last as u32 + 1) as usize);
    }
}

fn data(len: usize, rng: &mut Rng) -> Vec<u8> {
    let mut data = vec![0; len];
    rng.fill(&mut data);
    data
}

/// Checks a completed packet against what was cut, byte for byte.
fn check_complete(of: Of, packet: &[u8], data: &[u8], label: &str) {
    if of.ipv6 {
        let header_len = if of.extension { 48 } else { 40 };
        let whole = fragment(of, 0, data, false);
        let mut expected = whole.packet[..header_len].to_vec();
        let len = (header_len - 40 + data.len()) as u16;
        expected[4..6].copy_from_slice(&len.to_be_bytes());
        let next_header = if of.extension { 40 } else { 6 };
        expected[next_header] = 17;
        assert_eq!(&packet[..header_len], expected, "{label}: header");
        assert!(packet[header_len..] == *data, "{label}: data");
    } else {
        assert_eq!(packet.len(), 20 + data.len(), "{label}");
        assert_eq!(packet[..2], [0x45, of.ecn], "{label}");
        assert_eq!(packet[2..4], (packet.len() as u16).to_be_bytes(), "{label}");
        assert_eq!(packet[6..8], [0, 0], "{label}: no fragment fields");
        let sum: u32 = packet[..20]
            .chunks(2)
            .map(|c| u32::from(u16::from_be_bytes([c[0], c[1]])))
            .sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "{label}: checksum");
        assert!(packet[20..] == *data, "{label}: data");
    }
}
