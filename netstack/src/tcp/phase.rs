//! The synchronised states as one table (RFC 9293 section 3.3.2).
//!
//! Once both sequence number spaces are agreed upon, states differ only in what is permitted, so
//! they share one `Tcb` and differ in this value:
//!
//! ```text
//!                    close                     FIN
//!   FIN-WAIT-1  <--------------  ESTABLISHED  ------>  CLOSE-WAIT
//!    |      |                                              |
//!    |      | FIN                                          | close
//!    |      +-----------> CLOSING                          v
//!    | our FIN acked        |                           LAST-ACK
//!    v                      | our FIN acked                |
//!   FIN-WAIT-2              v                              | our FIN acked
//!    |   FIN            TIME-WAIT  --- 2 MSL --->  CLOSED <+
//!    +--------------------> ^
//! ```
//!
//! and from every state an abort, a reset or a timeout leads to CLOSED.
//!
//! * **Define.** A [`Phase`] says what may be sent and received.
//! * **Enforce.** [`Phase::apply`] is the only way from one to another.
//! * **Consume.** Input and output ask for permissions, never for the name of the state.

use super::outcome::State;

/// A synchronised state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub(super) enum Phase {
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    TimeWait,
    Closed,
}

/// An event that moves a connection from one phase to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PhaseEvent {
    /// The application closed its sending half.
    Close,
    /// The peer acknowledged our FIN.
    FinAcked,
    /// The peer's FIN is in sequence.
    FinReceived,
    /// 2 MSL passed in TIME-WAIT.
    Expired,
    /// Reset, abort or timeout.
    Abort,
}

impl Phase {
    /// All phases.
    #[cfg(test)]
    pub(super) const ALL: [Self; 8] = [
        Self::Established,
        Self::FinWait1,
        Self::FinWait2,
        Self::CloseWait,
        Self::Closing,
        Self::LastAck,
        Self::TimeWait,
        Self::Closed,
    ];

    /// Returns the phase after `event`: the same one where the event has no meaning.
    #[must_use]
    pub(super) fn apply(self, event: PhaseEvent) -> Self {
        use Phase as P;
        use PhaseEvent as E;
        match (self, event) {
            (_, E::Abort) => P::Closed,
            (P::Established, E::Close) => P::FinWait1,
            (P::CloseWait, E::Close) => P::LastAck,
            (P::Established, E::FinReceived) => P::CloseWait,
            (P::FinWait1, E::FinReceived) => P::Closing,
            (P::FinWait2, E::FinReceived) => P::TimeWait,
            (P::FinWait1, E::FinAcked) => P::FinWait2,
            (P::Closing, E::FinAcked) => P::TimeWait,
            (P::LastAck, E::FinAcked) => P::Closed,
            (P::TimeWait, E::Expired) => P::Closed,
            (same, _) => same,
        }
    }

    /// Returns true if the application may queue more.
    pub(super) fn may_queue(self) -> bool {
        matches!(self, Self::Established | Self::CloseWait)
    }

    /// Returns true if queued data or our FIN may still be unacknowledged.
    pub(super) fn may_transmit(self) -> bool {
        matches!(
            self,
            Self::Established | Self::CloseWait | Self::FinWait1 | Self::Closing | Self::LastAck
        )
    }

    /// Returns true if the peer may still send payload: its FIN has not come.
    pub(super) fn may_receive(self) -> bool {
        matches!(self, Self::Established | Self::FinWait1 | Self::FinWait2)
    }

    /// Returns the name in the state diagram.
    pub(super) fn state(self) -> State {
        match self {
            Self::Established => State::Established,
            Self::FinWait1 => State::FinWait1,
            Self::FinWait2 => State::FinWait2,
            Self::CloseWait => State::CloseWait,
            Self::Closing => State::Closing,
            Self::LastAck => State::LastAck,
            Self::TimeWait => State::TimeWait,
            Self::Closed => State::Closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Phase as P, PhaseEvent as E};

    /// The whole graph: every edge that is not listed here must stay where it is.
    #[test]
    fn the_table_is_the_diagram() {
        let edges = [
            (P::Established, E::Close, P::FinWait1),
            (P::Established, E::FinReceived, P::CloseWait),
            (P::FinWait1, E::FinAcked, P::FinWait2),
            (P::FinWait1, E::FinReceived, P::Closing),
            (P::FinWait2, E::FinReceived, P::TimeWait),
            (P::CloseWait, E::Close, P::LastAck),
            (P::Closing, E::FinAcked, P::TimeWait),
            (P::LastAck, E::FinAcked, P::Closed),
            (P::TimeWait, E::Expired, P::Closed),
        ];
        for from in P::ALL {
            for event in [E::Close, E::FinAcked, E::FinReceived, E::Expired, E::Abort] {
                let want = if event == E::Abort {
                    P::Closed
                } else {
                    edges
                        .iter()
                        .find(|(f, e, _)| *f == from && *e == event)
                        .map_or(from, |(_, _, to)| *to)
                };
                assert_eq!(from.apply(event), want, "{from:?} {event:?}");
            }
        }
    }

    #[test]
    fn permissions_agree_with_the_fins() {
        for phase in P::ALL {
            if phase.may_queue() {
                assert!(phase.may_transmit());
            }
            // Where the peer's FIN may come, it leads somewhere else.
            assert_eq!(phase.may_receive(), phase.apply(E::FinReceived) != phase);
            // Where closing means something, we have not closed.
            assert_eq!(phase.may_queue(), phase.apply(E::Close) != phase);
        }
    }
}
