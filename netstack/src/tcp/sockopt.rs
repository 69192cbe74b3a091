//! Socket options: what the application may change while the connection lives.

use core::time::Duration;
use std::sync::Arc;

use super::outcome::Readiness;
use super::seq::SeqNum;
use super::settings::MIN_SEGMENT;
use super::tcb::Tcb;
use super::{Stage, Tcp};
use crate::base::congestion::{Algorithm, Start};
use crate::base::{Instant, TcpConfig};

/// Socket options.
impl Tcp {
    /// Turns Nagle's algorithm off (`true`) or on.
    pub fn set_nodelay(&mut self, nodelay: bool) {
        if let Some(settings) = self.settings_mut() {
            settings.nodelay = nodelay;
        }
    }

    /// Returns true if Nagle's algorithm is off.
    pub fn nodelay(&self) -> bool {
        self.settings().is_some_and(|settings| settings.nodelay)
    }

    /// Turns keepalive probes on, after `idle` without a segment from the peer, or off (`None`, RFC
    /// 9293 section 3.8.4).
    pub fn set_keepalive(&mut self, idle: Option<Duration>, now: Instant) {
        if let Some(settings) = self.settings_mut() {
            settings.set_keepalive(idle);
        }
        if let Some(tcb) = self.tcb_mut() {
            tcb.arm_keepalive(now);
        }
    }

    /// Sets the time between keepalive probes.
    pub fn set_keepalive_interval(&mut self, interval: Duration) {
        if let Some(settings) = self.settings_mut() {
            settings.set_keepalive_interval(interval);
        }
    }

    /// Sets the number of unanswered keepalive probes after which the connection is aborted, at least one.
    pub fn set_keepalive_probes(&mut self, probes: u8) {
        if let Some(settings) = self.settings_mut() {
            settings.keepalive_probes = probes.max(1);
        }
    }

    /// Leaves room for an authentication option of `len` bytes in each segment (TCP-AO, RFC 5925). For the owner of a
    /// connection that signs its segments, before the first one leaves.
    pub fn set_authentication_len(&mut self, len: u8) {
        if let Some(settings) = self.settings_mut() {
            settings.authentication_len = len;
        }
    }

    /// Makes an ACK due: its owner has something to tell the peer in the header.
    pub fn owe_ack(&mut self) {
        self.checked(|tcp| {
            if let Some(tcb) = tcp.tcb_mut()
                && tcb.phase.may_transmit()
            {
                tcb.ack.set_due();
            }
        });
    }

    /// Lowers the size of the segments that are sent to `mss` bytes, TCP options included. A SYN-ACK that is sent after
    /// this announces no more, either.
    pub fn set_max_mss(&mut self, mss: u16) {
        let mss = mss.max(MIN_SEGMENT);
        match &mut self.stage {
            Stage::SynSent(state) => limit(&mut state.opening.cfg, mss),
            Stage::SynReceived(state) => limit(&mut state.cfg, mss),
            Stage::Open(tcb) => tcb.agreed.limit(mss),
            Stage::FastOpened(state) => state.block.agreed.limit(mss),
            Stage::Resting(resting) => resting.agreed.limit(mss),
            Stage::Closed { .. } => {}
        }
    }

    /// Sets the most bytes that are queued to be sent and acknowledged, on any path. What is queued stays. Returns
    /// [`Readiness::WRITABLE`] if the application waits for room and there is enough of it now.
    pub fn set_send_buffer(&mut self, bytes: usize) -> Readiness {
        if let Some(cfg) = self.cfg_mut() {
            let cfg = Arc::make_mut(cfg);
            cfg.send_buffer = bytes;
            cfg.send_buffer_initial = bytes;
        }
        self.tcb_mut().map_or(Readiness::empty(), Tcb::writable)
    }

    /// Returns the most bytes that are queued now to be sent and acknowledged; 0 for a connection that is closed.
    pub fn send_buffer(&self) -> usize {
        match &self.stage {
            Stage::SynSent(state) => state.opening.cfg.least_send_buffer(),
            Stage::SynReceived(state) => state.cfg.least_send_buffer(),
            Stage::Open(tcb) => tcb.send_buffer_bytes(),
            Stage::FastOpened(state) => state.block.send_buffer_bytes(),
            Stage::Resting(resting) => resting.cfg.least_send_buffer(),
            Stage::Closed { .. } => 0,
        }
    }

    /// Sets the most bytes that wait for the application once the connection is open, if its windows can say as many.
    /// They are not tuned any more. A window that was offered stays (RFC 9293 section 3.8.6); if the peer has no room
    /// for a segment and gets some, it is told.
    pub fn set_recv_buffer(&mut self, bytes: u32) {
        self.checked(|tcp| {
            tcp.wake();
            let Some(tcb) = tcp.tcb_mut() else {
                return;
            };
            tcb.window.set_capacity(bytes);
            if tcb.cfg.recv_buffer_max < bytes as usize {
                Arc::make_mut(&mut tcb.cfg).recv_buffer_max = bytes as usize;
            }
            let mss = u32::from(tcb.agreed.mss);
            let is_blocked = tcb.window.offered() < mss && tcb.phase.may_receive();
            if is_blocked && tcb.window.update_due(tcb.ring.len(), mss) {
                tcb.ack.set_due();
            }
        });
    }

    /// Returns the most bytes that wait for the application now; 0 for a connection that is not open.
    pub fn recv_buffer(&self) -> u32 {
        self.info().recv_buffer
    }

    fn cfg_mut(&mut self) -> Option<&mut Arc<TcpConfig>> {
        match &mut self.stage {
            Stage::SynSent(state) => Some(&mut state.opening.cfg),
            Stage::SynReceived(state) => Some(&mut state.cfg),
            Stage::Open(tcb) => Some(&mut tcb.cfg),
            Stage::FastOpened(state) => Some(&mut state.block.cfg),
            Stage::Resting(resting) => Some(&mut resting.cfg),
            Stage::Closed { .. } => None,
        }
    }

    /// Changes the congestion control algorithm; the congestion window stays.
    pub fn set_congestion(&mut self, algorithm: Algorithm) {
        // What a resting connection saved is in the words of the algorithm that it had.
        self.wake();
        if let Some(settings) = self.settings_mut() {
            settings.algorithm = algorithm;
        }
        if let Some(tcb) = self.tcb_mut() {
            let start = tcb.controller_start();
            tcb.cc.switch(algorithm, start);
        }
    }

    /// Returns the congestion control algorithm; `None` for a connection that never opened.
    pub fn congestion(&self) -> Option<Algorithm> {
        self.settings().map(|settings| settings.algorithm)
    }
}

/// Lowers the largest segment that a handshake agrees on. A limit of the path would be forgotten when the path is found
/// to carry more.
fn limit(cfg: &mut Arc<TcpConfig>, mss: u16) {
    if mss < cfg.max_mss {
        Arc::make_mut(cfg).max_mss = mss;
    }
}

/// Returns a number that a peer cannot predict.
pub(super) fn seed(una: SeqNum, ts_offset: u32) -> u64 {
    u64::from(una.0) << 32 | u64::from(ts_offset)
}

impl Tcb {
    /// Returns the circumstances in which another controller begins.
    fn controller_start(&self) -> Start {
        let seed = seed(self.flight.una(), self.ts_offset);
        Start {
            delivered_total: self.flight.delivered(),
            ..Start::new(self.payload_mss(), 0, self.rtt.srtt(), seed)
        }
        .tolerating(self.cfg.bbr_loss_percent)
    }
}
