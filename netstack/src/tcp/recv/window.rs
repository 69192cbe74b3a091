//! The receive window: the window that we offer, and the size of the receive buffer.
//!
//! * **Define.** A [`RecvWindow`] is RCV.NXT and the right edge up to which the peer may send.
//! * **Enforce.** The edge never moves left (RFC 9293 section 3.8.6), and moves right only by a
//!   worthwhile step (section 3.8.6.2.2, receiver-side silly window avoidance).
//! * **Consume.** Whatever lies below the edge is accepted: memory for it was promised.
//!
//! The field on the wire is in units of 2^scale, so the announced window can fall short of the edge
//! by less than one unit (RFC 7323 section 2.4); everything below the edge is accepted.
//!
//! The buffer grows with the reader: to twice the bytes that the application took in a round
//! trip, so that a sender that doubles its rate finds room (dynamic right-sizing). If that is more than ever before,
//! the rate grows, and there is room for two more such steps: the measurement is a round trip old, and while a lost segment is
//! sent again, another round trip's worth waits behind the gap. What waits there now is added. A sender that finds no room takes
//! the window for the path's limit.
//! On a path of less than a millisecond it grows no further than a sender's own buffer: see [`SHORT_PATH_BYTES_MAX`].

use core::time::Duration;

use crate::base::Instant;
use crate::tcp::seq::SeqNum;

/// Shortest round trip over which reading is measured; below it clock noise dominates.
const MIN_ROUND: Duration = Duration::from_millis(1);

/// Largest buffer of a path whose round trip can be shorter than [`MIN_ROUND`], in bytes: as much as a socket of Linux has
/// to send by default.
///
/// The time that is measured is many round trips there, and a window for all that is read in it only fills the queues of
/// the hosts. Their memory leaves the caches then, which costs speed. But with a window that is smaller than its buffer, a
/// sender on the same machine sends in the time of the thread that acknowledges, which is often the busy one.
const SHORT_PATH_BYTES_MAX: u32 = 4 << 20;

/// Round trip assumed when none could be measured.
const DEFAULT_ROUND: Duration = Duration::from_millis(100);

/// The part of a window that is kept while nothing is unread: the measurement of the reader begins anew.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RestingWindow {
    nxt: SeqNum,
    edge: SeqNum,
    capacity: u32,
    capacity_max: u32,
    scale: u8,
}

impl RestingWindow {
    /// Makes the window anew; the reader is measured from `now` on.
    pub(crate) fn wake(self, now: Instant) -> RecvWindow {
        RecvWindow {
            nxt: self.nxt,
            edge: self.edge,
            capacity: self.capacity,
            capacity_max: self.capacity_max,
            share: u32::MAX,
            scale: self.scale,
            taken: 0,
            most_taken: 0,
            round_start: now,
        }
    }
}

/// RCV.NXT, RCV.WND and the buffer behind them.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct RecvWindow {
    /// RCV.NXT.
    pub(crate) nxt: SeqNum,
    /// Right edge: the highest RCV.NXT + RCV.WND ever offered.
    edge: SeqNum,
    /// Bytes that may wait for the application.
    capacity: u32,
    /// Limit of autotuning, in bytes.
    capacity_max: u32,
    /// Bytes that may wait for the application before the connection holds its share of the memory.
    share: u32,
    /// Shift of the window field.
    scale: u8,
    /// Bytes that the application took since `round_start`.
    taken: u32,
    /// Maximum of the bytes that the application took in a round trip.
    #[cfg_attr(feature = "checkpoint", serde(skip))]
    most_taken: u32,
    round_start: Instant,
}

impl RecvWindow {
    /// Creates a window for `capacity` bytes of buffer, with `offered` bytes already announced.
    pub(crate) fn new(
        nxt: SeqNum,
        offered: u32,
        capacity: u32,
        capacity_max: u32,
        scale: u8,
        now: Instant,
    ) -> Self {
        Self {
            nxt,
            edge: nxt + offered,
            capacity,
            capacity_max,
            share: u32::MAX,
            scale,
            taken: 0,
            most_taken: 0,
            round_start: now,
        }
    }

    /// Returns what is needed while nothing is unread.
    pub(crate) fn rest(&self) -> RestingWindow {
        RestingWindow {
            nxt: self.nxt,
            edge: self.edge,
            capacity: self.capacity,
            capacity_max: self.capacity_max,
            scale: self.scale,
        }
    }

    /// Returns the window after a checkpoint; `None` if nobody can have offered it. `fin`: the numbers that the peer's FIN
    /// takes. The buffer is no smaller than it was, and grows to `buffer_max`.
    pub(crate) fn restored(
        self,
        buffer_max: usize,
        scale: u8,
        fin: u32,
        now: Instant,
    ) -> Option<Self> {
        let largest = u32::from(u16::MAX).checked_shl(scale.into())?;
        let most = u32::try_from(buffer_max).unwrap_or(u32::MAX).min(largest);
        let is_valid = self.nxt.at_or_before(self.edge + fin)
            && self.offered() <= largest
            && self.capacity <= largest.max(1 << 30)
            && self.scale == scale;
        is_valid.then(|| Self {
            capacity_max: most.max(self.capacity),
            share: u32::MAX,
            taken: 0,
            round_start: now,
            ..self
        })
    }

    /// Returns the number of bytes that the peer may still send (RCV.WND).
    pub(crate) fn offered(&self) -> u32 {
        self.edge.since(self.nxt)
    }

    /// Returns the right edge.
    pub(crate) fn edge(&self) -> SeqNum {
        self.edge
    }

    /// Returns the size of the buffer, in bytes.
    pub(crate) fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Sets the size of the buffer, as far as the window field can say it, and ends its tuning. The edge that was
    /// advertised does not move back.
    pub(crate) fn set_capacity(&mut self, capacity: u32) {
        self.capacity_max = capacity.min(u32::from(u16::MAX) << self.scale);
        self.capacity = self.capacity_max;
    }

    /// Sets the bytes that may wait for the application before the connection holds its share of the memory.
    /// The edge that was advertised does not move back.
    pub(crate) fn limit_to(&mut self, share: usize) {
        self.share = u32::try_from(share).unwrap_or(u32::MAX);
    }

    /// Returns the bytes that may wait for the application now.
    fn allowed(&self) -> u32 {
        self.capacity.min(self.share)
    }

    /// Returns how far the edge could move with `unread` bytes in the buffer.
    fn possible_edge(&self, unread: usize) -> SeqNum {
        let unread = u32::try_from(unread).unwrap_or(u32::MAX);
        self.edge
            .max(self.nxt + self.allowed().saturating_sub(unread))
    }

    /// Moves the edge, and returns the window field of a segment that leaves now.
    pub(crate) fn announce(&mut self, unread: usize, mss: u32) -> u16 {
        let possible = self.possible_edge(unread);
        let step = possible - self.edge;
        if step >= mss.min(self.allowed() / 2).max(1) {
            // No further than the field can say, so that the field announces the whole window.
            let largest = u32::from(u16::MAX) << self.scale;
            let offer = (possible - self.nxt).min(largest) >> self.scale << self.scale;
            self.edge = self.edge.max(self.nxt + offer);
        }
        u16::try_from(self.offered() >> self.scale).unwrap_or(u16::MAX)
    }

    /// Returns true if a window update is worth a segment of its own.
    pub(crate) fn update_due(&self, unread: usize, mss: u32) -> bool {
        let step = self.possible_edge(unread) - self.edge;
        let blocked = self.offered() < 2 * mss && step >= mss.min(self.allowed() / 2).max(1);
        blocked || step >= (self.allowed() / 4).max(2 * mss)
    }

    /// Checks that the buffer is within its bounds.
    #[cfg(any(test, feature = "invariants"))]
    pub(crate) fn check(&self) {
        assert!(self.capacity <= self.capacity_max);
        let largest = u32::from(u16::MAX) << self.scale;
        assert!(self.offered() <= largest, "more than the field can say");
    }

    /// Notes that the application took `count` bytes; the buffer may grow. `waiting`: bytes from RCV.NXT to the end of what
    /// waits behind gaps. `rtts`: the smoothed round-trip time, and the least one.
    pub(crate) fn on_read(
        &mut self,
        count: usize,
        waiting: u32,
        rtts: [Option<Duration>; 2],
        now: Instant,
    ) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.taken = self.taken.saturating_add(count);
        let [srtt, least] = rtts;
        let round = srtt.unwrap_or(DEFAULT_ROUND).max(MIN_ROUND);
        let elapsed = now.saturating_since(self.round_start);
        if elapsed < round {
            return;
        }
        let most = match least.is_some_and(|least| least < MIN_ROUND) {
            true => SHORT_PATH_BYTES_MAX,
            false => u32::MAX,
        };
        let wanted = self.wanted(waiting).min(most).min(self.capacity_max);
        self.capacity = self.capacity.max(wanted.min(self.share));
        self.most_taken = self.most_taken.max(self.taken);
        self.taken = 0;
        self.round_start = now;
    }

    /// Returns the buffer that suits what was taken in the round trip that ends: twice as much, and up to six times if the
    /// rate grows. It grows if more was taken than ever before, or than half of the buffer. The first also makes room for
    /// `waiting` bytes.
    fn wanted(&self, waiting: u32) -> u32 {
        let twice = self.taken.saturating_mul(2);
        let beyond = twice.saturating_sub(self.capacity).saturating_mul(2);
        if self.taken <= self.most_taken {
            return twice.saturating_add(beyond);
        }
        // As part of what it was: the next round trips grow by it, too, but by no more than a doubling.
        let growth = u64::from((self.taken - self.most_taken).min(self.most_taken));
        let steps = u64::from(twice).saturating_mul(2 * growth) / u64::from(self.most_taken.max(1));
        let steps = u32::try_from(steps).unwrap_or(u32::MAX).max(beyond);
        twice.saturating_add(steps).saturating_add(waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1_000;

    fn window() -> RecvWindow {
        RecvWindow::new(SeqNum(u32::MAX - 5), 8_000, 8_000, 64_000, 0, Instant::ZERO)
    }

    #[test]
    fn the_edge_never_moves_left() {
        let mut w = window();
        let edge = w.edge();
        w.nxt += 3_000;
        assert_eq!(w.announce(3_000, MSS), 5_000);
        assert_eq!(w.edge(), edge);
        w.nxt += 5_000;
        assert_eq!(w.announce(8_000, MSS), 0);
        // A byte read is no reason to tell.
        assert_eq!(w.announce(7_999, MSS), 0);
        assert!(!w.update_due(7_999, MSS));
        assert!(w.update_due(7_000, MSS));
        assert_eq!(w.announce(7_000, MSS), 1_000);
        assert_eq!(w.edge(), edge + 1_000);
    }

    #[test]
    fn scaled_fields_never_promise_more_than_the_edge() {
        let mut w = RecvWindow::new(SeqNum(0), 60_000, 100_000, 100_000, 7, Instant::ZERO);
        for _ in 0..1_000 {
            let before = w.edge();
            let field = u32::from(w.announce(0, MSS)) << 7;
            assert!((w.nxt + field).at_or_before(w.edge()));
            assert!(w.edge() - (w.nxt + field) < 128);
            assert!(w.edge().at_or_after(before));
            assert!(w.offered() <= 100_000);
            w.nxt += 333;
        }
    }

    #[test]
    fn the_buffer_follows_the_reader() {
        let mut w = window();
        let rtt = [Some(Duration::from_millis(10)); 2];
        w.on_read(5_000, 0, rtt, Instant::from_millis(5));
        assert_eq!(w.capacity(), 8_000);
        w.on_read(0, 0, rtt, Instant::from_millis(10));
        assert_eq!(w.capacity(), 10_000 + 2 * 2_000, "more than half of it");
        w.on_read(6_000, 0, rtt, Instant::from_millis(20));
        assert_eq!(w.capacity(), 12_000 + 2 * 12_000 / 5, "a fifth more");
        w.on_read(6_000, 9_000, rtt, Instant::from_millis(30));
        assert_eq!(w.capacity(), 16_800, "the rate does not grow");
        w.on_read(1_000, 0, rtt, Instant::from_millis(40));
        assert_eq!(w.capacity(), 16_800, "never shrinks");
        w.on_read(1 << 30, 0, rtt, Instant::from_millis(50));
        assert_eq!(w.capacity(), 64_000);
    }

    #[test]
    fn the_buffer_has_room_for_a_sender_that_doubles_its_rate_and_for_a_gap() {
        let rtt = [Some(Duration::from_millis(10)); 2];
        let grown = |waiting| {
            let mut w = RecvWindow::new(SeqNum(0), 8_000, 8_000, 1 << 20, 7, Instant::ZERO);
            w.on_read(5_000, 0, rtt, Instant::from_millis(10));
            w.on_read(10_000, waiting, rtt, Instant::from_millis(20));
            w.capacity()
        };
        // What leaves when this is known, and a round trip later.
        assert_eq!(grown(0), 6 * 10_000);
        assert_eq!(grown(7_000), 6 * 10_000 + 7_000);
    }

    #[test]
    fn the_buffer_of_a_short_path_grows_less_however_long_its_queues_are() {
        // Ten MiB are read each millisecond.
        let grown = |srtt, least| {
            let mut w = RecvWindow::new(SeqNum(0), 8_000, 8_000, 16 << 20, 9, Instant::ZERO);
            let rtts = [srtt, least].map(|micros| Some(Duration::from_micros(micros)));
            for at in 1..20 {
                w.on_read(10 << 20, 0, rtts, Instant::from_millis(at));
            }
            w.capacity()
        };
        for least in [10, 900] {
            assert_eq!(
                (grown(least, least), grown(5_000, least)),
                (4 << 20, 4 << 20)
            );
        }
        assert_eq!(
            (grown(1_000, 1_000), grown(5_000, 2_000)),
            (16 << 20, 16 << 20)
        );
    }

    #[test]
    fn a_size_that_is_set_is_not_tuned_and_takes_nothing_back() {
        let mut w = window();
        w.set_capacity(3_000);
        assert_eq!(w.announce(0, MSS), 8_000, "what was offered stays offered");
        w.nxt += 6_000;
        assert_eq!(w.announce(0, MSS), 3_000);
        w.on_read(50_000, 0, [None; 2], Instant::from_millis(200));
        assert_eq!(w.capacity(), 3_000);
        w.set_capacity(1 << 30);
        assert_eq!(w.announce(0, MSS), u16::MAX, "the field can say no more");
        w.on_read(1 << 30, 0, [None; 2], Instant::from_millis(400));
        assert_eq!(w.capacity(), u32::from(u16::MAX));
    }

    #[test]
    fn while_memory_is_short_the_window_is_the_share() {
        let mut w = window();
        w.nxt += 8_000;
        w.limit_to(2_500);
        assert_eq!(w.announce(0, MSS), 2_500);
        assert_eq!(
            w.announce(2_000, MSS),
            2_500,
            "what was offered stays offered"
        );
        w.on_read(50_000, 0, [None; 2], Instant::from_millis(200));
        assert_eq!(w.capacity(), 8_000, "it does not grow");
        w.limit_to(usize::MAX);
        assert_eq!(w.announce(0, MSS), 8_000);
    }
}
