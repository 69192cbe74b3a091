//! Socket options, and the parameters that both sides agreed on.

use core::time::Duration;

use crate::base::TcpConfig;
use crate::base::congestion::Algorithm;
use packet::tcp::TcpOptions;

/// Socket options; they are kept when the handshake ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// Nagle's algorithm is off.
    pub(super) nodelay: bool,
    pub(super) algorithm: Algorithm,
    /// Idle time before keepalive probes, in milliseconds; zero: none.
    keepalive_millis: u32,
    /// User timeout, in milliseconds; zero: none.
    user_timeout_millis: u32,
}

/// Returns a duration in milliseconds, rounded to what fits; zero for none.
fn millis(time: Option<Duration>) -> u32 {
    time.map_or(0, |time| {
        u32::try_from(time.as_millis()).unwrap_or(u32::MAX).max(1)
    })
}

/// Returns the duration that [`millis`] made a number of.
fn duration(millis: u32) -> Option<Duration> {
    (millis > 0).then(|| Duration::from_millis(u64::from(millis)))
}

impl Settings {
    pub(super) fn new(cfg: &TcpConfig) -> Self {
        Self {
            nodelay: !cfg.nagle,
            algorithm: cfg.congestion,
            keepalive_millis: millis(cfg.keepalive_idle),
            user_timeout_millis: millis(cfg.user_timeout),
        }
    }

    pub(super) fn keepalive(&self) -> Option<Duration> {
        duration(self.keepalive_millis)
    }

    pub(super) fn set_keepalive(&mut self, idle: Option<Duration>) {
        self.keepalive_millis = millis(idle);
    }

    pub(super) fn user_timeout(&self) -> Option<Duration> {
        duration(self.user_timeout_millis)
    }

    pub(super) fn set_user_timeout(&mut self, timeout: Option<Duration>) {
        self.user_timeout_millis = millis(timeout);
    }
}

/// Maximum window scale (RFC 7323 section 2.3).
const MAX_SCALE: u8 = 14;

/// MSS of a peer that announced none (RFC 9293 section 3.7.1).
pub(super) const DEFAULT_MSS: u16 = 536;

/// Parameters that both SYNs together allow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Agreed {
    /// Largest segment that we send, options included in it (RFC 9293 section 3.7.1).
    pub(super) mss: u16,
    /// Scale of the windows that the peer offers.
    pub(super) send_scale: u8,
    /// Scale of the windows that we offer.
    pub(super) recv_scale: u8,
    pub(super) timestamps: bool,
    pub(super) sack: bool,
}

/// Returns the scale with which `recv_buffer_max` can be offered.
pub(super) fn scale_for(cfg: &TcpConfig) -> u8 {
    (0..MAX_SCALE)
        .find(|scale| cfg.recv_buffer_max >> scale <= usize::from(u16::MAX))
        .unwrap_or(MAX_SCALE)
}

impl Agreed {
    /// Combines our configuration with the peer's SYN.
    pub(super) fn new(cfg: &TcpConfig, local_mss: u16, peer: &TcpOptions) -> Self {
        let scaling = cfg.window_scaling && peer.window_scale.is_some();
        let peer_mss = peer.mss.unwrap_or(DEFAULT_MSS).max(cfg.min_mss);
        Self {
            mss: peer_mss.min(local_mss).max(MIN_SEGMENT),
            send_scale: match peer.window_scale {
                Some(shift) if scaling => shift.min(MAX_SCALE),
                _ => 0,
            },
            recv_scale: if scaling { scale_for(cfg) } else { 0 },
            timestamps: cfg.timestamps && peer.timestamps.is_some(),
            sack: cfg.sack && peer.sack_permitted,
        }
    }
}

/// Smallest segment that carries all options and some payload: 40 bytes of options, 8 of payload.
pub(super) const MIN_SEGMENT: u16 = 48;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_is_what_both_want() {
        let cfg = TcpConfig::default();
        let mut peer = TcpOptions {
            mss: Some(9_000),
            window_scale: Some(200),
            sack_permitted: true,
            ..TcpOptions::default()
        };
        let agreed = Agreed::new(&cfg, 1_460, &peer);
        assert_eq!(agreed.mss, 1_460);
        assert_eq!(agreed.send_scale, MAX_SCALE);
        assert!(agreed.sack && !agreed.timestamps);
        peer.mss = Some(1);
        assert_eq!(Agreed::new(&cfg, 1_460, &peer).mss, cfg.min_mss);
        let none = Agreed::new(&cfg, 1_460, &TcpOptions::default());
        assert_eq!((none.mss, none.send_scale, none.recv_scale), (536, 0, 0));
    }

    #[test]
    fn the_scale_reaches_the_largest_buffer() {
        let mut cfg = TcpConfig::default();
        for max in [65_535, 65_536, 1 << 20, 4 << 20, 1 << 30] {
            cfg.recv_buffer_max = max;
            let scale = scale_for(&cfg);
            assert!(scale == MAX_SCALE || max >> scale <= 65_535);
            assert!(scale == 0 || max >> (scale - 1) > 65_535);
        }
    }
}
