//! Invariants of a connection, checked after every entry where a test or the feature `invariants`
//! asks for it.
//!
//! * **Define.** `Tcb::check` says what holds for one state, `Snapshot::check` what holds between
//!   the states before and after an entry.
//! * **Enforce.** `Tcp::checked` wraps every entry that changes a connection. A broken invariant is a bug
//!   of this crate and panics.
//! * **Consume.** Tests and fuzzers need not look for damage: they only have to reach it. Without
//!   the feature, `Tcp::checked` calls the entry and does nothing else.

use super::Tcp;

impl Tcp {
    /// Runs an entry, and checks the invariants after it where they are compiled in.
    #[inline(always)]
    pub(super) fn checked<R>(&mut self, entry: impl FnOnce(&mut Self) -> R) -> R {
        #[cfg(any(test, feature = "invariants"))]
        let before = snapshot::Snapshot::of(self);
        let result = entry(self);
        #[cfg(any(test, feature = "invariants"))]
        before.check(self);
        result
    }
}

/// Returns true if a walk over `len` elements is due: always if they are few, otherwise often enough that
/// walks cost [`WALK_ELEMENTS`] a call on average. A queue of a thousand slices would make each check of
/// a bulk transfer a thousand steps long.
#[cfg(any(test, feature = "invariants"))]
pub(super) fn walk_is_due(len: usize) -> bool {
    thread_local! {
        static EARNED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }
    if len <= WALK_ELEMENTS {
        return true;
    }
    EARNED.with(|earned| {
        let now = earned.get() + WALK_ELEMENTS;
        earned.set(if now >= len { now - len } else { now });
        now >= len
    })
}

/// Elements that a check may look at in one call, on average.
#[cfg(any(test, feature = "invariants"))]
const WALK_ELEMENTS: usize = 64;

#[cfg(any(test, feature = "invariants"))]
mod snapshot {
    use crate::tcp::phase::Phase;
    use crate::tcp::seq::SeqNum;
    use crate::tcp::tcb::Tcb;
    use crate::tcp::{Stage, Tcp};

    /// The numbers of a connection that only move forwards.
    pub(super) struct Snapshot(Option<Numbers>);

    #[derive(Clone, Copy)]
    struct Numbers {
        una: SeqNum,
        nxt: SeqNum,
        rcv_nxt: SeqNum,
        /// Right edge of the window that was offered.
        edge: SeqNum,
        closed: bool,
    }

    impl Numbers {
        fn of(tcb: &Tcb) -> Self {
            Self {
                una: tcb.flight.una(),
                nxt: tcb.flight.nxt(),
                rcv_nxt: tcb.window.nxt,
                edge: tcb.window.edge(),
                closed: tcb.phase == Phase::Closed,
            }
        }
    }

    impl Snapshot {
        pub(super) fn of(tcp: &Tcp) -> Self {
            Self(match &tcp.stage {
                Stage::Resting(resting) => Some(Numbers::of(&resting.clone().wake())),
                _ => tcp.tcb().map(Numbers::of),
            })
        }

        /// Checks `tcp`, which was in this state before an entry.
        pub(super) fn check(self, tcp: &Tcp) {
            tcp.check();
            let Some(before) = self.0 else { return };
            let after = match &tcp.stage {
                Stage::Open(tcb) => Numbers::of(tcb),
                Stage::FastOpened(state) => Numbers::of(&state.block),
                Stage::Resting(resting) => Numbers::of(&resting.clone().wake()),
                _ => panic!("a synchronised connection went back to a handshake"),
            };
            assert!(after.una.at_or_after(before.una), "SND.UNA went back");
            assert!(after.nxt.at_or_after(before.nxt), "SND.NXT went back");
            assert!(
                after.rcv_nxt.at_or_after(before.rcv_nxt),
                "RCV.NXT went back"
            );
            // RFC 9293 section 3.8.6 (SHLD-14): the window must not shrink.
            assert!(
                after.edge.at_or_after(before.edge),
                "the right edge of the offered window moved left"
            );
            assert!(after.closed || !before.closed, "CLOSED is final");
        }
    }
}

#[cfg(any(test, feature = "invariants"))]
mod state {
    use crate::base::Instant;
    use crate::tcp::Tcp;
    use crate::tcp::phase::Phase;
    use crate::tcp::tcb::{Flags, Tcb};

    impl Tcp {
        /// Checks what must hold whatever the peer sends.
        pub(in crate::tcp) fn check(&self) {
            if let Some(tcb) = self.tcb() {
                tcb.check();
            }
        }
    }

    impl Tcb {
        /// Checks what must hold whatever the peer sends.
        fn check(&self) {
            self.check_sending();
            self.check_receiving();
            self.check_flags();
            self.check_timers();
            self.cc.check(self.payload_mss());
            self.ecn.check();
            let rto = self.rto();
            assert!(self.cfg.rto_min.min(self.cfg.rto_initial) <= rto && rto <= self.cfg.rto_max);
        }

        fn check_sending(&self) {
            self.queue.check();
            self.flight.check();
            assert!(self.peer.wnd <= self.peer.max);
            let end = self.queue.end();
            let fin = u32::from(self.flags.contains(Flags::FIN_QUEUED));
            if self.phase.may_transmit() {
                assert_eq!(
                    end.since(self.flight.una()) as usize,
                    self.queue.len(),
                    "the queue begins at SND.UNA"
                );
                assert!(
                    self.flight.nxt().at_or_before(end + fin),
                    "nothing was sent that is not queued"
                );
            } else {
                assert_eq!(self.queue.len(), 0, "nothing is left to be sent");
            }
        }

        fn check_receiving(&self) {
            let window = &self.window;
            window.check();
            self.ring.check();
            let unit = 1 << self.agreed.recv_scale;
            assert!(self.ring.len() <= self.cfg.recv_buffer_max + unit);
            // The FIN takes a number, but no room.
            let fin = u32::from(self.flags.contains(Flags::FIN_RECEIVED));
            assert!(window.nxt.at_or_before(window.edge() + fin));
            if let Some(board) = &self.assembler {
                assert!(!board.is_empty(), "an empty out-of-order queue is freed");
                board.check(window.nxt, self.assembler_limits());
                let end = board.end().unwrap_or(window.nxt);
                assert!(end.at_or_before(window.edge()), "kept beyond the window");
                let fin_at = self.fin_at.unwrap_or(end);
                assert!(end.at_or_before(fin_at), "kept beyond the peer's FIN");
            }
            if let Some(fin_at) = self.fin_at {
                assert!(fin_at.after(window.nxt) && fin_at.at_or_before(window.edge()));
            }
            self.duplicates.check();
        }

        fn check_flags(&self) {
            let has = |flag| self.flags.contains(flag);
            if self.phase == Phase::Closed {
                assert!(!has(Flags::PROBE_DUE) && !has(Flags::KEEPALIVE_DUE));
                assert!(self.assembler.is_none());
                return;
            }
            assert_eq!(self.error, None, "an error ends the connection");
            assert!(!has(Flags::RST_DUE), "a reset ends the connection");
            assert_eq!(has(Flags::FIN_QUEUED), !self.phase.may_queue());
            assert_eq!(has(Flags::FIN_RECEIVED), !self.phase.may_receive());
            if !self.phase.may_receive() {
                assert!(self.assembler.is_none() && self.fin_at.is_none());
            }
            if has(Flags::RECV_CLOSED) {
                assert_eq!(self.ring.len(), 0, "kept for nobody");
            }
            if has(Flags::RST_QUEUED) {
                let may_reset = self.phase.may_transmit() || self.phase == Phase::FinWait2;
                assert!(has(Flags::RECV_CLOSED) && may_reset);
            }
        }

        fn check_timers(&self) {
            let timers = &self.timers;
            let armed = |at: Instant| at != Instant::FAR_FUTURE;
            if self.phase == Phase::Closed {
                assert_eq!(timers.earliest(), None, "CLOSED has no timer");
                return;
            }
            if self.phase.may_transmit() {
                if self.flight.outstanding() > 0 {
                    assert!(armed(timers.retransmit), "something in flight has a timer");
                }
                if self.flight.reorder_deadline().is_some() {
                    assert!(armed(timers.loss), "a reordering window has a timer");
                }
            } else {
                assert!(!armed(timers.retransmit), "nothing to retransmit");
                assert!(!armed(timers.loss), "nothing to lose");
            }
            if self.ack.is_owed() && !self.ack.is_due() {
                assert!(armed(timers.delayed_ack), "a delayed ACK has a timer");
            }
            if armed(timers.pace) {
                assert!(self.phase.may_transmit(), "a departure of nothing");
            }
            if armed(timers.delayed_ack) {
                assert!(self.ack.is_owed(), "a timer for no ACK");
            }
            let ends = self.phase == Phase::TimeWait
                || (self.phase == Phase::FinWait2 && self.flags.contains(Flags::RECV_CLOSED));
            if ends || self.settings.keepalive().is_some() {
                assert!(armed(timers.life), "{:?} ends by a timer", self.phase);
            }
        }

        /// Checks that `poll_transmit` may rest, as it says.
        pub(in crate::tcp) fn check_nothing_to_send(&self) {
            assert!(!self.flags.contains(Flags::RST_DUE) && !self.ack.is_due());
            if self.phase.may_transmit() && self.has_unsent() {
                let timers = [self.timers.retransmit, self.timers.pace];
                let waits = timers.iter().any(|at| *at != Instant::FAR_FUTURE);
                assert!(waits, "what waits for the window has a timer");
            }
        }
    }
}
