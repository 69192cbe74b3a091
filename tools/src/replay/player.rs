//! The peer and the application of one TCP session, while it is replayed.

use std::time::Duration;

use super::errors::{Kind, Quote};
use super::host::{Host, Reading};
use super::plan::{Action, Plan, Step};
use super::report::{Difference, Report};
use super::seen::Seen;
use super::translate::Translation;
use super::verdict;
use crate::capture::defragment::fragments;
use crate::capture::packet::Packet;
use crate::capture::{Captured, Segment, Stream, tcp_segment};

/// The outcome of a session's step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// It delivered a packet.
    Moved,
    /// It does nothing before this time, unless the stack does something.
    Waits(Duration),
    /// It has nothing left to do.
    Done,
}

/// One session.
pub(super) struct Player {
    pub(super) plan: Plan,
    /// Its number, by which the host knows it.
    pub(super) number: usize,
    /// Delay of the replay behind the capture.
    shift: Duration,
    next_packet: usize,
    next_error: usize,
    next_step: usize,
    opened: bool,
    written: u64,
    /// Offset up to which the peer has acknowledged by added acknowledgements.
    acknowledged: u64,
    received: Vec<u8>,
    pub(super) seen: Seen,
    stuck: bool,
    pub(super) report: Report,
    /// Where the stack's bytes part from the captured ones; said once.
    parted: bool,
    /// ICMP errors that the stack has sent.
    errors_sent: Vec<Kind>,
    /// Segments that the stack has sent after the last error that it got, while the capture lasted.
    went_on: usize,
}

impl Player {
    pub(super) fn new(plan: Plan, number: usize) -> Self {
        Self {
            plan,
            number,
            shift: Duration::ZERO,
            next_packet: 0,
            next_error: 0,
            next_step: 0,
            opened: false,
            written: 0,
            acknowledged: 0,
            received: Vec::new(),
            seen: Seen::default(),
            stuck: false,
            report: Report::default(),
            parted: false,
            errors_sent: Vec::new(),
            went_on: 0,
        }
    }

    /// Plays the next packet if its time has come and the stack has sent what it depends on. Packets that
    /// are delivered are appended to `delivered`.
    pub(super) fn step(
        &mut self,
        now: Duration,
        host: &mut impl Host,
        delivered: &mut Vec<Vec<u8>>,
    ) -> Progress {
        if !self.opened {
            if now < self.plan.start {
                return Progress::Waits(self.plan.start);
            }
            self.opened = true;
            let place = self.plan.place;
            host.open(self.number, self.plan.opening, place.ours, place.peer);
            return Progress::Moved;
        }
        if self.stuck {
            return Progress::Done;
        }
        if let Some(progress) = self.step_error(now, host, delivered) {
            return progress;
        }
        let Some((captured_at, segment)) = self.plan.played.get(self.next_packet) else {
            return Progress::Done;
        };
        let due = *captured_at + self.shift;
        if now < due {
            return Progress::Waits(due);
        }
        let segment = segment.clone();
        let Some(waiting_for) = self.missing(&segment) else {
            self.shift += now - due;
            delivered.extend(self.give(host));
            self.report.ended = now;
            return Progress::Moved;
        };
        if let Some(packet) = self.acknowledgement(&segment) {
            host.deliver(packet.clone(), 0);
            delivered.push(packet);
            return Progress::Moved;
        }
        let deadline = due + host.patience();
        if now < deadline {
            return Progress::Waits(deadline);
        }
        self.stuck = true;
        self.report.differences.push(Difference::Stuck {
            number: segment.number,
            waiting_for,
        });
        Progress::Done
    }

    /// Plays the next ICMP error if it comes before the next packet, as [`Player::step`] does with packets. `None`: it does
    /// not.
    fn step_error(
        &mut self,
        now: Duration,
        host: &mut impl Host,
        delivered: &mut Vec<Vec<u8>>,
    ) -> Option<Progress> {
        let error = self.plan.errors.played.get(self.next_error)?;
        let next = self.plan.played.get(self.next_packet);
        if next.is_some_and(|(_, segment)| segment.number < error.number) {
            return None;
        }
        let due = error.at + self.shift;
        if now < due {
            return Some(Progress::Waits(due));
        }
        let has_sent = self.has_sent(error.seq());
        let deadline = due + host.patience();
        if !has_sent && now < deadline {
            return Some(Progress::Waits(deadline));
        }
        let packet = error.packet(self.plan.place, self.shift_of_numbers());
        if has_sent {
            self.shift += now - due;
        } else {
            self.report.notes.push(format!(
                "the ICMP error in packet {} is about bytes that the stack has not sent",
                error.number
            ));
        }
        host.deliver(packet.clone(), 0);
        delivered.push(packet);
        self.next_error += 1;
        self.went_on = 0;
        self.report.played += 1;
        self.report.ended = now;
        Some(Progress::Moved)
    }

    /// Returns true if the stack has sent the sequence number of the captured host, or if that never did.
    fn has_sent(&self, seq: u32) -> bool {
        let Some(stream) = &self.seen.stream else {
            return self.plan.our_isn.is_none();
        };
        match stream.offset(seq.wrapping_add(self.shift_of_numbers())) {
            Some(offset) => offset < self.seen.sent_to || offset > self.plan.our_bytes.len() as u64,
            None => true,
        }
    }

    /// Returns why no more packets of the peer are played, if that is so.
    pub(super) fn is_stuck(&self) -> bool {
        self.stuck
    }

    /// Returns the packet that cannot be played, as captured.
    pub(super) fn waiting_packet(&self) -> Option<&[u8]> {
        let (_, segment) = self.plan.played.get(self.next_packet)?;
        Some(&segment.ip)
    }

    /// Returns when the last packet of the peer is played.
    pub(super) fn last_due(&self) -> Duration {
        let last = self
            .plan
            .played
            .last()
            .map_or(self.plan.start, |(at, _)| *at);
        let step = self.plan.steps.last().map_or(last, |step| step.at);
        let error = self
            .plan
            .errors
            .played
            .last()
            .map_or(last, |error| error.at);
        last.max(step).max(error) + self.shift
    }

    /// Returns the time of the application's next action, if all its conditions but time are met.
    pub(super) fn next_action(&self) -> Option<Duration> {
        self.next_step().map(|step| step.at + self.shift)
    }

    /// Returns what the stack has not sent yet, although the captured peer had it when it sent
    /// `segment`.
    fn missing(&self, segment: &Segment) -> Option<String> {
        let Some(stream) = &self.seen.stream else {
            let waits = self.plan.our_isn.is_some()
                && (segment.has_ack || self.plan.opening == super::Opening::Connects);
            return waits.then(|| "answers a SYN that the stack has not sent".to_owned());
        };
        if !segment.has_ack || segment.rst {
            return None;
        }
        let shift = self.shift_of_numbers();
        if let Some(acked) = stream.offset(segment.ack.wrapping_add(shift))
            && acked > self.seen.sent_to
            && acked <= self.plan.our_bytes.len() as u64 + 1
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

    /// Returns an acknowledgement of the data received so far, if there was any.
    ///
    /// The captured peer may have acknowledged in larger steps than the stack's congestion window
    /// allows it to send. A peer that waits for more data acknowledges what it has (RFC 9293 section
    /// 3.8.6.3).
    fn acknowledgement(&mut self, next: &Segment) -> Option<Vec<u8>> {
        let stream = self.seen.stream.as_ref()?;
        let shift = self.shift_of_numbers();
        let sent = stream.bytes().len() as u64;
        let wanted = stream.offset(next.ack.wrapping_add(shift))?;
        if next.syn || next.rst || sent <= self.acknowledged || sent >= wanted {
            return None;
        }
        let number = stream.isn().wrapping_add(1).wrapping_add(sent as u32);
        let packet = self
            .translation()
            .pure_ack(next, number, wanted - sent, self.plan.scale);
        self.acknowledged = sent;
        self.report.interim += 1;
        Some(packet)
    }

    fn translation(&self) -> Translation {
        Translation {
            shift: self.shift_of_numbers(),
            echo: self.seen.timestamp,
            negotiated: self.plan.negotiated,
            place: self.plan.place,
        }
    }

    /// Returns the number to add to the captured host's sequence numbers; zero until the stack's own
    /// are known.
    pub(super) fn shift_of_numbers(&self) -> u32 {
        match (&self.seen.stream, self.plan.our_isn) {
            (Some(stream), Some(isn)) => stream.isn().wrapping_sub(isn),
            _ => 0,
        }
    }

    /// Delivers the next packet, in the fragments in which it was captured.
    fn give(&mut self, host: &mut impl Host) -> Vec<Vec<u8>> {
        let Some((_, segment)) = self.plan.played.get(self.next_packet) else {
            return Vec::new();
        };
        let gso_size = if segment.payload.len() > usize::from(self.plan.mss) {
            self.plan.mss
        } else {
            0
        };
        let packet = self.translation().apply(segment);
        let packets = fragments(&packet, &segment.pieces, segment.number as u32);
        let gso_size = if packets.len() > 1 { 0 } else { gso_size };
        for packet in &packets {
            host.deliver(packet.clone(), gso_size);
        }
        self.next_packet += 1;
        self.report.played += 1;
        packets
    }

    /// Takes a packet of the stack. Returns what to say about it, if it shows a difference.
    pub(super) fn take(&mut self, now: Duration, packet: &[u8]) -> Option<String> {
        self.report.replayed_out += 1;
        self.report.ended = now;
        let quote = Packet::parse(packet, packet.len() as u32).and_then(|ip| Quote::of(&ip));
        if let Some(quote) = quote {
            self.errors_sent.push(quote.kind);
            return None;
        }
        let captured = Captured {
            number: 0,
            time: now,
            ip: packet.to_vec(),
            cut: false,
        };
        let (_, _, segment) = tcp_segment(&captured)?;
        let lasts = now <= self.plan.capture_end.saturating_add(self.shift);
        if self.next_error > 0 && lasts && segment.sequence_len() > 0 {
            self.went_on += 1;
        }
        let was_reset = self.seen.reset;
        let peer_isn = self.peer_isn();
        self.seen.take(&segment, self.plan.ours_scaled, peer_isn);
        if segment.rst && !was_reset && !self.plan.must_reset {
            return Some(format!("differs: {}", Difference::Reset));
        }
        self.check_bytes(&segment)
    }

    fn peer_isn(&self) -> u32 {
        let mut played = self.plan.played.iter();
        let syn = played.find(|(_, segment)| segment.syn);
        syn.map_or(0, |(_, segment)| segment.seq)
    }

    /// Returns what is wrong with the bytes of the stack's segment, the first time.
    fn check_bytes(&mut self, segment: &Segment) -> Option<String> {
        if self.parted || segment.payload.is_empty() {
            return None;
        }
        let stream = self.seen.stream.as_ref()?;
        let from = stream.offset(segment.seq)? as usize;
        let expected = self.plan.our_bytes.get(from..).unwrap_or_default();
        let same = segment
            .payload
            .iter()
            .zip(expected)
            .take_while(|(a, b)| a == b);
        let same = same.count();
        if same == segment.payload.len() {
            return None;
        }
        self.parted = true;
        Some(format!("differs: its bytes from offset {} on", from + same))
    }

    /// Performs the application's actions that are due, and returns true if there were any.
    pub(super) fn application(&mut self, now: Duration, host: &mut impl Host) -> bool {
        if !self.opened {
            return false;
        }
        let before = self.received.len();
        let _: Reading = host.read(self.number, &mut self.received);
        let mut busy = self.received.len() > before;
        while let Some(step) = self.due_step(now) {
            match step.action {
                Action::WriteTo(end) => {
                    let from = self.written as usize;
                    let bytes = self.plan.our_bytes.get(from..end as usize);
                    let taken = host.write(self.number, bytes.unwrap_or_default());
                    self.written += taken as u64;
                    busy |= taken > 0;
                    if self.written < end {
                        break;
                    }
                }
                Action::ShutDown => host.shut_down(self.number),
                Action::Close => host.close(self.number),
                Action::Abort => host.abort(self.number),
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

    fn due_step(&self, now: Duration) -> Option<Step> {
        let step = self.next_step()?;
        (step.at + self.shift <= now).then_some(*step)
    }

    /// Names it if the captured host was silent after an error that ended its session, and the stack was not.
    fn check_went_on(&mut self) {
        let last = self.next_error.checked_sub(1);
        let Some(error) = last.and_then(|last| self.plan.errors.played.get(last)) else {
            return;
        };
        let ours = self.plan.ours();
        let mut segments = self.plan.session.segments.iter();
        let captured = segments.any(|segment| {
            segment.direction == ours && segment.number > error.number && segment.sequence_len() > 0
        });
        if !captured && self.went_on > 0 {
            self.report.differences.push(Difference::WentOn {
                number: error.number,
                replayed: self.went_on,
            });
        }
    }

    /// Returns the report, with the verdict.
    pub(super) fn finish(mut self, strict: bool, has_application: bool) -> Report {
        let peer_isn = self.peer_isn();
        if !has_application {
            // What the host acknowledged has reached its application, as far as anybody can see.
            let upto = self
                .seen
                .acked
                .map_or(0, |ack| ack.wrapping_sub(peer_isn).wrapping_sub(1));
            let all = &self.plan.peer_bytes;
            self.received = all.get(..upto as usize).unwrap_or(all).to_vec();
        }
        self.plan
            .errors
            .compare(&self.errors_sent, &mut self.report);
        self.check_went_on();
        verdict::tcp(
            &mut self.report,
            &self.plan,
            &self.seen,
            &self.received,
            peer_isn,
        );
        if strict {
            verdict::strict(&mut self.report, &self.plan, &self.seen, peer_isn);
        }
        let sent = self.seen.stream.as_ref().map_or(0, Stream::distinct);
        self.report.peer_bytes = self.received.len() as u64;
        self.report.our_bytes = sent;
        self.report.resent_bytes = self.seen.payload_bytes.saturating_sub(sent);
        self.report
    }
}
