//! Proportional rate reduction (RFC 9937): how much may be sent for what arrives during a fast recovery.
//!
//! The window shrinks over a round trip from what was in flight to the slow start threshold, so that
//! something can be sent for about every second acknowledgment. If losses have taken more than that out of
//! the network, it fills up again to the threshold: no faster than bytes arrive, or by a segment more for
//! each acknowledgment that shows good progress.

/// The state of one episode.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Prr {
    /// Bytes that may arrive during the episode (RecoverFS); zero: there is no episode.
    flight: u32,
    /// Bytes that arrived (`prr_delivered`).
    delivered: u32,
    /// Bytes that were sent (`prr_out`).
    out: u32,
    /// Bytes that may be sent until the next acknowledgment (`SndCnt`).
    allowed: u32,
}

/// An acknowledgment during a recovery.
#[derive(Clone, Copy, Debug)]
pub(in crate::tcp) struct Recovering {
    /// Bytes that arrived: no more than were in flight, however many duplicate ACKs say so.
    pub(in crate::tcp) arrived: u32,
    /// Bytes in the network.
    pub(in crate::tcp) pipe: u32,
    /// SND.UNA advanced, and no more losses were found (`SafeACK`).
    pub(in crate::tcp) is_safe: bool,
    pub(in crate::tcp) mss: u32,
}

impl Prr {
    /// Begins an episode in which `flight` bytes may arrive.
    pub(super) fn begin(&mut self, flight: u32) {
        *self = Self {
            flight: flight.max(1),
            ..Self::default()
        };
    }

    /// Ends the episode.
    pub(super) fn end(&mut self) {
        self.flight = 0;
    }

    /// Returns how much may be sent now; `None` outside of an episode.
    pub(super) fn allowed(&self) -> Option<u32> {
        (self.flight > 0).then_some(self.allowed)
    }

    /// Notes that `len` bytes were sent.
    pub(super) fn on_sent(&mut self, len: u32) {
        self.out = self.out.saturating_add(len);
        self.allowed = self.allowed.saturating_sub(len);
    }

    /// Takes an acknowledgment (RFC 9937 section 6.2).
    pub(super) fn on_ack(&mut self, ack: Recovering, ssthresh: u32) {
        if self.flight == 0 || ack.arrived == 0 {
            return;
        }
        self.delivered = self.delivered.saturating_add(ack.arrived);
        self.allowed = if ack.pipe > ssthresh {
            let due =
                (u64::from(self.delivered) * u64::from(ssthresh)).div_ceil(self.flight.into());
            u32::try_from(due)
                .unwrap_or(u32::MAX)
                .saturating_sub(self.out)
        } else {
            let mut count = self.delivered.saturating_sub(self.out).max(ack.arrived);
            if ack.is_safe {
                count = count.saturating_add(ack.mss);
            }
            count.min(ssthresh - ack.pipe)
        };
        if self.out == 0 && self.allowed == 0 {
            self.allowed = ack.mss;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1_000;

    fn ack(pipe: u32, is_safe: bool) -> Recovering {
        Recovering {
            arrived: MSS,
            pipe: pipe * MSS,
            is_safe,
            mss: MSS,
        }
    }

    /// Figure 1 of RFC 9937: one of 20 segments is lost; ten are in flight at the end of the recovery.
    #[test]
    fn rfc9937_8_one_loss_is_a_smooth_reduction() {
        let mut prr = Prr::default();
        prr.begin(20 * MSS);
        let (mut pipe, mut sent) = (18, 0);
        for _ in 0..20 {
            prr.on_ack(ack(pipe, false), 10 * MSS);
            let segments = prr.allowed().expect("an episode") / MSS;
            prr.on_sent(segments * MSS);
            sent += segments;
            pipe = pipe + segments - 1;
        }
        assert_eq!(sent, 11, "the retransmission and ten new segments");
        assert_eq!(pipe, 9);
    }

    /// Figure 2 of RFC 9937: 15 of 20 are lost; what arrives is replaced one to one, and one more for
    /// each acknowledgment of good progress.
    #[test]
    fn rfc9937_8_many_losses_are_sent_again_as_fast_as_bytes_arrive() {
        let mut prr = Prr::default();
        prr.begin(20 * MSS);
        prr.on_ack(ack(4, false), 10 * MSS);
        assert_eq!(prr.allowed(), Some(MSS));
        prr.on_sent(MSS);
        prr.on_ack(ack(4, false), 10 * MSS);
        assert_eq!(prr.allowed(), Some(MSS));
        prr.on_sent(MSS);
        prr.on_ack(ack(4, true), 10 * MSS);
        assert_eq!(prr.allowed(), Some(2 * MSS));
    }

    #[test]
    fn rfc9937_6_2_the_first_retransmission_is_always_allowed_and_banked_allowance_is_kept() {
        let mut prr = Prr::default();
        prr.begin(1_000 * MSS);
        prr.on_ack(
            Recovering {
                arrived: 1,
                ..ack(900, false)
            },
            1,
        );
        assert_eq!(prr.allowed(), Some(1), "rounded up");
        // Nothing could be sent for ten acknowledgments: it is made up for.
        let mut prr = Prr::default();
        prr.begin(20 * MSS);
        for pipe in (5..15).rev() {
            prr.on_ack(ack(pipe, false), 10 * MSS);
        }
        assert_eq!(prr.allowed(), Some(5 * MSS));
        prr.end();
        assert_eq!(prr.allowed(), None);
    }
}
