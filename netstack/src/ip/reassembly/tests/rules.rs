//! Reassembly rule by rule.

use super::*;

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
