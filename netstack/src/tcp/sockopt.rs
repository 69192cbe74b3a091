//! What the application chooses for a connection, and what the network reports about its path.

use core::time::Duration;

use super::cc::Algorithm;
use super::context::Context;
use super::handshake;
use super::outcome::{IcmpError, Readiness, TcpError, Unreachable};
use super::seq::SeqNum;
use super::settings::MIN_SEGMENT;
use super::{Stage, Tcp};
use crate::base::{DropReason, Instant};

/// Options, and what the network says.
impl Tcp {
    /// Turns Nagle's algorithm off (`true`) or on.
    pub fn set_nodelay(&mut self, nodelay: bool) {
        if let Some(settings) = self.settings_mut() {
            settings.nodelay = nodelay;
        }
    }

    /// True if Nagle's algorithm is off.
    pub fn nodelay(&self) -> bool {
        match &self.stage {
            Stage::SynSent(state) => state.opening.settings.nodelay,
            Stage::SynReceived(state) => state.opening.settings.nodelay,
            Stage::Open(tcb) => tcb.settings.nodelay,
            Stage::Closed { .. } => false,
        }
    }

    /// Probes a connection that was silent for `idle`; `None`: never (RFC 9293 section 3.8.4).
    pub fn set_keepalive(&mut self, idle: Option<Duration>, now: Instant) {
        if let Some(settings) = self.settings_mut() {
            settings.set_keepalive(idle);
        }
        if let Some(tcb) = self.tcb_mut() {
            tcb.arm_keepalive(now);
        }
    }

    /// Chooses the congestion control algorithm.
    pub fn set_congestion(&mut self, algorithm: Algorithm) {
        if let Some(settings) = self.settings_mut() {
            settings.algorithm = algorithm;
        }
        if let Some(tcb) = self.tcb_mut() {
            tcb.cc.switch(algorithm);
        }
    }

    /// The path carries only segments of `mss` bytes (MTU less fixed headers): send smaller ones
    /// from now on, and what is in flight again (RFC 1191 section 6.5).
    pub fn on_path_mtu<'a>(&mut self, mss: u16, cx: impl Into<Context<'a>>) {
        let mss = mss.max(MIN_SEGMENT);
        let cx = &mut cx.into();
        self.checked(|tcp| match &mut tcp.stage {
            Stage::SynSent(state) => state.opening.set_mss(mss),
            Stage::SynReceived(state) => state.opening.set_mss(mss),
            Stage::Open(tcb) if mss < tcb.agreed.mss => {
                tcb.agreed.mss = mss;
                if tcb.phase.may_transmit() {
                    tcb.flight.on_path_mtu(cx);
                }
            }
            _ => {}
        });
    }

    /// The network reported an error about a segment of ours with sequence number `seq` (RFC 1122
    /// section 4.2.3.9, RFC 5461, RFC 5927). A hard error ends a handshake; in a synchronised state
    /// every error is soft: it only explains a later timeout.
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
        let opening = match &mut self.stage {
            Stage::SynSent(state) => &mut state.opening,
            Stage::SynReceived(state) => &mut state.opening,
            Stage::Open(tcb) => {
                let end = tcb.flight.nxt();
                return if seq.within(tcb.flight.una(), end) {
                    tcb.soft_error = Some(cause);
                    Ok(Readiness::empty())
                } else {
                    Err(DropReason::IcmpUnmatched)
                };
            }
            Stage::Closed { .. } => return Err(DropReason::IcmpUnmatched),
        };
        if seq != opening.iss() {
            return Err(DropReason::IcmpUnmatched);
        }
        match error {
            IcmpError::Soft(cause) => {
                opening.note_soft_error(cause);
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
