//! Compares checksums with the definition: every implementation that this processor supports, and every
//! way to combine sums.

#![allow(clippy::unwrap_used)] // A test that fails says so.

use std::net::IpAddr;

use packet::IpProto;
use packet::checksum::{self, Checksum, Implementation};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

const SEED: u64 = 0x6368_6563_6b73;

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 512,
        rng_seed: RngSeed::Fixed(SEED),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Computes the checksum by its definition: adds 16-bit words in network order, and adds back the carries.
fn naive(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[test]
fn every_implementation_at_every_length_and_offset() {
    let implementations: Vec<Implementation> = Implementation::ALL
        .into_iter()
        .filter(|implementation| implementation.checksum(&[]).is_some())
        .collect();
    println!(
        "supported implementations: {implementations:?}, chosen {:?}",
        Implementation::chosen()
    );
    assert!(implementations.contains(&Implementation::Portable));
    // The widest one is chosen.
    assert_eq!(implementations.last(), Some(&Implementation::chosen()));
    let check = |bytes: &[u8]| {
        let expected = naive(bytes);
        assert_eq!(checksum::of(bytes), expected, "{} bytes", bytes.len());
        for implementation in &implementations {
            let sum = implementation.checksum(bytes);
            assert_eq!(
                sum,
                Some(expected),
                "{implementation:?}, {} bytes",
                bytes.len()
            );
        }
    };
    // Equal words produce the most carries; signed numbers change their sign between 0x7fff and 0x8000.
    let fills: [fn(usize) -> u8; 6] = [
        |_| 0,
        |_| 0xff,
        |at| [0x7f, 0xff][at % 2],
        |at| [0x80, 0x00][at % 2],
        |at| [0xff, 0x7f][at % 2],
        |at| (at * 31 + (at >> 3) * 7 + 1) as u8,
    ];
    for fill in fills {
        let bytes: Vec<u8> = (0..400_000).map(fill).collect();
        for len in 0..=640 {
            check(&bytes[..len]);
        }
        for offset in 0..=65 {
            for len in [
                63, 64, 127, 128, 255, 256, 257, 1460, 4095, 4096, 4097, 4200,
            ] {
                check(&bytes[offset..offset + len]);
            }
        }
        for len in [65_535, 65_536, 65_537, 65_575, 131_073, 300_001] {
            check(&bytes[..len]);
            check(&bytes[3..3 + len]);
        }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn sums_equal_the_definition(data in prop::collection::vec(any::<u8>(), 0..5000), cuts in prop::collection::vec(any::<u16>(), 0..6)) {
        let expected = naive(&data);
        prop_assert_eq!(checksum::of(&data), expected);
        let mut sum = Checksum::new();
        let mut copied = Checksum::new();
        let mut copy = vec![0; data.len()];
        let mut at = 0;
        for cut in cuts.iter().map(|cut| usize::from(*cut)).chain([data.len()]) {
            let end = (at + cut).min(data.len());
            sum.add_bytes(&data[at..end]);
            prop_assert_eq!(copied.copy_and_add(&data[at..end], &mut copy[at..]), end - at);
            at = end;
        }
        sum.add_bytes(&data[at..]);
        copied.copy_and_add(&data[at..], &mut copy[at..]);
        prop_assert_eq!(sum.finish(), expected);
        prop_assert_eq!(copied.finish(), expected);
        prop_assert_eq!(sum.partial(), !expected);
        prop_assert_eq!(copy, data);
    }

    #[test]
    fn numbers_are_summed_in_wire_order(data in prop::collection::vec(any::<u8>(), 0..64), short: u16,
                                             long: u32, tail in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut data = data;
        data.truncate(data.len() & !1);
        let mut sum = Checksum::new();
        sum.add_bytes(&data);
        sum.add_u16(short);
        sum.add_u32(long);
        let mut behind = Checksum::new();
        behind.add_bytes(&tail);
        sum.add(behind);
        let bytes = [&data[..], &short.to_be_bytes(), &long.to_be_bytes(), &tail].concat();
        prop_assert_eq!(sum.finish(), naive(&bytes));
    }

    /// An update gives the same bits as a new sum (RFC 1624). The exception is data of only zeros, which
    /// no packet with a header has: its update gives the other representation of zero.
    #[test]
    fn updates_equal_a_new_sum(mut data in prop::collection::vec(any::<u8>(), 8..200), at: u16, new: u32, zeros: bool) {
        if zeros {
            // RFC 1141 got this case wrong: a sum of all ones.
            data.fill(0);
            data[0] = 1;
        }
        let at = (usize::from(at) % (data.len() - 4)) & !1;
        let before = checksum::of(&data);
        let old: [u8; 4] = data[at..at + 4].try_into().unwrap();
        data[at..at + 4].copy_from_slice(&new.to_be_bytes());
        if data.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        let after = checksum::of(&data);
        prop_assert_eq!(checksum::update_u32(before, u32::from_be_bytes(old), new), after);
        prop_assert_eq!(checksum::update_bytes(before, &old, &new.to_be_bytes()), after);
        let half = checksum::update_u16(before, u16::from_be_bytes([old[0], old[1]]), (new >> 16) as u16);
        let whole = checksum::update_u16(half, u16::from_be_bytes([old[2], old[3]]), new as u16);
        prop_assert_eq!(whole, after);
    }

    /// Updates of any length: an odd last byte is the high byte of its word.
    #[test]
    fn updates_of_any_length(mut data in prop::collection::vec(any::<u8>(), 40..120), at in 0usize..10,
                         new in prop::collection::vec(any::<u8>(), 0..20)) {
        data[39] = 1;
        let at = at * 2;
        let before = checksum::of(&data);
        let old = data[at..at + new.len()].to_vec();
        data[at..at + new.len()].copy_from_slice(&new);
        prop_assert_eq!(checksum::update_bytes(before, &old, &new), checksum::of(&data));
    }

    #[test]
    fn transport_checksums_are_verified(mut data in prop::collection::vec(any::<u8>(), 20..100), bytes: [u8; 32], v6: bool, bit: u16) {
        let addr = |at: usize| -> IpAddr {
            match v6 {
                true => <[u8; 16]>::try_from(&bytes[at..at + 16]).unwrap().into(),
                false => <[u8; 4]>::try_from(&bytes[at..at + 4]).unwrap().into(),
            }
        };
        let (src, dst) = (addr(0), addr(16));
        data[16..18].fill(0);
        // The pseudo-header, as RFC 9293 section 3.1 and RFC 8200 section 8.1 define it.
        let len = data.len() as u8;
        let mut pseudo = match v6 {
            true => [&bytes[..32], &[0, 0, 0, len, 0, 0, 0, 6]].concat(),
            false => [&bytes[..4], &bytes[16..20], &[0, 6, 0, len]].concat(),
        };
        pseudo.extend(&data);
        let sum = naive(&pseudo);
        data[16..18].copy_from_slice(&sum.to_be_bytes());
        prop_assert!(checksum::verify_transport(src, dst, IpProto::TCP, &data));
        let mut all = checksum::pseudo_header(src, dst, IpProto::TCP, u32::from(len));
        all.add_bytes(&data);
        prop_assert!(all.is_valid());
        let at = usize::from(bit / 8) % data.len();
        data[at] ^= 1 << (bit % 8);
        prop_assert!(!checksum::verify_transport(src, dst, IpProto::TCP, &data));
        let mut all = checksum::pseudo_header(src, dst, IpProto::TCP, u32::from(len));
        all.add_bytes(&data);
        prop_assert!(!all.is_valid());
    }
}

#[test]
fn rfc_1624_example() {
    // The example of section 4.
    assert_eq!(checksum::update_u16(0xdd2f, 0x5555, 0x3285), 0x0000);
}

#[test]
fn edge_cases_of_verification() {
    assert!(!checksum::verify(&[]));
    assert!(!checksum::verify(&[0; 20]), "only zeros");
    assert!(checksum::verify(&[0xff, 0xff]));
    assert!(!Checksum::new().is_valid());
    // A slice longer than an IP payload can be is never valid.
    let addr: IpAddr = [10, 0, 0, 1].into();
    for len in [65_534usize, 65_536] {
        let mut bytes = vec![0; len];
        let pseudo = checksum::pseudo_header(addr, addr, IpProto::TCP, len as u32);
        bytes[..2].copy_from_slice(&pseudo.finish().to_be_bytes());
        let valid = checksum::verify_transport(addr, addr, IpProto::TCP, &bytes);
        assert_eq!(valid, len == 65_534);
    }
}
