//! SYN cookies (RFC 4987 section 3.6): a handshake that we remember nothing of.
//!
//! When no half-open connection may be kept, the SYN-ACK itself carries what the SYN said, and the peer
//! brings it back:
//!
//! ```text
//!   our initial sequence number          our timestamp, if the peer uses them
//!   31   28  27  26                 0    31                     6  5    4   3     0
//!   +------+---+---------------------+   +-----------------------+----+----+-------+
//!   | MSS  |key|         MAC         |   |  clock, rounded down  |ECN |SACK| scale |
//!   +------+---+---------------------+   +-----------------------+----+----+-------+
//! ```
//!
//! The acknowledgment number of the third segment is ours plus one, its sequence number the peer's plus
//! one, and its echoed timestamp ours. A peer without timestamps gets no window scale, no SACK and no ECN, since
//! nothing could remember that it wants them. The ECN bit says that it gets classic feedback, whichever it offered.
//!
//! * **Define.** [`CookieSecrets`] are two secrets, the current one and the one before. A cookie is valid
//!   for the rest of the period in which it was made and the one that follows: 64 to 128 seconds.
//! * **Enforce.** The MAC covers both endpoints, the peer's sequence number and everything else that the
//!   cookie says, and the secrets are replaced by random ones as periods pass.
//! * **Consume.** A blind attacker, who does not see our SYN-ACKs, must guess 27 bits for each connection.

use core::hash::{Hash, Hasher};
use core::net::SocketAddr;
use core::time::Duration;

use packet::tcp::{TcpFlags, TcpOptions, Timestamps};
use siphasher::sip::SipHasher13;

use super::half_open::HalfOpen;
use super::ts_at;
use crate::base::{Instant, Rng, TcpConfig};
use crate::tcp::Open;
use crate::tcp::ecn::{EcnMode, negotiate};
use crate::tcp::segment::{Segment, SegmentOut};
use crate::tcp::seq::SeqNum;

/// Time for which a secret makes cookies.
const PERIOD: Duration = Duration::from_secs(64);

/// Longest life of a cookie.
pub const COOKIE_LIFE: Duration = Duration::from_secs(128);

/// The classes of a peer's MSS: each SYN is put into the largest one that does not exceed it.
const MSS_CLASSES: [u16; 16] = [
    216, 536, 1_024, 1_220, 1_280, 1_340, 1_360, 1_380, 1_400, 1_420, 1_440, 1_452, 1_460, 4_312,
    8_940, 8_960,
];

const MSS_SHIFT: u32 = 28;
const KEY_SHIFT: u32 = 27;
const MAC_MASK: u32 = (1 << KEY_SHIFT) - 1;

/// Low bits of a timestamp that carry options.
const OPTION_BITS: u32 = 6;
const OPTION_MASK: u32 = (1 << OPTION_BITS) - 1;
const SACK_BIT: u32 = 1 << 4;
const ECN_BIT: u32 = 1 << 5;
const SCALE_MASK: u32 = 0xf;
/// A scale that no peer has: RFC 7323 limits it to 14.
const NO_SCALE: u32 = 0xf;
const MAX_SCALE: u8 = 14;

/// The secrets of SYN cookies.
#[derive(Clone)]
pub struct CookieSecrets {
    /// Those of the even and of the odd periods.
    keys: [[u8; 16]; 2],
    period: u64,
}

impl core::fmt::Debug for CookieSecrets {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("CookieSecrets")
    }
}

fn period_of(now: Instant) -> u64 {
    now.as_nanos() / PERIOD.as_nanos() as u64
}

impl CookieSecrets {
    /// Creates random secrets.
    pub fn new(rng: &mut Rng) -> Self {
        let mut secrets = Self {
            keys: [[0; 16]; 2],
            period: 0,
        };
        for key in &mut secrets.keys {
            rng.fill(key);
        }
        secrets
    }

    /// Returns true if [`rotate`](Self::rotate) must be called before a cookie is made or judged.
    pub fn is_rotation_due(&self, now: Instant) -> bool {
        period_of(now) > self.period
    }

    /// Replaces the secrets whose time is over.
    pub fn rotate(&mut self, now: Instant, rng: &mut Rng) {
        let period = period_of(now);
        if period > self.period + 1 {
            // Nobody called for more than a period: both are too old.
            rng.fill(&mut self.keys[((period + 1) & 1) as usize]);
        }
        if period > self.period {
            rng.fill(&mut self.keys[(period & 1) as usize]);
            self.period = period;
        }
    }

    /// Returns the MAC of a cookie. `low` is the cookie without its MAC.
    fn mac(&self, key: u32, flow: &Flow, irs: SeqNum, class: u32, with_ts: bool) -> u32 {
        let key = &self.keys[(key & 1) as usize];
        let mut hasher = SipHasher13::new_with_key(key);
        (flow.local, flow.remote).hash(&mut hasher);
        hasher.write_u32(irs.0);
        hasher.write_u32(class << 1 | u32::from(with_ts));
        hasher.finish() as u32 & MAC_MASK
    }

    /// Builds the SYN-ACK that answers `syn`. The sequence number of `open` is not used.
    pub fn syn_ack(
        &self,
        cfg: &TcpConfig,
        flow: &Flow,
        open: Open,
        syn: &Segment,
        now: Instant,
    ) -> SegmentOut {
        let peer = syn.options();
        let timestamps = peer.timestamps.filter(|_| cfg.timestamps);
        let class = class_of(peer.mss);
        let key = (self.period & 1) as u32;
        let mac = self.mac(key, flow, syn.seq(), class, timestamps.is_some());
        let isn = SeqNum(class << MSS_SHIFT | key << KEY_SHIFT | mac);
        let kept = TcpOptions {
            mss: peer.mss,
            ..TcpOptions::default()
        };
        let kept = if timestamps.is_some() { *peer } else { kept };
        let offer = negotiate::Answer::to(cfg, syn).mode();
        let ecn = timestamps.is_some() && offer != EcnMode::Off;
        let half = HalfOpen::of(Open { isn, ..open }, syn.seq(), &kept, now).with_classic_ecn(ecn);
        let mut out = half.syn_ack(cfg, now);
        if let Some(ours) = &mut out.options.timestamps {
            let sack = out.options.sack_permitted;
            let scale = peer.window_scale.filter(|_| cfg.window_scaling);
            ours.val = stamp(ts_at(now, open.ts_offset), sack, ecn, scale);
        }
        out
    }

    /// Rebuilds the half-open connection of a cookie that `seg` acknowledges; `None` if it acknowledges
    /// none. The sequence number of `open` is not used.
    pub fn recall(
        &self,
        cfg: &TcpConfig,
        flow: &Flow,
        open: Open,
        seg: &Segment,
        now: Instant,
    ) -> Option<HalfOpen> {
        let unfit = seg.has(TcpFlags::SYN) || seg.has(TcpFlags::RST) || !seg.has(TcpFlags::ACK);
        if unfit || self.is_rotation_due(now) {
            return None;
        }
        let (isn, irs) = (seg.ack().back(1), seg.seq().back(1));
        let (class, key) = (isn.0 >> MSS_SHIFT, isn.0 >> KEY_SHIFT & 1);
        let timestamps = seg.options().timestamps.filter(|_| cfg.timestamps);
        if isn.0 & MAC_MASK != self.mac(key, flow, irs, class, timestamps.is_some()) {
            return None;
        }
        let mut ecn = false;
        let mut peer = TcpOptions {
            mss: Some(MSS_CLASSES[class as usize]),
            ..TcpOptions::default()
        };
        if let Some(ts) = timestamps {
            let age = ts_at(now, open.ts_offset).wrapping_sub(ts.ecr);
            if u128::from(age) > COOKIE_LIFE.as_millis() {
                return None;
            }
            peer.timestamps = Some(Timestamps {
                val: ts.val,
                ecr: 0,
            });
            ecn = ts.ecr & ECN_BIT != 0;
            peer.sack_permitted = ts.ecr & SACK_BIT != 0;
            let scale = ts.ecr & SCALE_MASK;
            peer.window_scale = (scale != NO_SCALE).then_some(scale as u8);
        }
        let half = HalfOpen::of_cookie(Open { isn, ..open }, irs, &peer, now);
        Some(half.with_classic_ecn(ecn && cfg.ecn))
    }
}

/// The endpoints of a handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flow {
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's address and port.
    pub remote: SocketAddr,
}

/// Returns the class of an MSS option.
fn class_of(mss: Option<u16>) -> u32 {
    let mss = mss.unwrap_or(super::DEFAULT_MSS);
    let class = MSS_CLASSES.iter().rposition(|class| *class <= mss);
    class.unwrap_or(0) as u32
}

/// Puts options into the low bits of a timestamp. The result is not after `clock`: the peer compares the
/// timestamps of later segments with it.
fn stamp(clock: u32, sack: bool, ecn: bool, scale: Option<u8>) -> u32 {
    let scale = scale.map_or(NO_SCALE, |scale| u32::from(scale.min(MAX_SCALE)));
    let options = if sack { SACK_BIT | scale } else { scale };
    let options = if ecn { ECN_BIT | options } else { options };
    let stamped = clock & !OPTION_MASK | options;
    if stamped & OPTION_MASK > clock & OPTION_MASK {
        stamped.wrapping_sub(1 << OPTION_BITS)
    } else {
        stamped
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::tcp::segment::SegmentParts;
    use crate::tcp::{Step, Tcp};

    const IRS: SeqNum = SeqNum(u32::MAX);

    fn flow() -> Flow {
        Flow {
            local: "10.0.0.1:80".parse().expect("an address"),
            remote: "10.0.0.2:4000".parse().expect("an address"),
        }
    }

    fn open() -> Open {
        Open {
            isn: SeqNum(0),
            ts_offset: 77_000,
            mss: 1_460,
            path_mss: 1_460,
        }
    }

    fn secrets(now: Instant) -> (CookieSecrets, Rng) {
        let mut rng = Rng::from_u64(5);
        let mut secrets = CookieSecrets::new(&mut rng);
        secrets.rotate(now, &mut rng);
        (secrets, rng)
    }

    fn syn(options: TcpOptions) -> Segment {
        SegmentParts {
            seq: IRS,
            flags: TcpFlags::SYN,
            options,
            ..SegmentParts::default()
        }
        .into()
    }

    fn modern() -> TcpOptions {
        TcpOptions {
            mss: Some(1_460),
            window_scale: Some(9),
            sack_permitted: true,
            timestamps: Some(Timestamps { val: 500, ecr: 0 }),
            ..TcpOptions::default()
        }
    }

    /// Returns the third segment of a handshake whose SYN-ACK was `syn_ack`.
    fn answer(syn_ack: &SegmentOut) -> SegmentParts {
        SegmentParts {
            seq: syn_ack.ack,
            ack: syn_ack.seq + 1,
            flags: TcpFlags::ACK,
            options: TcpOptions {
                timestamps: syn_ack.options.timestamps.map(|ts| Timestamps {
                    val: ts.ecr + 1,
                    ecr: ts.val,
                }),
                ..TcpOptions::default()
            },
            ..SegmentParts::default()
        }
    }

    /// Returns the handshake that a cookie restores after a SYN with these options.
    fn kept(options: TcpOptions, now: Instant) -> Option<HalfOpen> {
        let cfg = TcpConfig::default();
        let (secrets, _) = secrets(now);
        let syn_ack = secrets.syn_ack(&cfg, &flow(), open(), &syn(options), now);
        let seg = answer(&syn_ack).into();
        secrets.recall(&cfg, &flow(), open(), &seg, now + Duration::from_secs(1))
    }

    #[test]
    fn with_timestamps_everything_is_kept() {
        for at in 0..200 {
            let now = Instant::from_millis(1_000_000 + at);
            for (scale, sack) in [
                (None, true),
                (Some(0), false),
                (Some(14), true),
                (Some(9), true),
            ] {
                let options = TcpOptions {
                    window_scale: scale,
                    sack_permitted: sack,
                    ..modern()
                };
                let peer = kept(options, now).expect("valid").peer();
                assert_eq!((peer.window_scale, peer.sack_permitted), (scale, sack));
                assert_eq!(peer.timestamps.map(|ts| ts.val), Some(501));
                assert_eq!(peer.mss, Some(1_460));
            }
        }
    }

    #[test]
    fn a_cookie_keeps_ecn_with_classic_feedback() {
        let cfg = TcpConfig::default();
        let now = Instant::from_millis(1_000_000);
        let (secrets, _) = secrets(now);
        let offers = TcpFlags::AE | TcpFlags::CWR | TcpFlags::ECE;
        for (offer, options, mode) in [
            (offers, modern(), EcnMode::Classic),
            (TcpFlags::CWR | TcpFlags::ECE, modern(), EcnMode::Classic),
            (TcpFlags::empty(), modern(), EcnMode::Off),
            (offers, TcpOptions::default(), EcnMode::Off),
        ] {
            let syn = Segment::from(SegmentParts {
                seq: IRS,
                flags: TcpFlags::SYN | offer,
                options,
                ..SegmentParts::default()
            });
            let syn_ack = secrets.syn_ack(&cfg, &flow(), open(), &syn, now);
            let agrees = syn_ack.flags.contains(TcpFlags::ECE);
            assert_eq!(agrees, mode == EcnMode::Classic);
            let seg = answer(&syn_ack).into();
            let half = secrets
                .recall(&cfg, &flow(), open(), &seg, now)
                .expect("valid");
            assert_eq!(half.ecn_mode(), mode);
        }
    }

    #[test]
    fn without_timestamps_only_the_mss_is_kept_and_nothing_else_is_offered() {
        let cfg = TcpConfig::default();
        let now = Instant::from_millis(9);
        let options = TcpOptions {
            timestamps: None,
            ..modern()
        };
        let (secrets, _) = secrets(now);
        let syn_ack = secrets.syn_ack(&cfg, &flow(), open(), &syn(options), now);
        let mss_alone = TcpOptions {
            mss: Some(1_460),
            ..TcpOptions::default()
        };
        assert_eq!(syn_ack.options, mss_alone);
        assert_eq!(kept(options, now).expect("valid").peer(), mss_alone);
    }

    #[test]
    fn an_mss_falls_into_the_largest_class_that_it_reaches() {
        let class = |mss| MSS_CLASSES[class_of(mss) as usize];
        assert_eq!(class(None), 536);
        assert_eq!(
            class(Some(0)),
            216,
            "the floor of the configuration applies later"
        );
        assert_eq!(class(Some(1_459)), 1_452);
        assert_eq!(class(Some(1_460)), 1_460);
        assert_eq!(class(Some(u16::MAX)), 8_960);
        assert!(MSS_CLASSES.is_sorted());
    }

    #[test]
    fn the_stamp_is_never_after_the_clock() {
        for clock in (0..300).chain(u32::MAX - 300..=u32::MAX) {
            for scale in [None, Some(0), Some(14), Some(200)] {
                let stamp = stamp(clock, true, true, scale);
                assert!(clock.wrapping_sub(stamp) < 64, "{clock} {stamp}");
            }
        }
    }

    #[test]
    fn whatever_differs_makes_a_cookie_invalid() {
        let cfg = TcpConfig::default();
        let now = Instant::from_millis(100_000);
        let (secrets, mut rng) = secrets(now);
        let syn_ack = secrets.syn_ack(&cfg, &flow(), open(), &syn(modern()), now);
        let recall = |parts: SegmentParts, flow: Flow, now| {
            secrets
                .recall(&cfg, &flow, open(), &parts.into(), now)
                .is_some()
        };
        let right = || answer(&syn_ack);
        assert!(recall(right(), flow(), now));
        let other = Flow {
            remote: "10.0.0.2:4001".parse().expect("an address"),
            ..flow()
        };
        assert!(!recall(right(), other, now), "another port");
        let with = |change: &dyn Fn(&mut SegmentParts)| {
            let mut parts = right();
            change(&mut parts);
            recall(parts, flow(), now)
        };
        assert!(!with(&|p| p.seq += 1), "another sequence number");
        assert!(!with(&|p| p.options.timestamps = None), "no timestamp");
        assert!(!with(&|p| p.flags = TcpFlags::RST | TcpFlags::ACK));
        assert!(!with(&|p| p.flags = TcpFlags::SYN | TcpFlags::ACK));
        assert!(!with(&|p| p.flags = TcpFlags::empty()));
        for bit in 0..32 {
            assert!(
                !with(&|p| p.ack = SeqNum(p.ack.back(1).0 ^ 1 << bit) + 1),
                "bit {bit}"
            );
        }
        let guessed = (0..100_000)
            .filter(|_| {
                let ack = SeqNum(rng.u32());
                with(&|p| p.ack = ack)
            })
            .count();
        assert!(guessed <= 1, "{guessed} of 100,000 guesses");
    }

    #[test]
    fn secrets_rotate_and_old_cookies_die() {
        let cfg = TcpConfig::default();
        let now = Instant::from_millis(1_000);
        let (mut secrets, mut rng) = secrets(now);
        let syn_ack = secrets.syn_ack(&cfg, &flow(), open(), &syn(modern()), now);
        let mut valid_at = |seconds: u64| {
            let at = Instant::from_millis(seconds * 1_000);
            secrets.rotate(at, &mut rng);
            let mut parts = answer(&syn_ack);
            // The age of the timestamp is another check.
            if let Some(ts) = &mut parts.options.timestamps {
                ts.ecr = ts_at(at, open().ts_offset);
            }
            secrets
                .recall(&cfg, &flow(), open(), &parts.into(), at)
                .is_some()
        };
        assert!(valid_at(63) && valid_at(64) && valid_at(127));
        assert!(!valid_at(128));
        assert!(!valid_at(1_000), "after a long silence both are new");
    }

    #[test]
    fn a_cookie_becomes_a_connection_that_measures_nothing_of_it() {
        let cfg = Arc::new(TcpConfig::default());
        let now = Instant::from_millis(5_000);
        let mut half = kept(modern(), now).expect("valid");
        let parts = SegmentParts {
            seq: IRS + 1,
            ack: half.iss() + 1,
            flags: TcpFlags::ACK,
            window: 100,
            options: TcpOptions {
                timestamps: Some(Timestamps { val: 501, ecr: 1 }),
                ..TcpOptions::default()
            },
            ..SegmentParts::default()
        };
        let seg: Segment = parts.into();
        assert_eq!(half.on_segment(&cfg, &seg, now), Step::Complete);
        let buffers = packet::Buffers::new(2_048, 16, 64);
        let (tcp, outcome) = Tcp::complete(&half, 1_460, &cfg, seg, now, &buffers);
        assert_eq!(outcome.drop, None);
        let info = tcp.info();
        assert_eq!((info.srtt, info.send_window), (Duration::ZERO, 100 << 9));
        assert_eq!(info.mss, 1_460 - 12);
    }
}
