//! Socket options, and the parameters that both sides agreed on.

use core::time::Duration;

use crate::base::TcpConfig;
use crate::base::congestion::Algorithm;
use packet::tcp::{TcpOptions, UserTimeout};

/// Socket options; they are kept when the handshake ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// Nagle's algorithm is off.
    pub(super) nodelay: bool,
    pub(super) algorithm: Algorithm,
    /// Unanswered keepalive probes before the connection is aborted.
    pub(super) keepalive_probes: u8,
    /// The user timeout follows the peer's (CHANGEABLE and ENABLED of RFC 5482 section 3).
    follows_user_timeout: bool,
    /// The user timeout is told to the peer (ENABLED).
    pub(super) tells_user_timeout: bool,
    /// Data of a SYN was taken, by us or by the peer (RFC 7413). It is here because there is room for it.
    pub(super) syn_data: bool,
    /// Length of the authentication option, in bytes; 0 means none.
    pub(super) authentication_len: u8,
    /// Idle time before keepalive probes, in milliseconds; zero: none.
    keepalive_millis: u32,
    keepalive_interval_millis: u32,
    /// User timeout, in milliseconds; zero: none.
    user_timeout_millis: u32,
    /// The user timeout that this end wants and tells the peer (ADV_UTO), in milliseconds; zero: none.
    advertised_millis: u32,
}

/// Returns a time as milliseconds, at least one; zero stands for none.
fn millis_of(time: Option<Duration>) -> u32 {
    time.map_or(0, |time| {
        u32::try_from(time.as_millis()).unwrap_or(u32::MAX).max(1)
    })
}

fn time_of(millis: u32) -> Option<Duration> {
    (millis > 0).then(|| Duration::from_millis(u64::from(millis)))
}

/// Bounds of a user timeout that a peer asks for (L_LIMIT and U_LIMIT of RFC 5482 section 3.1).
const LEAST_USER_TIMEOUT: Duration = Duration::from_secs(100);
const LARGEST_USER_TIMEOUT: Duration = Duration::from_secs(24 * 3_600);

impl Settings {
    pub(super) fn new(cfg: &TcpConfig) -> Self {
        Self {
            nodelay: !cfg.nagle,
            algorithm: cfg.congestion,
            keepalive_probes: cfg.keepalive_probes,
            follows_user_timeout: cfg.user_timeout_option,
            tells_user_timeout: cfg.user_timeout_option,
            syn_data: false,
            authentication_len: 0,
            keepalive_millis: millis_of(cfg.keepalive_idle),
            keepalive_interval_millis: millis_of(Some(cfg.keepalive_interval)),
            user_timeout_millis: millis_of(cfg.user_timeout),
            advertised_millis: millis_of(cfg.user_timeout),
        }
    }

    pub(super) fn keepalive(&self) -> Option<Duration> {
        time_of(self.keepalive_millis)
    }

    pub(super) fn set_keepalive(&mut self, idle: Option<Duration>) {
        self.keepalive_millis = millis_of(idle);
    }

    /// Returns the time between keepalive probes.
    pub(super) fn keepalive_interval(&self) -> Duration {
        Duration::from_millis(u64::from(self.keepalive_interval_millis))
    }

    pub(super) fn set_keepalive_interval(&mut self, interval: Duration) {
        self.keepalive_interval_millis = millis_of(Some(interval));
    }

    pub(super) fn user_timeout(&self) -> Option<Duration> {
        time_of(self.user_timeout_millis)
    }

    /// Sets the user timeout that the application wants: the peer's is not followed any more.
    pub(super) fn set_user_timeout(&mut self, timeout: Option<Duration>) {
        self.user_timeout_millis = millis_of(timeout);
        self.advertised_millis = self.user_timeout_millis;
        self.follows_user_timeout = false;
    }

    /// Follows the user timeout of the peer, if it may (RFC 5482 section 3.1). `rto`: the retransmission timeout,
    /// below which no timeout is followed.
    pub(super) fn on_user_timeout(&mut self, remote: UserTimeout, rto: Duration) {
        let seconds = u64::from(remote.value) * if remote.minutes { 60 } else { 1 };
        if !self.follows_user_timeout || seconds == 0 {
            return;
        }
        let least = LEAST_USER_TIMEOUT.max(rto * 2);
        let mine = time_of(self.advertised_millis).unwrap_or_default();
        let wanted = mine.max(Duration::from_secs(seconds)).max(least);
        self.user_timeout_millis = millis_of(Some(wanted.min(LARGEST_USER_TIMEOUT.max(least))));
    }

    /// Returns the option that tells the user timeout, if the peer is told.
    pub(super) fn user_timeout_option(&self) -> Option<UserTimeout> {
        const LARGEST: u64 = 0x7fff;
        let seconds = time_of(self.advertised_millis)?.as_secs().max(1);
        let minutes = seconds > LARGEST;
        let value = if minutes { seconds / 60 } else { seconds };
        self.tells_user_timeout.then(|| UserTimeout {
            minutes,
            value: value.min(LARGEST) as u16,
        })
    }
}

/// Socket options as plain data: the algorithm by its name.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct KeptSettings {
    nodelay: bool,
    algorithm: String,
    keepalive_probes: u8,
    follows_user_timeout: bool,
    tells_user_timeout: bool,
    syn_data: bool,
    keepalive_millis: u32,
    keepalive_interval_millis: u32,
    user_timeout_millis: u32,
    advertised_millis: u32,
}

impl Settings {
    /// Returns the options as plain data.
    pub(super) fn kept(&self) -> KeptSettings {
        KeptSettings {
            nodelay: self.nodelay,
            algorithm: self.algorithm.name().to_owned(),
            keepalive_probes: self.keepalive_probes,
            follows_user_timeout: self.follows_user_timeout,
            tells_user_timeout: self.tells_user_timeout,
            syn_data: self.syn_data,
            keepalive_millis: self.keepalive_millis,
            keepalive_interval_millis: self.keepalive_interval_millis,
            user_timeout_millis: self.user_timeout_millis,
            advertised_millis: self.advertised_millis,
        }
    }
}

impl KeptSettings {
    /// Returns the options. An algorithm that is neither of the stack nor of `cfg` is replaced by that of `cfg`.
    pub(super) fn restored(&self, cfg: &TcpConfig) -> Settings {
        let algorithm = match self.algorithm == cfg.congestion.name() {
            true => cfg.congestion,
            false => self.algorithm.parse().unwrap_or(cfg.congestion),
        };
        Settings {
            nodelay: self.nodelay,
            algorithm,
            keepalive_probes: self.keepalive_probes.max(1),
            follows_user_timeout: self.follows_user_timeout,
            tells_user_timeout: self.tells_user_timeout,
            syn_data: self.syn_data,
            authentication_len: 0,
            keepalive_millis: self.keepalive_millis,
            keepalive_interval_millis: self.keepalive_interval_millis.max(1),
            user_timeout_millis: self.user_timeout_millis,
            advertised_millis: self.advertised_millis,
        }
    }

    /// Returns the name of the algorithm.
    pub(super) fn algorithm(&self) -> &str {
        &self.algorithm
    }
}

/// Maximum window scale (RFC 7323 section 2.3).
pub(super) const MAX_SCALE: u8 = 14;

/// MSS of a peer that announced none over IPv4 (RFC 9293 section 3.7.1).
pub(super) const DEFAULT_MSS: u16 = 536;

/// MSS of a peer that announced none over IPv6 (RFC 9293 section 3.7.1).
pub(super) const DEFAULT_MSS_V6: u16 = 1_220;

/// Parameters that both SYNs together allow.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Agreed {
    /// Largest segment that we send, options included in it (RFC 9293 section 3.7.1).
    pub(super) mss: u16,
    /// Largest segment that the peer and the options allow, whatever the path carries.
    pub(super) max_mss: u16,
    /// Largest segment that may be in flight: `mss`, or more if that was lowered since.
    pub(super) in_flight_mss: u16,
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
    /// Combines our configuration with the peer's SYN. `path_mss`: the largest segment that the path to the peer
    /// carries.
    pub(super) fn new(cfg: &TcpConfig, path_mss: u16, peer: &TcpOptions) -> Self {
        let scaling = cfg.window_scaling && peer.window_scale.is_some();
        let peer_mss = peer.mss.unwrap_or(DEFAULT_MSS).max(cfg.min_mss);
        let max_mss = peer_mss.min(cfg.max_mss).max(MIN_SEGMENT);
        let mss = max_mss.min(path_mss).max(MIN_SEGMENT);
        Self {
            mss,
            max_mss,
            in_flight_mss: mss,
            send_scale: match peer.window_scale {
                Some(shift) if scaling => shift.min(MAX_SCALE),
                _ => 0,
            },
            recv_scale: if scaling { scale_for(cfg) } else { 0 },
            timestamps: cfg.timestamps && peer.timestamps.is_some(),
            sack: cfg.sack && peer.sack_permitted,
        }
    }

    /// Returns true if two SYNs can have agreed on this.
    pub(super) fn is_valid(&self) -> bool {
        let sizes = MIN_SEGMENT <= self.mss && self.mss <= self.in_flight_mss;
        sizes && self.mss <= self.max_mss && self.send_scale.max(self.recv_scale) <= MAX_SCALE
    }

    /// Lowers the largest segment, whatever the path carries.
    pub(super) fn limit(&mut self, mss: u16) {
        self.max_mss = self.max_mss.min(mss);
        self.mss = self.mss.min(mss);
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
    fn rfc5482_3_1_the_peers_user_timeout_is_followed_within_limits() {
        let after = |cfg: &TcpConfig, minutes, value| {
            let mut settings = Settings::new(cfg);
            let rto = Duration::from_secs(1);
            settings.on_user_timeout(UserTimeout { minutes, value }, rto);
            settings.user_timeout().map(|timeout| timeout.as_secs())
        };
        let mut cfg = TcpConfig::default();
        assert_eq!(after(&cfg, false, 300), None, "not enabled");
        cfg.user_timeout_option = true;
        assert_eq!(after(&cfg, false, 300), Some(300));
        assert_eq!(after(&cfg, true, 10), Some(600));
        assert_eq!(after(&cfg, false, 1), Some(100), "L_LIMIT");
        assert_eq!(after(&cfg, true, 0x7fff), Some(86_400), "U_LIMIT");
        assert_eq!(after(&cfg, true, 0), None, "reserved (section 3.4)");
        cfg.user_timeout = Some(Duration::from_secs(400));
        assert_eq!(after(&cfg, false, 300), Some(400), "ADV_UTO");
        let mut settings = Settings::new(&cfg);
        for (value, expected) in [(30_000, 30_000), (500, 500), (200, 400)] {
            let remote = UserTimeout {
                minutes: false,
                value,
            };
            settings.on_user_timeout(remote, Duration::from_secs(1));
            let followed = settings.user_timeout().map(|timeout| timeout.as_secs());
            assert_eq!(followed, Some(expected), "the last value counts");
            let told = settings.user_timeout_option().map(|option| option.value);
            assert_eq!(told, Some(400), "the peer's value is not told to it");
        }
        let mut settings = Settings::new(&cfg);
        settings.set_user_timeout(Some(Duration::from_secs(5)));
        let remote = UserTimeout {
            minutes: false,
            value: 300,
        };
        settings.on_user_timeout(remote, Duration::from_secs(1));
        assert_eq!(settings.user_timeout(), Some(Duration::from_secs(5)));
    }

    #[test]
    fn rfc5482_3_3_a_user_timeout_is_told_in_seconds_or_minutes() {
        let told = |seconds| {
            let cfg = TcpConfig {
                user_timeout_option: true,
                user_timeout: Some(Duration::from_secs(seconds)),
                ..TcpConfig::default()
            };
            let option = Settings::new(&cfg).user_timeout_option();
            option.map(|option| (option.minutes, option.value))
        };
        assert_eq!(told(90), Some((false, 90)));
        assert_eq!(told(0x7fff), Some((false, 0x7fff)));
        assert_eq!(told(40_000), Some((true, 666)));
        assert_eq!(told(1 << 40), Some((true, 0x7fff)));
        assert_eq!(
            Settings::new(&TcpConfig::default()).user_timeout_option(),
            None
        );
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
