//! Floods of fragments.

use super::*;

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
