//! Reassembly against a model, rule by rule, and under floods.

use super::*;
use crate::base::Rng;

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

#[test]
fn any_order_with_duplicates_gives_the_datagram_back() {
    for seed in 0..400u64 {
        let mut rng = Rng::from_u64(seed);
        let of = Of {
            ipv6: rng.chance(500_000),
            extension: rng.chance(300_000),
            ..V4
        };
        let len = 16 + rng.below(6_000) as usize;
        let payload = data(len, &mut rng);
        let mut fragments = cut(of, &payload, &mut rng, 1_000);
        if fragments.len() < 2 {
            continue;
        }
        let in_order = rng.chance(300_000);
        if !in_order {
            shuffle(&mut fragments, &mut rng);
        }
        let label = format!("seed {seed}, {} fragments", fragments.len());
        let mut c = cache(8, 1 << 20);
        let last = fragments.len() - 1;
        for (n, f) in fragments.iter().enumerate() {
            let outcome = c.on_fragment(NOW, &f.input());
            assert_eq!(outcome.discarded, None, "{label}");
            match outcome.status {
                FragmentStatus::Pending => assert!(n < last, "{label}"),
                FragmentStatus::Complete(packet) => {
                    assert_eq!(n, last, "{label}");
                    check_complete(of, &packet, &payload, &label);
                    continue;
                }
                other => panic!("{label}: {other:?}"),
            }
            if rng.chance(300_000) {
                let again = &fragments[rng.below(n as u32 + 1) as usize];
                let outcome = c.on_fragment(NOW, &again.input());
                assert!(
                    matches!(
                        outcome.status,
                        FragmentStatus::Drop(DropReason::FragmentDuplicate)
                    ),
                    "{label}: {outcome:?}"
                );
            }
        }
        assert!(c.is_empty() && c.bytes() == 0, "{label}: {c:?}");
        assert_eq!(c.poll_timeout(), None, "{label}");
    }
}

/// A model of the rules of the RFCs: a byte map, without any other data structure.
struct Model {
    bytes: Vec<Option<u8>>,
    ranges: Vec<(usize, usize, bool)>,
    refused: bool,
}

#[derive(Debug, PartialEq)]
enum Said {
    Pending,
    Complete,
    Duplicate,
    Overlap,
    Contradiction,
}

impl Model {
    fn insert(&mut self, offset: usize, data: &[u8], more: bool) -> Said {
        let end = offset + data.len();
        if self.refused {
            return Said::Overlap;
        }
        let same = |i: usize, b: u8| self.bytes[i] == Some(b);
        let total = self.ranges.iter().find(|r| !r.2).map(|r| r.1);
        if self.ranges.iter().any(|r| (r.0, r.1) == (offset, end))
            && data.iter().enumerate().all(|(i, b)| same(offset + i, *b))
            && (more || total == Some(end))
        {
            return Said::Duplicate;
        }
        if self.bytes[offset..end].iter().any(Option::is_some) {
            self.refused = true;
            return Said::Overlap;
        }
        let furthest = self.ranges.iter().map(|r| r.1).max().unwrap_or(0);
        let wrong = match total {
            Some(total) => !more || end >= total,
            None => !more && furthest > end,
        };
        if wrong {
            self.refused = true;
            return Said::Contradiction;
        }
        for (i, b) in data.iter().enumerate() {
            self.bytes[offset + i] = Some(*b);
        }
        self.ranges.push((offset, end, more));
        let total = self.ranges.iter().find(|r| !r.2).map(|r| r.1);
        match total {
            Some(total) if self.bytes[..total].iter().all(Option::is_some) => Said::Complete,
            _ => Said::Pending,
        }
    }
}

#[test]
fn random_fragments_agree_with_a_byte_map() {
    let mut seen = [0u32; 5];
    for seed in 0..3_000u64 {
        let mut rng = Rng::from_u64(seed);
        let of = if rng.chance(500_000) { V4 } else { V6 };
        let source = data(256, &mut rng);
        let mut model = Model {
            bytes: vec![None; 512],
            ranges: Vec::new(),
            refused: false,
        };
        let mut c = cache(8, 1 << 20);
        for step in 0..40 {
            let offset = 8 * rng.below(8) as usize;
            let blocks = 1 + rng.below(3) as usize;
            let more = !rng.chance(200_000);
            let mut bytes = source[offset..offset + 8 * blocks].to_vec();
            if rng.chance(50_000) {
                bytes[0] ^= 1;
            }
            if !more && rng.chance(500_000) && offset > 0 {
                bytes.truncate(8 * blocks - rng.below(7) as usize);
            }
            let f = fragment(of, offset, &bytes, more);
            if offset == 0 && !more {
                continue; // an atomic fragment, which is not a fragment
            }
            let expected = model.insert(offset, &bytes, more);
            let outcome = c.on_fragment(NOW, &f.input());
            let said = match &outcome.status {
                FragmentStatus::Pending => Said::Pending,
                FragmentStatus::Complete(_) => Said::Complete,
                FragmentStatus::Drop(DropReason::FragmentDuplicate) => Said::Duplicate,
                FragmentStatus::Drop(DropReason::FragmentOverlap) => Said::Overlap,
                FragmentStatus::Drop(DropReason::FragmentInvalid) => Said::Contradiction,
                other => panic!("seed {seed} step {step}: {other:?}"),
            };
            assert_eq!(
                said,
                expected,
                "seed {seed} step {step} {offset}+{}",
                bytes.len()
            );
            seen[said as usize] += 1;
            if let FragmentStatus::Complete(packet) = outcome.status {
                let total = model.ranges.iter().find(|r| !r.2).map_or(0, |r| r.1);
                let whole: Vec<u8> = model.bytes[..total].iter().flatten().copied().collect();
                check_complete(of, &packet, &whole, &format!("seed {seed} step {step}"));
                break;
            }
        }
    }
    assert!(seen.iter().all(|n| *n > 10), "every case was met: {seen:?}");
}

#[test]
fn the_largest_datagrams_complete_and_no_larger_ones() {
    let mut rng = Rng::from_u64(1);
    for (of, most) in [(V4, 65_515), (V6, 65_535)] {
        for step in [8u32, 64, 1_480, 32_000] {
            let payload = data(most, &mut rng);
            let mut fragments: Vec<_> = payload
                .chunks(step as usize)
                .enumerate()
                .map(|(n, chunk)| {
                    let at = n * step as usize;
                    fragment(of, at, chunk, at + chunk.len() < most)
                })
                .collect();
            // The smallest possible cache.
            let mut c = cache(1, 0);
            if step > 8 {
                shuffle(&mut fragments, &mut rng);
            }
            let mut complete = None;
            for f in &fragments {
                match c.on_fragment(NOW, &f.input()).status {
                    FragmentStatus::Pending => assert!(c.bytes() <= 192 << 10, "{c:?}"),
                    FragmentStatus::Complete(packet) => complete = Some(packet),
                    other => panic!("step {step}: {other:?}"),
                }
            }
            let packet = complete.expect("complete");
            check_complete(of, &packet, &payload, &format!("step {step}"));
            assert!(c.is_empty() && c.bytes() == 0);
        }
    }
    // One byte more: RFC 8200 section 4.5 points at the offset field; IPv4 drops in silence.
    let outcome = cache(1, 0).on_fragment(NOW, &fragment(V6, 65_528, &[0; 8], false).input());
    assert!(
        matches!(
            outcome.status,
            FragmentStatus::ParameterProblem {
                pointer: 42,
                code: 0
            }
        ),
        "{outcome:?}"
    );
    let outcome = cache(1, 0).on_fragment(NOW, &fragment(V4, 65_512, &[0; 4], false).input());
    assert!(matches!(
        outcome.status,
        FragmentStatus::Drop(DropReason::FragmentInvalid)
    ));
    let outcome = cache(1, 0).on_fragment(NOW, &fragment(V4, 65_512, &[0; 3], false).input());
    assert!(matches!(outcome.status, FragmentStatus::Pending));
}

#[test]
fn fragments_that_are_wrong_by_themselves() {
    let problem = |pointer, code| Some((pointer, code));
    // (fragment, IPv4 or IPv6, expected parameter problem; None: dropped in silence)
    let cases = [
        (
            "length no multiple of 8",
            fragment(V4, 8, &[0; 9], true),
            None,
        ),
        (
            "length no multiple of 8",
            fragment(V6, 8, &[0; 9], true),
            problem(4, 0),
        ),
        ("empty", fragment(V4, 8, &[], false), None),
        ("empty", fragment(V6, 8, &[], true), None),
        (
            "offset no multiple of 8",
            fragment(V4, 9, &[0; 8], true),
            None,
        ),
    ];
    for (what, f, expected) in cases {
        let mut c = cache(4, 1 << 20);
        match (c.on_fragment(NOW, &f.input()).status, expected) {
            (FragmentStatus::Drop(DropReason::FragmentInvalid), None) => {}
            (FragmentStatus::ParameterProblem { pointer, code }, Some(e)) => {
                assert_eq!((pointer, code), e, "{what}");
            }
            other => panic!("{what}: {other:?}"),
        }
        assert!(c.is_empty(), "{what}: nothing is kept");
    }
    // A first fragment without the whole of TCP's fixed header (RFC 1858, RFC 7112).
    for (of, len, kept) in [
        (V4, 16, false),
        (V4, 24, true),
        (V6, 16, false),
        (V6, 24, true),
    ] {
        let mut f = fragment(of, 0, &vec![0; len], true);
        f.proto = 6;
        match cache(4, 1 << 20).on_fragment(NOW, &f.input()).status {
            FragmentStatus::Pending => assert!(kept),
            FragmentStatus::Drop(DropReason::FragmentInvalid) => assert!(!kept && !of.ipv6),
            FragmentStatus::ParameterProblem {
                pointer: 0,
                code: 3,
            } => assert!(!kept && of.ipv6),
            other => panic!("{other:?}"),
        }
    }
    // Ranges that lie outside the packet are refused, not read.
    let f = fragment(V4, 8, &[0; 8], true);
    let mut input = f.input();
    input.payload = 20..4_000;
    let status = cache(4, 1 << 20).on_fragment(NOW, &input).status;
    assert!(matches!(
        status,
        FragmentStatus::Drop(DropReason::FragmentInvalid)
    ));
}

#[test]
fn an_overlap_ends_the_datagram_for_good() {
    for of in [V4, V6] {
        let mut c = cache(4, 1 << 20);
        let one = |c: &mut Reassembly, offset, len: usize, more| {
            c.on_fragment(NOW, &fragment(of, offset, &vec![1; len], more).input())
        };
        assert!(matches!(
            one(&mut c, 0, 64, true).status,
            FragmentStatus::Pending
        ));
        assert!(matches!(
            one(&mut c, 128, 64, true).status,
            FragmentStatus::Pending
        ));
        let overlap = one(&mut c, 56, 16, true);
        assert!(matches!(
            overlap.status,
            FragmentStatus::Drop(DropReason::FragmentOverlap)
        ));
        let lost = Discarded {
            reason: DropReason::FragmentOverlap,
            fragments: 2,
        };
        assert_eq!(overlap.discarded, Some(lost));
        assert_eq!(c.bytes(), 0, "the data is gone");
        // What would have completed it comes too late.
        for (offset, len, more) in [(0, 64, true), (64, 64, true), (192, 8, false)] {
            let late = one(&mut c, offset, len, more);
            assert!(matches!(
                late.status,
                FragmentStatus::Drop(DropReason::FragmentOverlap)
            ));
            assert_eq!(late.discarded, None, "each packet is counted once");
        }
        // No message about it, and the place is free again after its time.
        assert!(c.on_timeout(NOW + TIMEOUT).is_none());
        assert!(c.is_empty());
    }
}

#[test]
fn time_is_up() {
    for of in [V4, V6] {
        let mut c = cache(16, 1 << 20);
        let first = fragment(of, 0, &[5; 2_000], true);
        c.on_fragment(NOW, &fragment(of, 4_000, &[1; 8], true).input());
        let later = NOW + Duration::from_secs(30);
        c.on_fragment(later, &first.input());
        let other = Of { id: 99, ..of };
        c.on_fragment(later, &fragment(other, 8, &[1; 8], true).input());
        assert_eq!(
            c.poll_timeout(),
            Some(NOW + TIMEOUT),
            "from the first that came"
        );
        assert!(c.on_timeout(NOW + Duration::from_millis(59_999)).is_none());
        // A fragment at the very moment is too late, even if the timer was not served yet.
        let late = c.on_fragment(
            NOW + TIMEOUT,
            &fragment(of, 2_000, &[5; 2_000], true).input(),
        );
        assert!(matches!(
            late.status,
            FragmentStatus::Drop(DropReason::FragmentTimeout)
        ));
        let out = c.on_timeout(NOW + TIMEOUT).expect("one");
        assert_eq!(out.fragments, 2);
        let quote = out.first.expect("the first fragment came");
        assert_eq!(quote[..], first.packet[..1_232], "as received");
        assert!(c.on_timeout(NOW + TIMEOUT).is_none());
        // Without its first fragment there is nothing to quote.
        let out = c.on_timeout(later + TIMEOUT).expect("the other");
        assert!(out.first.is_none() && out.fragments == 1);
        assert!(c.is_empty() && c.bytes() == 0);
    }
}

#[test]
fn congestion_marks_are_combined() {
    // Codepoints of three fragments → of the datagram; None: dropped.
    let cases = [
        ([0, 0, 0], Some(0)),
        ([2, 2, 2], Some(2)),
        ([1, 1, 1], Some(1)),
        ([2, 3, 2], Some(3)),
        ([1, 2, 3], Some(3)),
        ([1, 2, 2], Some(2)),
        ([0, 2, 2], Some(0)),
        ([0, 3, 0], None),
        ([3, 3, 3], Some(3)),
    ];
    for of in [V4, V6] {
        for (marks, expected) in cases {
            let mut c = cache(4, 1 << 20);
            let (mut status, mut discarded) = (None, None);
            for (n, ecn) in marks.into_iter().enumerate() {
                let f = fragment(Of { ecn, ..of }, n * 16, &[0; 16], n < 2);
                let outcome = c.on_fragment(NOW, &f.input());
                (status, discarded) = (Some(outcome.status), outcome.discarded);
            }
            let earlier = expected.is_none().then_some(Discarded {
                reason: DropReason::FragmentInvalid,
                fragments: 2,
            });
            assert_eq!(discarded, earlier, "{marks:?}: each packet is counted");
            match (status, expected) {
                (Some(FragmentStatus::Complete(packet)), Some(ecn)) => {
                    check_complete(Of { ecn, ..of }, &packet, &[0; 48], &format!("{marks:?}"));
                }
                (Some(FragmentStatus::Drop(DropReason::FragmentInvalid)), None) => {}
                other => panic!("{marks:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn what_identifies_a_datagram() {
    // IPv4: the protocol counts; IPv6: it does not, and the first fragment's is used.
    for (of, completes) in [(V4, false), (V6, true)] {
        let mut c = cache(8, 1 << 20);
        let mut last = fragment(of, 16, &[0; 8], false);
        last.proto = 6;
        c.on_fragment(NOW, &fragment(of, 0, &[0; 16], true).input());
        let outcome = c.on_fragment(NOW, &last.input());
        assert_eq!(
            matches!(outcome.status, FragmentStatus::Complete(_)),
            completes
        );
    }
    for of in [V4, V6] {
        let mut c = cache(64, 1 << 20);
        c.on_fragment(NOW, &fragment(of, 0, &[0; 16], true).input());
        for (source, id) in [(of.source, 8), (8, of.id)] {
            let other = Of { source, id, ..of };
            let outcome = c.on_fragment(NOW, &fragment(other, 16, &[0; 8], false).input());
            assert!(matches!(outcome.status, FragmentStatus::Pending));
        }
        assert_eq!(c.len(), 3);
    }
}

/// Checks that the sums kept beside the slots are those of the slots.
fn check_books(c: &Reassembly, label: &str) {
    let held: Vec<&Slot> = c.slots.iter().flatten().collect();
    let bytes: usize = held.iter().map(|s| s.datagram.held()).sum();
    let refused = held.iter().filter(|s| s.datagram.is_refused()).count();
    assert_eq!((c.bytes, c.refused), (bytes, refused), "{label}");
    assert_eq!(c.order.len(), held.len(), "{label}");
    assert_eq!(c.by_key.len(), held.len(), "{label}");
    assert_eq!(c.slots.len() - held.len(), c.free.len(), "{label}");
    assert!(c.by_source.len() <= held.len(), "{label}");
    let slots: usize = c.by_source.values().map(|s| s.slots).sum();
    let of_sources: usize = c.by_source.values().map(|s| s.bytes).sum();
    assert_eq!((slots, of_sources), (held.len(), bytes), "{label}");
    let expiries: Vec<_> = c
        .order
        .iter()
        .filter_map(|p| c.slot(*p))
        .map(|s| s.expires)
        .collect();
    assert!(expiries.is_sorted(), "{label}");
}

#[test]
fn a_flood_stays_within_its_bounds_and_every_packet_is_accounted_for() {
    for seed in 0..8u64 {
        let mut rng = Rng::from_u64(seed);
        let (slots, bytes) = (32, 256 << 10);
        let mut c = cache(slots, bytes);
        let (mut came, mut discarded) = (0u64, 0u64);
        for n in 0..20_000u32 {
            let of = Of {
                ipv6: rng.chance(500_000),
                source: rng.below(200) as u8,
                id: rng.u32() & 0xffff,
                ..V4
            };
            let len = if rng.chance(20_000) { 40_000 } else { 8 };
            // Often of one datagram and near each other, so that overlaps come up too.
            let of = if rng.chance(300_000) {
                Of {
                    source: 3,
                    id: 5,
                    ..of
                }
            } else {
                of
            };
            let reach = if of.id == 5 { 20 } else { 3_000 };
            let f = fragment(of, 8 * (1 + rng.below(reach)) as usize, &vec![0; len], true);
            let at = NOW + Duration::from_millis(u64::from(n));
            let outcome = c.on_fragment(at, &f.input());
            came += 1;
            discarded += u64::from(outcome.discarded.map_or(0, |d| d.fragments));
            if !matches!(outcome.status, FragmentStatus::Pending) {
                discarded += 1;
            }
            assert!(c.len() <= slots, "seed {seed}");
            assert!(c.bytes() <= bytes, "seed {seed}: {}", c.bytes());
            if n % 512 == 0 {
                check_books(&c, &format!("seed {seed} step {n}"));
            }
        }
        let mut timed_out = 0;
        while let Some(out) = c.on_timeout(Instant::FAR_FUTURE) {
            timed_out += u64::from(out.fragments);
        }
        assert_eq!(came, discarded + timed_out, "seed {seed}");
        check_books(&c, &format!("seed {seed} end"));
        assert_eq!(c.bytes(), 0, "seed {seed}");
    }
}

#[test]
fn one_source_does_not_starve_another() {
    let mut c = cache(32, 1 << 20);
    let honest = Of {
        source: 1,
        id: 1,
        ..V4
    };
    c.on_fragment(NOW, &fragment(honest, 0, &[0; 16], true).input());
    for id in 0..10_000 {
        let of = Of {
            source: 66,
            id,
            ..V4
        };
        c.on_fragment(NOW, &fragment(of, 8, &[0; 8], true).input());
    }
    assert_eq!(c.len(), 1 + 32 / 4, "a quarter of the slots, no more");
    let outcome = c.on_fragment(NOW, &fragment(honest, 16, &[0; 8], false).input());
    assert!(matches!(outcome.status, FragmentStatus::Complete(_)));
    // Of bytes likewise.
    c.on_fragment(NOW, &fragment(honest, 0, &[0; 16], true).input());
    for id in 0..1_000 {
        let of = Of {
            source: 67,
            id,
            ..V4
        };
        c.on_fragment(NOW, &fragment(of, 8, &[0; 60_000], true).input());
    }
    assert!(c.bytes() <= (1 << 18) + 4_096, "{c:?}");
    let outcome = c.on_fragment(NOW, &fragment(honest, 16, &[0; 8], false).input());
    assert!(matches!(outcome.status, FragmentStatus::Complete(_)));
}
