//! The SYNs decide about ECN (RFC 3168 section 6.1.1, RFC 9768 section 3.1).
//!
//! ```text
//!   AE CWR ECE   on the SYN           on the SYN-ACK
//!    0  0   0    no ECN               no ECN
//!    0  0   1                         classic
//!    0  1   1    classic              accurate: the SYN arrived with ECT(1)
//!    0  1   0                         accurate: without ECT
//!    1  0   0                         accurate: with ECT(0)
//!    1  1   0                         accurate: with CE
//!    1  0   1                         accurate, reserved
//!    1  1   1    accurate             no ECN: a server that returns whatever it gets
//! ```
//!
//! An active open offers accurate feedback, and a classic server takes it for a classic offer: so there is one
//! offer for all. It is given up when two SYNs remained without an answer.

use packet::tcp::{AccEcn, TcpFlags};

use super::{CE, Counters, ECT_0, ECT_1, Ecn, Marks, NOT_ECT, field_of, flags_of};
use crate::base::TcpConfig;
use crate::tcp::segment::Segment;
use crate::tcp::seq::SeqNum;

/// The language in which congestion marks are fed back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub enum EcnMode {
    /// No ECN: routers can only drop.
    #[default]
    Off,
    /// RFC 3168: once a round trip.
    Classic,
    /// RFC 9768: each mark.
    Accurate,
}

const OFFERS: TcpFlags = TcpFlags::AE.union(TcpFlags::CWR).union(TcpFlags::ECE);
const CLASSIC_OFFER: TcpFlags = TcpFlags::CWR.union(TcpFlags::ECE);

/// SYNs that offer ECN, or SYN-ACKs that agree to accurate feedback, before one without (RFC 9768 section 3.1.4).
const OFFERED: u8 = 2;

/// Returns the flags of a SYN after `retries` others.
pub(in crate::tcp) fn offer(cfg: &TcpConfig, retries: u8) -> TcpFlags {
    if !cfg.ecn || !cfg.ecn_offer || retries >= OFFERED {
        TcpFlags::empty()
    } else if cfg.accurate_ecn {
        OFFERS
    } else {
        CLASSIC_OFFER
    }
}

/// Returns the mode that a SYN with these flags leads to.
fn accepted(cfg: &TcpConfig, flags: TcpFlags) -> EcnMode {
    if !cfg.ecn {
        return EcnMode::Off;
    }
    match flags & OFFERS {
        none if none.is_empty() => EcnMode::Off,
        CLASSIC_OFFER => EcnMode::Classic,
        // Whatever it may mean one day (RFC 9768 section 3.1.3).
        _ if cfg.accurate_ecn => EcnMode::Accurate,
        OFFERS => EcnMode::Classic,
        _ => EcnMode::Off,
    }
}

/// Returns the field that says with which codepoint a SYN or SYN-ACK arrived.
fn arrived_as(codepoint: u8) -> u32 {
    match codepoint & 3 {
        ECT_1 => 0b011,
        ECT_0 => 0b100,
        CE => 0b110,
        _ => 0b010,
    }
}

/// The ECN of a handshake that is half open, in one byte.
///
/// ```text
///    7   5   4     3     2  1     0
///   +---+-------+-------+------+------+
///   | 0 | plain | mode (2) | codepoint |
///   +---+-------+----------+-----------+
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub(in crate::tcp) struct Answer(u8);

impl Answer {
    const PLAIN: u8 = 1 << 4;

    /// Takes the offer of a SYN.
    pub(in crate::tcp) fn to(cfg: &TcpConfig, syn: &Segment) -> Self {
        Self::of(accepted(cfg, syn.flags()), syn.ecn())
    }

    pub(in crate::tcp) fn of(mode: EcnMode, codepoint: u8) -> Self {
        Self(codepoint & 3 | (mode as u8) << 2)
    }

    pub(in crate::tcp) fn mode(self) -> EcnMode {
        match self.0 >> 2 & 3 {
            0 => EcnMode::Off,
            1 => EcnMode::Classic,
            _ => EcnMode::Accurate,
        }
    }

    /// Takes the SYN again. Returns false if it contradicts the first one: the handshake must be reset (RFC 9768
    /// section 3.1.5).
    pub(in crate::tcp) fn again(&mut self, cfg: &TcpConfig, syn: &Segment) -> bool {
        let flags = syn.flags() & OFFERS;
        if flags.is_empty() {
            self.0 |= Self::PLAIN;
        }
        self.0 = self.0 & !3 | syn.ecn() & 3;
        let offered = accepted(cfg, flags);
        let agreed = self.mode();
        offered == agreed || offered == EcnMode::Off || agreed == EcnMode::Off
    }

    /// Returns the flags of the SYN-ACK after `retries` others.
    pub(in crate::tcp) fn flags(self, retries: u8) -> TcpFlags {
        match self.mode() {
            EcnMode::Off => TcpFlags::empty(),
            EcnMode::Classic => TcpFlags::ECE,
            EcnMode::Accurate if retries >= OFFERED => TcpFlags::empty(),
            EcnMode::Accurate => flags_of(arrived_as(self.0)),
        }
    }

    /// Returns the option of the SYN-ACK, whose way it tests; not after a loss, which may be due to it (RFC 9768
    /// section 3.2.3.2).
    pub(in crate::tcp) fn option(self, retries: u8) -> Option<AccEcn> {
        let Counters { ect0, ce, ect1, .. } = Counters::START;
        (self.mode() == EcnMode::Accurate && retries == 0)
            .then(|| AccEcn::new(false, ect0, ce, ect1, 3))
    }

    /// Ends the handshake: `seg` acknowledges our SYN-ACK, the last of 1 + `retries`.
    pub(in crate::tcp) fn agree(self, seg: &Segment, retries: u8, una: SeqNum) -> Ecn {
        let mut ecn = Ecn::new(self.mode(), una);
        if ecn.mode != EcnMode::Accurate {
            return ecn;
        }
        let sent_plain = retries >= OFFERED;
        if self.0 & Self::PLAIN != 0 || sent_plain {
            // The peer may not have taken the agreement (section 3.1.5).
            ecn.marks.insert(Marks::NO_ECT);
        }
        let is_pure = seg.payload().is_empty()
            && seg.options().sack.is_empty()
            && !seg.has(TcpFlags::SYN)
            && !seg.has(TcpFlags::FIN);
        if is_pure {
            match field_of(seg.flags()) {
                // The peer is not in this mode after all (section 3.2.2.1, table 4).
                0b000 => ecn.marks.insert(Marks::NO_ECT | Marks::DEAF),
                // Our SYN-ACK was sent without ECT, and arrived with it: something on the path writes into the field.
                0b011 | 0b100 => ecn.marks.insert(Marks::NO_ECT),
                0b110 => {
                    ecn.marks.insert(Marks::NO_ECT);
                    ecn.echoed.packets += 1;
                }
                _ => {}
            }
        }
        ecn.take_first_option(seg);
        ecn
    }
}

/// Ends an active open by the SYN-ACK `seg`. `offered`: the flags of the SYNs that offered something.
pub(in crate::tcp) fn agree(offered: TcpFlags, seg: &Segment, una: SeqNum) -> Ecn {
    let field = field_of(seg.flags());
    let mode = match (offered, field) {
        (OFFERS, 0b010..=0b110) => EcnMode::Accurate,
        (OFFERS, 0b001) => EcnMode::Classic,
        // Whatever AE says: it was reserved.
        (CLASSIC_OFFER, 0b001 | 0b101) => EcnMode::Classic,
        _ => EcnMode::Off,
    };
    let mut ecn = Ecn::new(mode, una);
    if mode == EcnMode::Accurate {
        if matches!(field, 0b011 | 0b100 | 0b110) {
            // Our SYN was sent without ECT, and arrived with it.
            ecn.marks.insert(Marks::NO_ECT);
        }
        if seg.ecn() == CE {
            ecn.received.packets += 1;
        }
        ecn.acknowledge_syn_ack(seg);
        ecn.take_first_option(seg);
    }
    ecn
}

impl Ecn {
    /// Owes the peer the codepoint of its SYN-ACK (RFC 9768 section 3.2.2.1).
    pub(in crate::tcp) fn acknowledge_syn_ack(&mut self, seg: &Segment) {
        if self.mode == EcnMode::Accurate {
            self.syn_ack = seg.ecn() & 3;
            self.marks.insert(Marks::ACKS_SYN);
        }
    }

    /// Returns the field that acknowledges a SYN-ACK.
    pub(super) fn syn_ack_field(&self) -> u32 {
        arrived_as(self.syn_ack)
    }

    /// Notes if the peer's option arrives at all, and unharmed (RFC 9768 section 3.2.3.2).
    fn take_first_option(&mut self, seg: &Segment) {
        let sound = seg
            .options()
            .acc_ecn
            .is_some_and(|option| option.ect0() != Some(0) && option.ect1() != Some(0));
        self.marks.set(Marks::HEARS_OPTION, sound);
    }
}

const _: () = assert!(NOT_ECT == 0);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::segment::SegmentParts;

    const UNA: SeqNum = SeqNum(1);

    fn cfg() -> TcpConfig {
        TcpConfig::default()
    }

    fn segment(field: u32, ecn: u8) -> Segment {
        SegmentParts {
            flags: flags_of(field) | TcpFlags::ACK,
            ecn,
            ..SegmentParts::default()
        }
        .into()
    }

    #[test]
    fn rfc9768_3_1_1_a_syn_is_answered_by_table_2() {
        for (field, mode) in [
            (0b000, EcnMode::Off),
            (0b011, EcnMode::Classic),
            (0b111, EcnMode::Accurate),
            (0b001, EcnMode::Accurate),
            (0b010, EcnMode::Accurate),
            (0b100, EcnMode::Accurate),
            (0b101, EcnMode::Accurate),
            (0b110, EcnMode::Accurate),
        ] {
            assert_eq!(
                Answer::to(&cfg(), &segment(field, 0)).mode(),
                mode,
                "{field:b}"
            );
        }
        for (codepoint, field) in [
            (NOT_ECT, 0b010),
            (ECT_1, 0b011),
            (ECT_0, 0b100),
            (CE, 0b110),
        ] {
            let answer = Answer::to(&cfg(), &segment(0b111, codepoint));
            assert_eq!(field_of(answer.flags(0)), field);
            assert_eq!(answer.flags(1), answer.flags(0));
            assert!(answer.flags(2).is_empty(), "given up");
            assert!(answer.option(0).is_some() && answer.option(1).is_none());
        }
        let classic = Answer::to(&cfg(), &segment(0b011, 0));
        assert_eq!(classic.flags(0), TcpFlags::ECE);
    }

    #[test]
    fn rfc9768_3_1_1_a_syn_ack_is_taken_by_table_2() {
        for (field, mode) in [
            (0b000, EcnMode::Off),
            (0b001, EcnMode::Classic),
            (0b010, EcnMode::Accurate),
            (0b011, EcnMode::Accurate),
            (0b100, EcnMode::Accurate),
            (0b101, EcnMode::Accurate),
            (0b110, EcnMode::Accurate),
            (0b111, EcnMode::Off),
        ] {
            let ecn = agree(OFFERS, &segment(field, 0), UNA);
            assert_eq!(ecn.mode(), mode, "{field:b}");
            let classic = agree(CLASSIC_OFFER, &segment(field, 0), UNA).mode();
            let says_yes = field == 0b001 || field == 0b101;
            assert_eq!(classic == EcnMode::Classic, says_yes, "{field:b}");
            let none = agree(TcpFlags::empty(), &segment(field, 0), UNA);
            assert_eq!(none.mode(), EcnMode::Off);
        }
    }

    #[test]
    fn rfc9768_3_2_2_3_a_changed_codepoint_stops_ect_and_not_the_feedback() {
        for (field, ect) in [
            (0b010, true),
            (0b101, true),
            (0b011, false),
            (0b100, false),
            (0b110, false),
        ] {
            let ecn = agree(OFFERS, &segment(field, 0), UNA);
            assert_eq!(ecn.codepoint() == ECT_0, ect, "{field:b}");
        }
        let answer = Answer::of(EcnMode::Accurate, NOT_ECT);
        for (field, ect, packets) in [
            (0b010, true, 0),
            (0b101, true, 0),
            (0b000, false, 0),
            (0b100, false, 0),
            (0b110, false, 1),
        ] {
            let ecn = answer.agree(&segment(field, 0), 0, UNA);
            assert_eq!(ecn.codepoint() == ECT_0, ect, "{field:b}");
            assert_eq!(ecn.counters().1.packets, packets);
        }
    }

    #[test]
    fn rfc9768_3_1_5_a_server_that_saw_or_sent_a_plain_handshake_sends_no_ect() {
        let mut answer = Answer::to(&cfg(), &segment(0b111, 0));
        assert!(answer.again(&cfg(), &segment(0b000, CE)));
        assert_eq!(
            field_of(answer.flags(1)),
            0b110,
            "the latest SYN is fed back"
        );
        let ecn = answer.agree(&segment(0b010, 0), 0, UNA);
        assert_eq!((ecn.mode(), ecn.codepoint()), (EcnMode::Accurate, NOT_ECT));
        let answer = Answer::to(&cfg(), &segment(0b111, 0));
        assert_eq!(
            answer.agree(&segment(0b010, 0), 2, UNA).codepoint(),
            NOT_ECT
        );
    }

    #[test]
    fn rfc9768_3_1_5_two_kinds_of_syn_in_one_handshake_reset_it() {
        let mut accurate = Answer::to(&cfg(), &segment(0b111, 0));
        assert!(accurate.again(&cfg(), &segment(0b111, 0)));
        assert!(!accurate.again(&cfg(), &segment(0b011, 0)));
        let mut classic = Answer::to(&cfg(), &segment(0b011, 0));
        assert!(!classic.again(&cfg(), &segment(0b111, 0)));
        let only_classic = TcpConfig {
            accurate_ecn: false,
            ..cfg()
        };
        let mut fallen_back = Answer::to(&only_classic, &segment(0b111, 0));
        assert!(fallen_back.again(&only_classic, &segment(0b111, 0)));
        let mut off = Answer::to(&cfg(), &segment(0b000, 0));
        assert!(off.again(&cfg(), &segment(0b111, 0)));
        assert!(off.flags(0).is_empty(), "it does not switch");
    }

    #[test]
    fn rfc9768_3_1_4_1_the_offer_is_given_up_after_two_syns() {
        let fields: Vec<_> = (0..4)
            .map(|retries| field_of(offer(&cfg(), retries)))
            .collect();
        assert_eq!(fields, [7, 7, 0, 0]);
        let classic = TcpConfig {
            accurate_ecn: false,
            ..cfg()
        };
        assert_eq!(field_of(offer(&classic, 0)), 3);
        let passive = TcpConfig {
            ecn_offer: false,
            ..cfg()
        };
        assert_eq!(field_of(offer(&passive, 0)), 0);
        assert_eq!(
            Answer::to(&passive, &segment(7, 0)).mode(),
            EcnMode::Accurate
        );
        let off = TcpConfig {
            ecn: false,
            ..cfg()
        };
        assert_eq!(Answer::to(&off, &segment(3, 0)).mode(), EcnMode::Off);
    }
}
