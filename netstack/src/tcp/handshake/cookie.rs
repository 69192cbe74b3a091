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
//! If the third segment and the first data are lost, a later segment of the peer's first flight arrives first. It makes no
//! connection, but must not be answered with a reset, which would end an honest one. Segments of a flight have one size, so
//! a few guesses at the number of those before it find the sequence number that the cookie covers.
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

/// The most that a peer can have sent before our first acknowledgment: the window of a SYN-ACK has no scale.
const FIRST_FLIGHT_BYTES: u32 = 65_535;
/// Segments of a flight at most that may be before the one that arrives.
const FIRST_FLIGHT_SEGMENTS: u32 = 48;
/// Bytes that the timestamps option takes in each segment.
const TIMESTAMPS_BYTES: u32 = 12;

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
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
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

    /// Rebuilds the half-open connection of a cookie that `seg` acknowledges. The sequence number of `open` is not
    /// used.
    ///
    /// # Errors
    /// The segment acknowledges no cookie, or is not the first after the SYN.
    pub fn recall(
        &self,
        cfg: &TcpConfig,
        flow: &Flow,
        open: Open,
        seg: &Segment,
        now: Instant,
    ) -> Result<HalfOpen, NotRecalled> {
        let unfit = seg.has(TcpFlags::SYN) || seg.has(TcpFlags::RST) || !seg.has(TcpFlags::ACK);
        if unfit || self.is_rotation_due(now) {
            return Err(NotRecalled::Stranger);
        }
        let (isn, irs) = (seg.ack().back(1), seg.seq().back(1));
        let (class, key) = (isn.0 >> MSS_SHIFT, isn.0 >> KEY_SHIFT & 1);
        let timestamps = seg.options().timestamps.filter(|_| cfg.timestamps);
        let with_ts = timestamps.is_some();
        let is_made_for = |irs| isn.0 & MAC_MASK == self.mac(key, flow, irs, class, with_ts);
        if !is_made_for(irs) {
            let full = u32::from(open.mss).saturating_sub(u32::from(with_ts) * TIMESTAMPS_BYTES);
            let is_later = before(seg, full).any(|bytes| is_made_for(irs.back(bytes)));
            return Err(match is_later {
                true => NotRecalled::Later,
                false => NotRecalled::Stranger,
            });
        }
        let mut ecn = false;
        let mut peer = TcpOptions {
            mss: Some(MSS_CLASSES[class as usize]),
            ..TcpOptions::default()
        };
        if let Some(ts) = timestamps {
            let age = ts_at(now, open.ts_offset).wrapping_sub(ts.ecr);
            if u128::from(age) > COOKIE_LIFE.as_millis() {
                return Err(NotRecalled::Stranger);
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
        Ok(half.with_classic_ecn(ecn && cfg.ecn))
    }
}

/// The reason why a segment brings no handshake back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotRecalled {
    /// It acknowledges no cookie of this four-tuple.
    Stranger,
    /// It acknowledges one, but is not the first segment after the SYN: that one was lost, and comes again.
    Later,
}

/// Returns the numbers of bytes that may be before `seg` in its flight: of segments as long as it, and of `full` ones.
fn before(seg: &Segment, full: u32) -> impl Iterator<Item = u32> {
    let own = match seg.gso_size() {
        0 => seg.payload_len(),
        each => each.into(),
    };
    // Without data it is no part of a flight.
    let sizes = [own, full].map(|size| if own == 0 { 0 } else { size });
    (1..=FIRST_FLIGHT_SEGMENTS)
        .flat_map(move |count| sizes.map(|size| count * size))
        .filter(|bytes| (1..=FIRST_FLIGHT_BYTES).contains(bytes))
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
#[path = "cookie_tests.rs"]
mod tests;
