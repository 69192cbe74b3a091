//! Reassembly against a model.

use super::*;

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
