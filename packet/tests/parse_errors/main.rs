//! Tables of parse errors: each row is a fault with the error, code, pointer and action that it causes.

use packet::checksum;
use packet::ip::{IpPacket, IpParseError, Ipv4, Ipv6};

mod answered;
mod fragments;
mod v4;
mod v4_options;
mod v6;
mod v6_chains;

const UNICAST4: [u8; 4] = [10, 0, 0, 2];
const MULTICAST4: [u8; 4] = [224, 0, 0, 1];
const BROADCAST4: [u8; 4] = [255; 4];
const UNICAST6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
const MULTICAST6: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// Returns a header with `options` (a multiple of 4 bytes) and a right checksum, and 8 bytes of payload.
fn v4(dst: [u8; 4], options: &[u8]) -> Vec<u8> {
    assert_eq!(options.len() % 4, 0);
    let header_len = 20 + options.len();
    let mut bytes = vec![0x40 | (header_len / 4) as u8, 0, 0, (header_len + 8) as u8];
    bytes.extend([0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1]);
    bytes.extend(dst);
    bytes.extend(options);
    let sum = checksum::of(&bytes);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes.extend([0; 8]);
    bytes
}

fn fix_v4(bytes: &mut [u8]) {
    bytes[10..12].copy_from_slice(&[0, 0]);
    let len = usize::from(bytes[0] & 15) * 4;
    let sum = checksum::of(&bytes[..len.min(bytes.len())]);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// Returns a header whose chain begins with `first`, followed by `rest`.
fn v6(dst: [u8; 16], first: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x60, 0, 0, 0];
    bytes.extend((rest.len() as u16).to_be_bytes());
    bytes.extend([first, 64]);
    bytes.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    bytes.extend(dst);
    bytes.extend(rest);
    bytes
}

// The parser reads a shared slice and keeps no state, so a second attempt must fail in the same way.

fn fail4(bytes: &[u8]) -> IpParseError<Ipv4> {
    let error = IpPacket::<Ipv4>::parse(bytes).expect_err("malformed");
    assert_eq!(IpPacket::<Ipv4>::parse(bytes).err(), Some(error));
    error
}

fn fail6(bytes: &[u8]) -> IpParseError<Ipv6> {
    let error = IpPacket::<Ipv6>::parse(bytes).expect_err("malformed");
    assert_eq!(IpPacket::<Ipv6>::parse(bytes).err(), Some(error));
    error
}
