//! The harness of checksums.

use packet::checksum::{self, Checksum, Implementation};

use super::naive;
use crate::fuzz::input::Input;

/// Fuzzes checksums over pieces; the first octets give the lengths of the pieces.
pub fn fuzz_checksum(data: &[u8]) {
    let mut input = Input::new(data);
    let pieces: Vec<usize> = (0..4).map(|_| usize::from(input.u16()) % 1500).collect();
    let bytes = input.bytes(data.len());
    let expected = naive(bytes);
    assert_eq!(checksum::of(bytes), expected);
    let (mut sum, mut copied) = (Checksum::new(), Checksum::new());
    let mut rest = bytes;
    for len in pieces.into_iter().chain([bytes.len()]) {
        let (piece, behind) = rest.split_at(len.min(rest.len()));
        let mut copy = vec![0; piece.len()];
        sum.add_bytes(piece);
        assert_eq!(copied.copy_and_add(piece, &mut copy), piece.len());
        assert_eq!(copy, piece);
        rest = behind;
    }
    assert_eq!((sum.finish(), copied.finish()), (expected, expected));
    for implementation in Implementation::ALL {
        assert!(
            implementation
                .checksum(bytes)
                .is_none_or(|sum| sum == expected)
        );
    }
    // One half of the octets, at an even offset, replaces the other.
    let half = bytes.len() / 2;
    let (old, new) = bytes.split_at(half);
    let new = &new[..half];
    let after = [new, &bytes[half..]].concat();
    if after.iter().any(|octet| *octet != 0) && half.is_multiple_of(2) {
        assert_eq!(checksum::update_bytes(expected, old, new), naive(&after));
    }
}
