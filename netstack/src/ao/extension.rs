//! Sequence number extensions: the upper half of 64-bit sequence numbers, which no segment carries (RFC 5925 section 6.2).

/// The upper half of the first round's numbers, so that there are numbers before it.
const FIRST_ROUND: u64 = 1 << 32;

/// A whole sequence number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Whole(u64);

impl Whole {
    /// Returns the extension. That of a number before the first round is the highest one.
    pub(super) fn extension(self) -> u32 {
        (self.0.wrapping_sub(FIRST_ROUND) >> 32) as u32
    }
}

/// The extension of one direction, by the highest sequence number that was seen.
///
/// The RFC prints one way to find the extension and leaves others open. Here a sequence number is the one of all 64-bit
/// numbers with these lower bits that is nearest to the highest one before. That is right as long as no window exceeds
/// half of the space; the printed way miscounts when segments are late at a roll-over, as a test shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extension {
    highest: u64,
}

impl Extension {
    /// Begins with the initial sequence number, whose extension is zero.
    pub(super) fn new(isn: u32) -> Self {
        Self {
            highest: FIRST_ROUND | u64::from(isn),
        }
    }

    /// Returns the whole sequence number of a segment.
    pub(super) fn whole(&self, seq: u32) -> Whole {
        let ahead = seq.wrapping_sub(self.highest as u32).cast_signed();
        Whole(self.highest.wrapping_add_signed(ahead.into()))
    }

    /// Returns true if no segment before had a higher number.
    pub(super) fn is_newest(&self, whole: Whole) -> bool {
        whole.0 >= self.highest
    }

    /// Notes the whole sequence number of a segment that was sent, or whose code was right.
    pub(super) fn note(&mut self, whole: Whole) {
        self.highest = self.highest.max(whole.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The algorithm that RFC 5925 section 6.2 prints, its constants read as half of the space.
    struct Printed {
        sne: u32,
        previous: u32,
        flag: bool,
    }

    impl Printed {
        fn take(&mut self, seq: u32) -> u32 {
            let half = 0x7fff_ffff;
            if !self.flag && self.previous > half && seq < half {
                self.sne += 1;
                self.flag = true;
            }
            let sne = if self.flag && seq > half {
                self.sne - 1
            } else {
                self.sne
            };
            if self.previous < half && seq > half {
                self.flag = false;
            }
            self.previous = seq;
            sne
        }
    }

    #[test]
    fn rfc5925_6_2_the_extension_counts_how_often_numbers_rolled_over() {
        let mut extension = Extension::new(0xffff_fff0);
        let mut seen = |seq| {
            let whole = extension.whole(seq);
            extension.note(whole);
            whole.extension()
        };
        assert_eq!(seen(0xffff_fff1), 0);
        assert_eq!(seen(0x10), 1);
        // Out of order, and from before the roll-over.
        assert_eq!((seen(0xffff_fff5), seen(0x20)), (0, 1));
        for (seq, sne) in [(0x6000_0000, 1), (0xc000_0000, 1), (0x10, 2)] {
            assert_eq!(seen(seq), sne);
        }
        // A number before the first one changes nothing.
        let mut extension = Extension::new(5);
        extension.note(extension.whole(0xffff_fff0));
        assert_eq!(extension.whole(6).extension(), 0);
    }

    #[test]
    fn every_number_within_a_window_has_its_extension_whatever_the_order() {
        let mut extension = Extension::new(1_000);
        let mut rng = crate::base::Rng::from_u64(5_925);
        let mut at = 1_000_u64;
        for _ in 0..200_000 {
            at += u64::from(rng.below(1 << 18));
            // Up to the largest window behind.
            let seq = at.saturating_sub(rng.below(1 << 30).into()).max(1_000);
            let whole = extension.whole(seq as u32);
            assert_eq!(u64::from(whole.extension()), seq >> 32);
            extension.note(whole);
        }
        assert!(at >> 32 > 3, "it rolled over several times");
    }

    #[test]
    fn the_printed_algorithm_counts_a_roll_over_twice_if_a_segment_is_late() {
        let order = [0xffff_fff0, 0x10, 0xffff_fff8, 0x20];
        let mut printed = Printed {
            sne: 0,
            previous: 0,
            flag: false,
        };
        assert_eq!(order.map(|seq| printed.take(seq)), [0, 1, 0, 2]);
        let mut extension = Extension::new(0xffff_fff0);
        let ours = order.map(|seq| {
            let whole = extension.whole(seq);
            extension.note(whole);
            whole.extension()
        });
        assert_eq!(ours, [0, 1, 0, 1]);
    }
}
