//! Socket options: what the application may change while the connection lives.

use core::time::Duration;
use std::sync::Arc;

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
    }
}
