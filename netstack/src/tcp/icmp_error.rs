//! ICMP errors about a connection, and the path MTU that some of them report.
//!
//! An error counts only if it quotes a sequence number in flight, which a blind attacker must guess
//! (RFC 5927 section 4). A hard error ends a handshake; in a synchronised state every error is soft
//! (RFC 5461).

use core::cmp::Ordering;

use super::context::Context;
use super::handshake;
use super::outcome::{IcmpError, Readiness, TcpError, Unreachable};
use super::seq::SeqNum;
use super::settings::MIN_SEGMENT;
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
            Stage::Open(tcb) if mss < tcb.agreed.mss => {
                tcb.agreed.mss = mss;
                if tcb.phase.may_transmit() {
                    tcb.flight.on_path_mtu(cx);
                }
            }
            Stage::Resting(resting) => {
                resting.agreed.mss = resting.agreed.mss.min(mss);
            }
            _ => {}
        });
    }

    /// Takes up what the path carries now: segments of `mss` bytes (path MTU less the fixed headers), if the peer and
    /// the options allow them. If that is less than before, sends again what is in flight.
    #[inline]
    pub fn follow_path<'a>(&mut self, mss: u16, cx: impl Into<Context<'a>>) {
        let Stage::Open(tcb) = &self.stage else {
            // A handshake begins with what the path carries, and no segment is sent while the connection rests.
            return;
        };
        let mss = mss.clamp(MIN_SEGMENT, tcb.agreed.max_mss);
        match mss.cmp(&tcb.agreed.mss) {
            Ordering::Equal => {}
            Ordering::Less => self.on_path_mtu(mss, cx),
            Ordering::Greater => self.checked(|tcp| {
                if let Stage::Open(tcb) = &mut tcp.stage {
                    tcb.agreed.mss = mss;
                    let payload = tcb.payload_mss();
                    tcb.cc.on_larger_segments(payload);
                }
            }),
        }
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
                let error = match cause {
                    Unreachable::Port | Unreachable::Protocol => TcpError::Refused,
                    other => TcpError::Unreachable(other),
                };
                let (stage, readiness) = handshake::fail(from, error, None, &mut cx.into());
                self.stage = stage;
                Ok(readiness)
            }
        }
    }
}
