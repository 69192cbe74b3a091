//! Explicit congestion notification: routers mark packets instead of dropping them, and the receiver tells the
//! sender (RFC 3168, RFC 8311), in one of two languages.
//!
//! | feedback | | |
//! |---|---|---|
//! | classic | ECE on every segment, until the sender says CWR | once a round trip (RFC 3168) |
//! | accurate | the number of marked packets, modulo 8, in the flags AE, CWR and ECE, and counters of bytes in an option | each mark (RFC 9768) |
//!
//! Each end is a receiver, which feeds back the marks of what arrives ([`feedback`]), and a sender, which reduces
//! its window for the marks of what it sent ([`response`]). The SYNs decide about the language ([`negotiate`]).
//!
//! Only new data is sent with ECT(0): no SYN, no bare ACK, no retransmission, no window probe (RFC 3168 sections
//! 6.1.1, 6.1.4, 6.1.5 and 6.1.6). A super-segment is one decision for all of its wire segments, and counts as
//! the number of them.

mod feedback;
pub(super) mod negotiate;
mod response;

pub(super) use feedback::{Ace, final_flags};
pub use negotiate::EcnMode;
pub(super) use response::Delivered;

use super::seq::SeqNum;

/// The codepoints of the IP header (RFC 3168 section 5).
pub(super) const NOT_ECT: u8 = 0;
pub(super) const ECT_1: u8 = 1;
pub(super) const ECT_0: u8 = 2;
pub(super) const CE: u8 = 3;

bitflags::bitflags! {
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    struct Marks: u16 {
        /// New data is sent without ECT: a packet that left without ECT arrived with it, or the peer may not know of
        /// ECN.
        const NO_ECT = 1;
        /// The peer's feedback is not believed.
        const DEAF = 1 << 1;
        /// Classic: a mark arrived, and the peer's CWR did not.
        const ECHO = 1 << 2;
        /// Classic: the window was reduced, and the peer was not told.
        const CWR_DUE = 1 << 3;
        /// The window was reduced for the marks of this round trip.
        const REDUCED = 1 << 4;
        /// Accurate: the last packet that arrived was marked.
        const LAST_CE = 1 << 5;
        /// Accurate: the SYN-ACK is acknowledged with its own codepoint, not yet sent, in the flags.
        const ACKS_SYN = 1 << 6;
        /// Accurate: a counter of bytes moved since it was reported.
        const CHANGED = 1 << 7;
        /// Accurate: the counter of this codepoint has moved during the connection.
        const SAW_CE = 1 << 8;
        const SAW_ECT_1 = 1 << 9;
        /// Accurate: the peer's options arrive.
        const HEARS_OPTION = 1 << 10;
    }
}

/// Counters of Accurate ECN (RFC 9768 section 3.2): those of the receiver, or the sender's copy of the peer's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Counters {
    /// Packets with CE.
    pub(super) packets: u32,
    /// Bytes of payload that arrived with ECT(0), CE and ECT(1).
    pub(super) ect0: u32,
    pub(super) ce: u32,
    pub(super) ect1: u32,
}

impl Counters {
    /// The values at the start (RFC 9768 section 3.2.1): zero would look like what a middlebox erased.
    pub(super) const START: Self = Self {
        packets: 5,
        ect0: 1,
        ce: 0,
        ect1: 1,
    };

    /// Returns what was counted since the start.
    pub(super) fn since_start(self) -> Self {
        let start = Self::START;
        Self {
            packets: self.packets.wrapping_sub(start.packets),
            ect0: self.ect0.wrapping_sub(start.ect0),
            ce: self.ce.wrapping_sub(start.ce),
            ect1: self.ect1.wrapping_sub(start.ect1),
        }
    }
}

/// ECN of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ecn {
    mode: EcnMode,
    /// Codepoint of the SYN-ACK that is to be acknowledged.
    syn_ack: u8,
    /// CE marks that arrived since the last ACK.
    unreported: u8,
    marks: Marks,
    /// End of what was sent when the window was last reduced.
    reduced_to: SeqNum,
    /// Classic: packets with CE that arrived. Accurate: `r.cep` and its like.
    received: Counters,
    /// Accurate: `s.cep` and its like.
    echoed: Counters,
}

impl Ecn {
    pub(super) fn new(mode: EcnMode, una: SeqNum) -> Self {
        Self {
            mode,
            syn_ack: NOT_ECT,
            unreported: 0,
            marks: Marks::empty(),
            reduced_to: una,
            received: Counters::START,
            echoed: Counters::START,
        }
    }

    /// Returns the language of the feedback.
    pub(super) fn mode(&self) -> EcnMode {
        self.mode
    }

    /// Returns what arrived with marks, and what the peer says of what we sent.
    pub(super) fn counters(&self) -> (Counters, Counters) {
        (self.received.since_start(), self.echoed.since_start())
    }

    /// Returns the codepoint of new data.
    pub(super) fn codepoint(&self) -> u8 {
        if self.mode == EcnMode::Off || self.marks.contains(Marks::NO_ECT) {
            NOT_ECT
        } else {
            ECT_0
        }
    }

    /// Checks that the state fits the mode.
    #[cfg(any(test, feature = "invariants"))]
    pub(super) fn check(&self) {
        assert!(Self::marks_of(self.mode).contains(self.marks));
    }
}

/// Holds the ECN of a connection that rests: with nothing in flight, and no feedback owed.
#[derive(Clone, Copy, Debug)]
pub(super) struct RestingEcn {
    mode: EcnMode,
    marks: Marks,
    received: Counters,
    echoed: Counters,
}

impl Ecn {
    /// Returns what is needed while nothing is in flight.
    pub(super) fn rest(&self) -> RestingEcn {
        RestingEcn {
            mode: self.mode,
            marks: self.marks.difference(Marks::REDUCED),
            received: self.received,
            echoed: self.echoed,
        }
    }
}

impl RestingEcn {
    /// Makes the state anew. Everything before `una` is acknowledged.
    pub(super) fn wake(self, una: SeqNum) -> Ecn {
        Ecn {
            marks: self.marks,
            received: self.received,
            echoed: self.echoed,
            ..Ecn::new(self.mode, una)
        }
    }
}

/// ECN as plain data.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct KeptEcn {
    mode: EcnMode,
    syn_ack: u8,
    unreported: u8,
    marks: u16,
    reduced_to: SeqNum,
    received: Counters,
    echoed: Counters,
}

impl Ecn {
    /// Returns the state as plain data.
    pub(super) fn kept(&self) -> KeptEcn {
        KeptEcn {
            mode: self.mode,
            syn_ack: self.syn_ack,
            unreported: self.unreported,
            marks: self.marks.bits(),
            reduced_to: self.reduced_to,
            received: self.received,
            echoed: self.echoed,
        }
    }

    /// Returns the marks that a mode knows.
    const fn marks_of(mode: EcnMode) -> Marks {
        let classic = Marks::ECHO.union(Marks::CWR_DUE);
        let accurate = Marks::LAST_CE
            .union(Marks::ACKS_SYN)
            .union(Marks::CHANGED)
            .union(Marks::HEARS_OPTION);
        match mode {
            EcnMode::Off => classic.union(accurate).union(Marks::REDUCED).complement(),
            EcnMode::Classic => accurate.complement(),
            EcnMode::Accurate => classic.complement(),
        }
    }
}

impl KeptEcn {
    /// Returns the state, without marks that its mode does not know.
    pub(super) fn restored(&self) -> Ecn {
        Ecn {
            mode: self.mode,
            syn_ack: self.syn_ack & CE,
            unreported: self.unreported,
            marks: Marks::from_bits_truncate(self.marks) & Ecn::marks_of(self.mode),
            reduced_to: self.reduced_to,
            received: self.received,
            echoed: self.echoed,
        }
    }
}

/// A field of three bits, as AE, CWR and ECE (RFC 9768 section 3.2.2).
fn flags_of(field: u32) -> packet::tcp::TcpFlags {
    use packet::tcp::TcpFlags;
    let mut flags = TcpFlags::empty();
    flags.set(TcpFlags::AE, field & 4 != 0);
    flags.set(TcpFlags::CWR, field & 2 != 0);
    flags.set(TcpFlags::ECE, field & 1 != 0);
    flags
}

/// Returns the three flags as a field.
fn field_of(flags: packet::tcp::TcpFlags) -> u32 {
    use packet::tcp::TcpFlags;
    let bit = |flag, value| if flags.contains(flag) { value } else { 0 };
    bit(TcpFlags::AE, 4) | bit(TcpFlags::CWR, 2) | bit(TcpFlags::ECE, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_keeps_the_counters() {
        let mut ecn = Ecn::new(EcnMode::Accurate, SeqNum(5));
        ecn.received = Counters {
            packets: 0x1_0007,
            ect0: 0x0112_3456,
            ce: 77,
            ect1: 0xff_ffff,
        };
        ecn.echoed.ce = 0x0200_0001;
        ecn.marks.insert(Marks::SAW_CE | Marks::REDUCED);
        let awake = ecn.rest().wake(SeqNum(9));
        assert_eq!(awake.counters(), ecn.counters());
        assert_eq!(awake.received.packets & 7, 7);
        assert_eq!(awake.marks, Marks::SAW_CE);
    }
}
