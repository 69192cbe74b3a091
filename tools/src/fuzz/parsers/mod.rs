//! Harnesses for the packet parsers and builders: each takes arbitrary bytes and panics if an invariant
//! is broken.
//!
//! The invariants: parsing neither panics nor loops for ever; an accepted packet can be read to its
//! end, and parses to the same values again; a parse error points at an octet that exists; a packet
//! built from parsed values parses to the same values.

mod icmp;
mod ip;
mod reference;
mod sums;
mod transport;

use packet::ip::IpVersion;

pub use icmp::fuzz_icmp;
pub use ip::fuzz_ip;
pub use reference::fuzz_reference;
pub use sums::fuzz_checksum;
pub use transport::{fuzz_tcp, fuzz_udp};

/// A harness.
pub type Harness = fn(&[u8]);

/// All harnesses, by the name of their fuzz target and corpus.
pub const ALL: &[(&str, Harness)] = &[
    ("ip", fuzz_ip),
    ("tcp", fuzz_tcp),
    ("udp", fuzz_udp),
    ("icmp", fuzz_icmp),
    ("checksum", fuzz_checksum),
    ("reference", fuzz_reference),
];

/// Returns `data` with the right IPv4 header checksum, so that a harness reaches what comes after that
/// check; `None` if `data` has no IPv4 header, or if the checksum is right already.
pub fn with_header_checksum(data: &[u8]) -> Option<Vec<u8>> {
    if IpVersion::of_packet(data) != Some(IpVersion::V4) {
        return None;
    }
    let mut data = data.to_vec();
    let header_len = usize::from(data.first()? & 0x0f) * 4;
    if header_len < 20 {
        return None;
    }
    let before: [u8; 2] = data.get(10..12)?.try_into().ok()?;
    data.get_mut(10..12)?.fill(0);
    let right = naive(data.get(..header_len)?).to_be_bytes();
    data.get_mut(10..12)?.copy_from_slice(&right);
    (before != right).then_some(data)
}

/// Runs `harness` on `data` as it is, and again with the right IPv4 header checksum.
fn either(data: &[u8], harness: fn(&[u8])) {
    harness(data);
    if let Some(data) = with_header_checksum(data) {
        harness(&data);
    }
}

/// Computes the checksum by the definition of RFC 1071, a word at a time.
fn naive(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
