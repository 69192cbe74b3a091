//! Socket options: what the application may change while the connection lives.

use core::time::Duration;

use super::Tcp;
use super::cc::Algorithm;
use crate::base::Instant;

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

    /// Changes the congestion control algorithm; the congestion window stays.
    pub fn set_congestion(&mut self, algorithm: Algorithm) {
        if let Some(settings) = self.settings_mut() {
            settings.algorithm = algorithm;
        }
        if let Some(tcb) = self.tcb_mut() {
            tcb.cc.switch(algorithm);
        }
    }
}
