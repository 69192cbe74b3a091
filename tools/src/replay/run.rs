//! The replay itself, on virtual time.

use std::fmt;
use std::time::Duration;

use super::host::{Host, Reading};
use super::plan::{Action, Plan, Step};
use super::translate::{self, Translation};
use crate::capture::{Captured, Direction, Segment, Stream, tcp_segment};

/// Virtual time that the client waits for data which the captured client had: longer than any sequence
/// of retransmissions that succeeds.
const STUCK_TIMEOUT: Duration = Duration::from_secs(300);

/// A difference between the replay and the capture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Difference {
    /// The bytes on one side differ.
    Bytes {
        /// The sender of the bytes.
        side: &'static str,
        /// Offset of the first byte that differs, or the length of the shorter stream.
        offset: u64,
        /// Length in the capture.
        captured: u64,
        /// Length in the replay.
        replayed: u64,
    },
    /// A packet of the client depends on something that the stack never sent.
    Stuck {
        /// The client's packet, as numbered in the file.
        number: u64,
        /// The condition that was never met.
        waiting_for: String,
    },
    /// The captured server closed its half, the stack did not.
    NotClosed,
    /// The captured server did not reset the connection, the stack did.
    Reset,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes {
                side,
                offset,
                captured,
                replayed,
            } => write!(
                f,
                "the {side}'s bytes differ from offset {offset} on \
                 ({captured} captured, {replayed} replayed)"
            ),
            Self::Stuck {
                number,
                waiting_for,
            } => write!(f, "packet {number} of the client {waiting_for}"),
            Self::NotClosed => write!(f, "the captured server closed its half, the stack did not"),
            Self::Reset => write!(
                f,
                "the stack reset the connection, the captured server did not"
            ),
        }
    }
}

/// The result of a replay.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Packets of the client that were played.
    pub played: usize,
    /// Acknowledgements that the client added while it had to wait.
    pub interim: usize,
    /// Packets that the captured server sent.
    pub captured_out: usize,
    /// Packets that the stack sent.
    pub replayed_out: usize,
    /// Bytes of the client that the stack's application received.
    pub client_bytes: u64,
    /// Bytes that the stack sent.
    pub server_bytes: u64,
    /// Payload bytes that the stack sent more than once.
    pub resent_bytes: u64,
    /// Duration of the replay in virtual time.
    pub took: Duration,
    /// Packets that the stack discarded, by reason.
    pub drops: Vec<(&'static str, u64)>,
    /// Every difference; none if both ends received the same bytes.
    pub differences: Vec<Difference>,
}

impl Report {
    /// Returns true if both ends received the same bytes and the connection ended in the same way.
    pub fn is_same(&self) -> bool {
        self.differences.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  client: {} packets played, {} acknowledgements added, {} bytes delivered to the \
             application",
            self.played, self.interim, self.client_bytes
        )?;
        writeln!(
            f,
            "  server: {} packets sent ({} captured), {} bytes, {} sent again",
            self.replayed_out, self.captured_out, self.server_bytes, self.resent_bytes
        )?;
        writeln!(f, "  virtual time: {:.6} s", self.took.as_secs_f64())?;
        for (reason, count) in &self.drops {
            writeln!(f, "  discarded: {count} {reason}")?;
        }
        if self.is_same() {
            return write!(f, "  same bytes on both sides");
        }
        for difference in &self.differences {
            writeln!(f, "  different: {difference}")?;
        }
        Ok(())
    }
}

/// Replays `plan` against `host`.
pub fn run(plan: &Plan, host: &mut impl Host) -> Report {
    let mut player = Player {
        plan,
        now: Duration::ZERO,
        shift: Duration::ZERO,
        next_packet: 0,
        next_step: 0,
        written: 0,
        acknowledged: 0,
        received: Vec::new(),
        ended: false,
        seen: Seen::default(),
        report: Report::default(),
    };
    player.play(host);
    player.finish(host)
}

/// The state of the stack as far as its packets have shown it.
#[derive(Debug, Default)]
struct Seen {
    /// Its bytes, from its SYN on.
    stream: Option<Stream>,
    /// Offset after the last byte sent; a FIN counts as one byte.
    sent_to: u64,
    /// Last timestamp.
    timestamp: u32,
    /// The client's sequence number at the right edge of its window.
    window_to: Option<u32>,
    /// Its window scale.
    scale: u8,
    reset: bool,
    payload_bytes: u64,
}

impl Seen {
    fn take(&mut self, segment: &Segment) {
        if let Some((value, _)) = segment.timestamps {
            self.timestamp = value;
        }
        self.reset |= segment.rst;
        if segment.rst {
            return;
        }
        let (window, scale) = translate::window(segment);
        if segment.syn {
            if self.stream.is_none() {
                self.stream = Some(Stream::new(segment.seq));
            }
            self.scale = scale.unwrap_or(0).min(14);
            self.window_to = Some(segment.ack.wrapping_add(window));
        } else if segment.has_ack {
            self.window_to = Some(segment.ack.wrapping_add(window << self.scale));
        }
        let Some(stream) = &mut self.stream else {
            return;
        };
        let first = segment.seq.wrapping_add(u32::from(segment.syn));
        stream.add(first, &segment.payload);
        self.payload_bytes += segment.payload.len() as u64;
        let behind = first.wrapping_add(segment.payload.len() as u32);
        if segment.fin {
            stream.add_fin(behind);
        }
        if let Some(offset) = stream.offset(behind) {
            self.sent_to = self.sent_to.max(offset + u64::from(segment.fin));
        }
    }
}

struct Player<'a> {
    plan: &'a Plan,
    now: Duration,
    /// Delay of the replay behind the capture.
    shift: Duration,
    next_packet: usize,
    next_step: usize,
    written: u64,
    /// Offset up to which the client has acknowledged by added acknowledgements.
    acknowledged: u64,
    received: Vec<u8>,
    ended: bool,
    seen: Seen,
    report: Report,
}

impl Player<'_> {
    fn play(&mut self, host: &mut impl Host) {
        loop {
            let timer = self.settle(host);
            let Some((captured_at, segment)) = self.plan.played.get(self.next_packet) else {
                // All packets are played; only the application and the timers are left.
                match self.wake_up(timer, None) {
                    Some(at) if at <= self.shift + self.last_captured() + STUCK_TIMEOUT => {
                        self.now = at
                    }
                    _ => return,
                }
                continue;
            };
            let due = *captured_at + self.shift;
            if self.now < due {
                self.now = self.wake_up(timer, Some(due)).unwrap_or(due);
                continue;
            }
            let missing = self.missing(segment);
            let late = self.now - due;
            match missing {
                None => {
                    self.shift += late;
                    self.give(host, segment);
                }
                Some(_) if self.acknowledge(host, segment) => {}
                Some(waiting_for) => {
                    let next = self.wake_up(timer, None);
                    match next {
                        Some(at) if at <= due + STUCK_TIMEOUT => self.now = at,
                        _ => {
                            self.report.differences.push(Difference::Stuck {
                                number: segment.number,
                                waiting_for,
                            });
                            return;
                        }
                    }
                }
            }
        }
    }

    fn last_captured(&self) -> Duration {
        self.plan
            .played
            .last()
            .map_or(Duration::ZERO, |(at, _)| *at)
    }

    /// Returns what the stack has not sent yet, although the captured client had it when it sent
    /// `segment`.
    fn missing(&self, segment: &Segment) -> Option<String> {
        if !segment.has_ack {
            return None;
        }
        let shift = self.shift_of_numbers();
        let Some(stream) = &self.seen.stream else {
            return Some("answers a SYN-ACK that the stack has not sent".to_owned());
        };
        if let Some(acked) = stream.offset(segment.ack.wrapping_add(shift))
            && acked > self.seen.sent_to
        {
            return Some(format!(
                "acknowledges {acked} bytes, of which the stack has sent {}",
                self.seen.sent_to
            ));
        }
        let end = segment.seq.wrapping_add(segment.payload.len() as u32);
        if let Some(window_to) = self.seen.window_to
            && !segment.payload.is_empty()
            && window_to.wrapping_sub(end) as i32 <= -1
        {
            return Some(format!(
                "goes {} bytes beyond the window that the stack offers",
                end.wrapping_sub(window_to)
            ));
        }
        None
    }

    /// Acknowledges the data received so far, and returns true if there was any.
    ///
    /// The captured client may have acknowledged in larger steps than the stack's congestion window
    /// allows it to send. A client that waits for more data acknowledges what it has (RFC 9293 section
    /// 3.8.6.3).
    fn acknowledge(&mut self, host: &mut impl Host, next: &Segment) -> bool {
        let Some(stream) = &self.seen.stream else {
            return false;
        };
        let shift = self.shift_of_numbers();
        let sent = stream.bytes().len() as u64;
        let Some(wanted) = stream.offset(next.ack.wrapping_add(shift)) else {
            return false;
        };
        if next.syn || next.rst || sent <= self.acknowledged || sent >= wanted {
            return false;
        }
        self.acknowledged = sent;
        let number = stream.isn().wrapping_add(1).wrapping_add(sent as u32);
        let packet = self
            .translation()
            .pure_ack(next, number, wanted - sent, self.plan.scale);
        host.deliver(packet, 0);
        self.report.interim += 1;
        true
    }

    fn translation(&self) -> Translation {
        Translation {
            shift: self.shift_of_numbers(),
            echo: self.seen.timestamp,
            negotiated: self.plan.negotiated,
            addresses: (self.plan.client.ip(), self.plan.server.ip()),
        }
    }

    /// Returns the number to add to the captured server's sequence numbers; zero until the stack's own
    /// are known.
    fn shift_of_numbers(&self) -> u32 {
        self.seen
            .stream
            .as_ref()
            .map_or(0, |stream| stream.isn().wrapping_sub(self.plan.server_isn))
    }

    fn give(&mut self, host: &mut impl Host, segment: &Segment) {
        let gso_size = if segment.payload.len() > usize::from(self.plan.mss) {
            self.plan.mss
        } else {
            0
        };
        host.deliver(self.translation().apply(segment), gso_size);
        self.next_packet += 1;
        self.report.played += 1;
    }

    /// Runs the stack and the application until both are idle at this time. Returns the time of the
    /// next timer.
    fn settle(&mut self, host: &mut impl Host) -> Option<Duration> {
        let mut sent = Vec::new();
        loop {
            let timer = host.turn(self.now, &mut sent);
            let quiet = sent.is_empty();
            for packet in sent.drain(..) {
                self.report.replayed_out += 1;
                let packet = Captured {
                    number: 0,
                    time: self.now,
                    ip: packet,
                    cut: false,
                };
                if let Some((_, _, segment)) = tcp_segment(&packet) {
                    self.seen.take(&segment);
                }
            }
            if !self.application(host) && quiet {
                return timer;
            }
        }
    }

    /// Performs the application's actions that are due, and returns true if there were any.
    fn application(&mut self, host: &mut impl Host) -> bool {
        let before = self.received.len();
        let reading = host.read(&mut self.received);
        let mut busy = self.received.len() > before;
        busy |= reading == Reading::Ended && !std::mem::replace(&mut self.ended, true);
        while let Some(step) = self.due_step() {
            match step.action {
                Action::WriteTo(end) => {
                    let from = self.written as usize;
                    let bytes = self.plan.server_bytes.get(from..end as usize);
                    let taken = host.write(bytes.unwrap_or_default());
                    self.written += taken as u64;
                    busy |= taken > 0;
                    if self.written < end {
                        break;
                    }
                }
                Action::Close => host.close(),
                Action::Abort => host.abort(),
            }
            self.next_step += 1;
            busy = true;
        }
        busy
    }

    fn next_step(&self) -> Option<&Step> {
        let step = self.plan.steps.get(self.next_step)?;
        (self.received.len() as u64 >= step.after).then_some(step)
    }

    fn due_step(&self) -> Option<Step> {
        let step = self.next_step()?;
        (step.at + self.shift <= self.now).then_some(*step)
    }

    /// Returns the next time at which anything can happen, always later than now.
    fn wake_up(&self, timer: Option<Duration>, due: Option<Duration>) -> Option<Duration> {
        let step = self.next_step().map(|step| step.at + self.shift);
        [timer, due, step]
            .into_iter()
            .flatten()
            .filter(|at| *at > self.now)
            .min()
    }

    fn finish(mut self, host: &mut impl Host) -> Report {
        let session = &self.plan.session;
        let sent = self
            .seen
            .stream
            .as_ref()
            .map_or_else(Vec::new, Stream::bytes);
        for (side, captured, replayed) in [
            ("client", &self.plan.client_bytes, &self.received),
            ("server", &self.plan.server_bytes, &sent),
        ] {
            if captured != replayed {
                let same = captured.iter().zip(replayed).take_while(|(a, b)| a == b);
                let offset = same.count() as u64;
                self.report.differences.push(Difference::Bytes {
                    side,
                    offset,
                    captured: captured.len() as u64,
                    replayed: replayed.len() as u64,
                });
            }
        }
        let from_server = |segment: &&Segment| segment.direction == Direction::FromServer;
        let captured = || session.segments.iter().filter(from_server);
        let closed = self.seen.stream.as_ref().and_then(Stream::end).is_some();
        if session.ended_by(Direction::FromServer) && !closed {
            self.report.differences.push(Difference::NotClosed);
        }
        if self.seen.reset && !captured().any(|segment| segment.rst) {
            self.report.differences.push(Difference::Reset);
        }
        self.report.captured_out = captured().count();
        self.report.client_bytes = self.received.len() as u64;
        self.report.server_bytes = sent.len() as u64;
        self.report.resent_bytes = self.seen.payload_bytes.saturating_sub(sent.len() as u64);
        self.report.took = self.now;
        self.report.drops = host.drops();
        self.report
    }
}
