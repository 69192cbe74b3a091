//! ICMP errors about a connection, and the path MTU that some of them report.
//!
//! An error counts only if it quotes a sequence number in flight, which a blind attacker must guess
//! (RFC 5927 section 4). A hard error ends a handshake; in a synchronised state every error is soft
//! (RFC 5461).

use super::context::Context;
use super::event::MssChange;
use super::handshake;
use super::outcome::{IcmpError, Readiness, TcpError, Unreachable};
use super::path_search::PathLimits;
use super::seq::SeqNum;
use super::settings::MIN_SEGMENT;
use super::tcb::Tcb;
use super::{Stage, Tcp};
use crate::base::DropReason;

/// Reports of the network.
impl Tcp {
    /// Lowers the segment size to `mss` bytes (path MTU less the fixed headers), and sends again
    /// what is in flight (RFC 1191 section 6.5). This is no sign of congestion.
    pub fn on_path_mtu<'a>(&mut self, mss: u16, cx: impl Into<Context<'a>>) {
        let mss = mss.max(MIN_SEGMENT);
        let cx = &mut cx.into();
        self.checked(|tcp| match &mut tcp.stage {
            Stage::SynSent(state) => state.opening.set_path_mss(mss),
            Stage::SynReceived(state) => state.path_mss = state.path_mss.min(mss),
            // What is in flight may be larger than what is sent now: the path may have been followed since.
            Stage::Open(tcb) if mss < tcb.agreed.in_flight_mss => {
                let mss = tcb.agreed.mss.min(mss);
                tcb.set_mss(mss, MssChange::Path, cx);
                tcb.resend_in_smaller_segments(cx);
            }
            Stage::Resting(resting) => {
                resting.agreed.mss = resting.agreed.mss.min(mss);
            }
            _ => {}
        });
    }

    /// Takes up what the path and the link carry now, if the peer and the options allow segments of that size. The
    /// new size is that of what is sent from now on.
    ///
    /// Sends again what is in flight only if the link does not carry it. A smaller path is no reason: it was learned
    /// from reports about other packets, which are easier to forge than one about a segment in flight
    /// ([`Tcp::on_path_mtu`]).
    #[inline]
    pub fn follow_path<'a>(&mut self, limits: &PathLimits, cx: impl Into<Context<'a>>) {
        let Stage::Open(tcb) = &mut self.stage else {
            // A handshake begins with what the path carries, and no segment is sent while the connection rests.
            return;
        };
        let path_mss = tcb.follow_limits(limits);
        let link_mss = limits.link_mss.max(MIN_SEGMENT);
        let mss = path_mss
            .min(link_mss)
            .clamp(MIN_SEGMENT, tcb.agreed.max_mss);
        if mss == tcb.agreed.mss && mss == tcb.agreed.in_flight_mss {
            return;
        }
        let cx = &mut cx.into();
        self.checked(|tcp| {
            if let Stage::Open(tcb) = &mut tcp.stage {
                tcb.change_mss(mss, link_mss, cx);
            }
        });
    }

    /// Takes an ICMP error about a segment of ours with sequence number `seq` (RFC 1122 section
    /// 4.2.3.9, RFC 5461, RFC 5927). A hard error ends a handshake; in a synchronised state every
    /// error is soft: it only explains a later timeout.
    ///
    /// # Errors
    /// [`DropReason::IcmpUnmatched`] if nothing with that number is outstanding.
    pub fn on_icmp_error<'a>(
        &mut self,
        error: IcmpError,
        seq: SeqNum,
        cx: impl Into<Context<'a>>,
    ) -> Result<Readiness, DropReason> {
        let from = self.state();
        let (IcmpError::Soft(cause) | IcmpError::Hard(cause)) = error;
        let (iss, soft_error) = match &mut self.stage {
            Stage::SynSent(state) => (state.opening.iss(), &mut state.opening.soft_error),
            Stage::SynReceived(state) => (state.half.iss(), &mut state.soft_error),
            Stage::Open(tcb) => {
                let end = tcb.flight.nxt();
                return if seq.within(tcb.flight.una(), end) {
                    tcb.soft_error = Some(cause);
                    Ok(Readiness::empty())
                } else {
                    Err(DropReason::IcmpUnmatched)
                };
            }
            Stage::FastOpened(state) => {
                let (first, end) = (state.iss(), state.block.flight.nxt());
                if !seq.within(first, end) {
                    return Err(DropReason::IcmpUnmatched);
                }
                return Ok(self.on_icmp_error_early(error, &mut cx.into()));
            }
            // Nothing is in flight.
            Stage::Resting(_) | Stage::Closed { .. } => return Err(DropReason::IcmpUnmatched),
        };
        if seq != iss {
            return Err(DropReason::IcmpUnmatched);
        }
        match error {
            IcmpError::Soft(cause) => {
                *soft_error = Some(cause);
                Ok(Readiness::empty())
            }
            IcmpError::Hard(cause) => {
                let error = hard_error(cause);
                let (stage, readiness) = handshake::fail(from, error, None, &mut cx.into());
                self.stage = stage;
                Ok(readiness)
            }
        }
    }

    /// Takes an ICMP error about a connection that the application has before its handshake is done: a hard one ends it,
    /// and what came with the SYN stays readable.
    fn on_icmp_error_early(&mut self, error: IcmpError, cx: &mut Context<'_>) -> Readiness {
        let Some(tcb) = self.tcb_mut() else {
            return Readiness::empty();
        };
        match error {
            IcmpError::Soft(cause) => {
                tcb.soft_error = Some(cause);
                Readiness::empty()
            }
            IcmpError::Hard(cause) => tcb.fail(hard_error(cause), cx),
        }
    }
}

/// Returns the error that a hard error of ICMP ends a handshake with.
fn hard_error(cause: Unreachable) -> TcpError {
    match cause {
        Unreachable::Port | Unreachable::Protocol => TcpError::Refused,
        other => TcpError::Unreachable(other),
    }
}

impl Tcb {
    /// Sends segments of `mss` bytes from now on, and again what is in flight if it exceeds `link_mss` bytes.
    #[cold]
    fn change_mss(&mut self, mss: u16, link_mss: u16, cx: &mut Context<'_>) {
        let before = self.agreed.mss;
        self.set_mss(mss, MssChange::Path, cx);
        if mss > before {
            let payload = self.payload_mss();
            self.cc.on_larger_segments(payload);
        }
        if self.flight.una() == self.flight.nxt() {
            self.agreed.in_flight_mss = mss;
        } else if link_mss < self.agreed.in_flight_mss {
            self.resend_in_smaller_segments(cx);
        } else {
            self.agreed.in_flight_mss = self.agreed.in_flight_mss.max(mss);
        }
    }

    /// Sends what is in flight again, in segments of the present size.
    fn resend_in_smaller_segments(&mut self, cx: &mut Context<'_>) {
        self.agreed.in_flight_mss = self.agreed.mss;
        if self.phase.may_transmit() {
            self.flight.on_path_mtu(cx);
        }
    }
}
