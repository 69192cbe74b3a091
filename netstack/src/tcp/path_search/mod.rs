//! The search for the path MTU by the fate of segments of different sizes (packetization layer path MTU discovery,
//! RFC 4821): for paths that drop large packets and report nothing.
//!
//! ```text
//!    floor      base     mss = search_low = eff_pmtu      ceiling = search_high    link
//!      |---------|------------------|- - - - - probes - - - - - |- - lost - - - - - -|
//! ```
//!
//! **Down.** If full-sized segments time out again and again and nothing of their size arrives, the path is a black hole
//! for them ([`Tcb::suspect_black_hole`]): what is lost is sent in segments of the base size, and after further timeouts in
//! smaller ones. The first progress confirms it, and later connections begin with that size. If the timeouts turn out to be
//! spurious, the size is what it was.
//!
//! **Up.** From there probes find the largest size that arrives ([`Tcb::mtu_probe_size`], `send::inflight::mtu_probe`): first
//! the largest that is not known to be lost, since the silence may have been an outage, then halves of the range. A lost one
//! costs no window, so the next one waits for as long as a window of losses by congestion would. When the range is small,
//! the search ends; after [`CEILING_AGE`] it begins anew above the present size. Where no probe can leave, the size before
//! the suspicion is tried in another way (`retry`).
//!
//! Sizes count the payload and the options of TCP, as an MSS does. The bounds that others found, and the size for which
//! the family does not search any further, come from the stack ([`PathLimits`]).

mod black_hole;
mod probes;
mod retry;

use core::time::Duration;

use super::context::Context;
use super::event::{Event, MssChange};
use super::seq::SeqNum;
use super::tcb::Tcb;
use super::{Stage, Tcp};
use crate::base::{Instant, MtuProbing, TcpConfig};
use retry::Retry;

/// Time for which a size that did not arrive is not tried again (RFC 4821 section 7.3: never less than 5 minutes, 10
/// recommended).
const CEILING_AGE: Duration = Duration::from_secs(600);

/// The limits of a path that others found: largest segments, without the fixed headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PathLimits {
    /// Segments that the path carries.
    pub mss: u16,
    /// Segments that it may carry; `None`: nothing is known of it beyond the link.
    pub ceiling: Option<u16>,
    /// Segments that the link carries.
    pub link_mss: u16,
    /// Segments that any path carries: 1,220 bytes for IPv6, no such size for IPv4, all for a path that is no network.
    pub floor: u16,
}

impl PathLimits {
    /// Returns the limits of a path that carries segments of `mss` bytes, behind a link that carries `link_mss`.
    pub fn new(mss: u16, link_mss: u16) -> Self {
        Self {
            mss,
            ceiling: (mss < link_mss).then_some(mss),
            link_mss,
            floor: 0,
        }
    }
}

/// The limits of its path that a connection found, for later ones: largest segments, without the fixed headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PathNews {
    /// Segments that the path carries.
    pub mss: u16,
    /// Segments that it may carry; `None`: as many as the link, for all that is known.
    pub ceiling: Option<u16>,
}

/// The state of the search; a connection whose path carries what its link does has none.
#[derive(Clone, Copy, Debug)]
pub(in crate::tcp) struct PathSearch {
    limits: PathLimits,
    /// Largest segment that may arrive by our own probes, and until when that is believed.
    ceiling: u16,
    ceiling_until: Instant,
    /// A size that is likely to arrive and tried first: that before a suspicion, or what a router said; zero: none.
    likely: u16,
    /// The next probe leaves no earlier.
    next_at: Instant,
    /// Size of the probe in flight.
    probe_mss: u16,
    /// Time between it, should it be lost, and the next one.
    headway: Duration,
    /// Probes of this size that were lost together with others.
    inconclusive: u8,
    /// Timeouts in a row of a full-sized segment with nothing of its size arriving.
    timeouts: u8,
    /// Size, and own limit, before the present suspicion, if there is one.
    before: Option<(u16, u16)>,
    /// When the size before a suspicion is tried without a probe, and how long after the next suspicion.
    retry_at: Instant,
    retry_after: Duration,
    /// That size is being tried.
    retry: Option<Retry>,
    /// There is something to tell other connections.
    has_news: bool,
    /// The connection always probes, and has sent nothing yet.
    begins_small: bool,
    /// Largest segment that gets through, as this connection found out; `u16::MAX`: it found nothing.
    limit: u16,
}

impl PathSearch {
    /// Creates the search of a connection that sends segments of `mss` bytes.
    fn new(mss: u16) -> Box<Self> {
        Box::new(Self {
            limits: PathLimits::new(mss, mss),
            ceiling: u16::MAX,
            ceiling_until: Instant::FAR_FUTURE,
            likely: 0,
            next_at: Instant::ZERO,
            probe_mss: 0,
            headway: Duration::ZERO,
            inconclusive: 0,
            timeouts: 0,
            before: None,
            retry_at: Instant::FAR_FUTURE,
            retry_after: retry::FIRST_PAUSE,
            retry: None,
            has_news: false,
            begins_small: false,
            limit: u16::MAX,
        })
    }

    /// Creates the search of a new connection, if it always has one.
    pub(in crate::tcp) fn always(cfg: &TcpConfig, mss: u16) -> Option<Box<Self>> {
        (cfg.mtu_probing == MtuProbing::Always).then(|| {
            let mut search = Self::new(mss);
            search.begins_small = true;
            search
        })
    }

    /// Returns the largest segment that the path may carry; `None`: the link's.
    fn ceiling(&mut self, now: Instant) -> Option<u16> {
        if now >= self.ceiling_until {
            self.ceiling = u16::MAX;
            self.ceiling_until = Instant::FAR_FUTURE;
        }
        let others = self.limits.ceiling.unwrap_or(u16::MAX);
        let ceiling = self.ceiling.min(others);
        (ceiling < self.limits.link_mss).then_some(ceiling)
    }

    /// Returns the largest segment that is worth a try, of at most `max_mss`.
    fn highest(&mut self, max_mss: u16, now: Instant) -> u16 {
        let most = max_mss.min(self.limits.link_mss);
        self.ceiling(now).map_or(most, |ceiling| ceiling.min(most))
    }

    /// Notes that segments of more than `mss` bytes do not arrive.
    fn lower_ceiling(&mut self, mss: u16, now: Instant) {
        self.ceiling = self.ceiling.min(mss);
        self.ceiling_until = now + CEILING_AGE;
        self.inconclusive = 0;
    }
}

/// The findings of others.
impl Tcb {
    /// Takes up what others found out, and what the link carries. Returns the largest segment that the path carries.
    #[inline]
    pub(in crate::tcp) fn follow_limits(&mut self, limits: &PathLimits) -> u16 {
        self.least_mss = limits.floor;
        if limits.ceiling.is_some() || self.search.is_some() {
            self.search_within(limits)
        } else {
            limits.mss
        }
    }

    #[cold]
    fn search_within(&mut self, limits: &PathLimits) -> u16 {
        let may_carry_more = limits.ceiling.unwrap_or(limits.link_mss) > limits.mss;
        let mss = self.agreed.mss;
        if may_carry_more && self.cfg.mtu_probing != MtuProbing::Off {
            self.search.get_or_insert_with(|| PathSearch::new(mss));
        }
        let Some(search) = &mut self.search else {
            return limits.mss;
        };
        if search.limits != *limits {
            // News of the path, a router's perhaps: they count, and a try would be another guess.
            search.retry = None;
        }
        search.limits = *limits;
        let begins_small = core::mem::take(&mut search.begins_small);
        if begins_small && limits.ceiling.is_none() {
            let base = self.cfg.mtu_probe_base.max(limits.floor);
            if base < self.agreed.max_mss.min(limits.link_mss) {
                search.limit = base;
            }
        } else if search.has_news || search.retry.is_some() {
            // This connection knows better until others know what it found.
            return mss;
        }
        limits.mss.min(search.limit)
    }
}

/// The search for the path MTU.
impl Tcp {
    /// Takes a router's report that the segment with `seq` in it exceeds its link, which carries segments of `mss` bytes.
    /// Returns true if that answers a probe: then only the probe is sent again, and the next one has the size that
    /// the router says. False: the report is about other segments ([`Tcp::on_path_mtu`]).
    pub fn on_probe_too_big<'a>(
        &mut self,
        seq: SeqNum,
        mss: u16,
        cx: impl Into<Context<'a>>,
    ) -> bool {
        let cx = &mut cx.into();
        self.checked(|tcp| match &mut tcp.stage {
            Stage::Open(tcb) => tcb.on_probe_too_big(seq, mss, cx),
            _ => false,
        })
    }

    /// Takes what the connection found out about its path since the last call, for others.
    #[inline]
    pub fn take_path_news(&mut self, now: Instant) -> Option<PathNews> {
        let Stage::Open(tcb) = &mut self.stage else {
            return None;
        };
        let mss = tcb.agreed.mss;
        let search = tcb.search.as_mut()?;
        core::mem::take(&mut search.has_news).then(|| PathNews {
            mss,
            ceiling: search.ceiling(now),
        })
    }
}

/// The size of segments.
impl Tcb {
    /// Makes segments larger.
    fn raise_mss(&mut self, mss: u16, reason: MssChange, cx: &mut Context<'_>) {
        self.agreed.in_flight_mss = self.agreed.in_flight_mss.max(mss);
        self.set_mss(mss, reason, cx);
        let payload = self.payload_mss();
        self.cc.on_larger_segments(payload);
    }

    /// Changes the size of segments, and tells the subscriber.
    pub(in crate::tcp) fn set_mss(&mut self, mss: u16, reason: MssChange, cx: &mut Context<'_>) {
        let before = core::mem::replace(&mut self.agreed.mss, mss);
        if before != mss {
            let payload = u16::try_from(self.payload_mss()).unwrap_or(u16::MAX);
            cx.emit(|| Event::MssChanged {
                mss: payload,
                reason,
            });
        }
    }
}
