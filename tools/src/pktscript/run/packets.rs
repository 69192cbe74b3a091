//! Packets: those that arrive at the stack, and those that it must send.

use std::net::SocketAddr;

use super::clock::Span;
use super::{Failure, Runner, Step, Stop, UnderTest, seconds};
use crate::pktscript::ast::{Body, Packet, Position, Quote, Tcp};
use crate::pktscript::settings::Profile;
use crate::pktscript::wire::compare::{self, Comparison, Difference, Rules};
use crate::pktscript::wire::flow::Flow;
use crate::pktscript::wire::read::{Seen, SeenBody, read};
use crate::pktscript::wire::{build, bytes_at, icmp, show};

const FIN: u16 = 0x01;
const SYN: u16 = 0x02;
const PSH: u16 = 0x08;
const ACK: u16 = 0x10;

/// Returns the place in its stream at which the payload of a segment begins.
fn stream_offset(segment: &Tcp) -> u32 {
    if segment.flags & SYN != 0 {
        // Its number is the script's initial one, whatever that is.
        return 0;
    }
    segment.seq.wrapping_sub(1)
}

impl Runner<'_> {
    /// Takes the packets that the host has sent.
    pub(super) fn collect(&mut self) {
        let Some(host) = self.host.as_mut() else {
            return;
        };
        while let Some((time, bytes)) = host.packet() {
            if let Some(seen) = read(&bytes) {
                self.waiting.push_back((time, seen));
            }
        }
    }

    /// Returns the flow that a packet of the script is about; makes it for the first one that arrives.
    fn flow_for(&mut self, packet: &Packet) -> &mut Flow {
        let is_new = match self.under_test {
            UnderTest::Listening | UnderTest::Nothing => true,
            UnderTest::Connecting | UnderTest::Flow => self.flow.is_none(),
        };
        if is_new {
            let port = packet.ports.map_or(self.next_port, |(from, _)| from);
            self.next_port += 1;
            let mut local = self.settings.bind_address();
            if let Some((_, to)) = packet.ports {
                local.set_port(to);
            }
            let remote = SocketAddr::new(self.settings.remote, port);
            self.flow = Some(Flow::new(local, remote));
            self.under_test = UnderTest::Flow;
        }
        let (local, remote) = (
            self.settings.bind_address(),
            self.settings.connect_address(),
        );
        self.flow.get_or_insert_with(|| Flow::new(local, remote))
    }

    /// Delivers a packet of the script.
    pub(super) fn inject(&mut self, at: Position, packet: &Packet) -> Step {
        self.check_supported(at, packet)?;
        let built = self.build(packet);
        let bytes = match built {
            Ok(bytes) => bytes,
            Err(what) if what.starts_with("a valid md5") => {
                return Err(Stop::Unsupported(at, "TCP-MD5".to_owned()));
            }
            Err(what) => return self.failure(at, what),
        };
        let now = self.now();
        self.note(format!("{} {}", seconds(now), show::packet(packet)));
        let Some(host) = self.host.as_mut() else {
            return Ok(());
        };
        let delivered = host.deliver(&bytes);
        self.collect();
        match delivered {
            Ok(()) => Ok(()),
            Err(what) => self.failure(at, what),
        }
    }

    fn check_supported(&self, at: Position, packet: &Packet) -> Step {
        if let Some(name) = &packet.encapsulation {
            return Err(Stop::Unsupported(at, format!("{name} around a packet")));
        }
        if packet.udp_tunnel.is_some() {
            return Err(Stop::Unsupported(at, "TCP in UDP".to_owned()));
        }
        Ok(())
    }

    fn build(&mut self, packet: &Packet) -> Result<Vec<u8>, String> {
        let flow = self.flow_for(packet);
        let (mut local, mut remote) = (flow.local, flow.remote);
        if let Some((from, to)) = packet.ports {
            remote.set_port(from);
            local.set_port(to);
        }
        match &packet.body {
            Body::Tcp(segment) => {
                if segment.flags & SYN != 0 && !flow.knows_remote_isn() {
                    flow.set_remote_isn(segment.seq);
                }
                let wire = flow.inbound(segment)?;
                let payload = bytes_at(stream_offset(segment), segment.len.into());
                build::tcp(remote, local, &packet.ip, &wire, &payload)
            }
            Body::Udp(len) => {
                let payload = bytes_at(0, (*len).into());
                build::udp(remote, local, &packet.ip, &payload)
            }
            Body::Icmp(message) => {
                let seq = match message.quote {
                    Quote::Tcp(seq, _) => flow.quoted(seq),
                    Quote::Udp(_) | Quote::Raw(_) => 0,
                };
                icmp::build(message, &packet.ip, local, remote, seq)
            }
        }
    }

    /// Returns true if a packet belongs to the socket under test.
    fn concerns(&mut self, seen: &Seen) -> bool {
        if let Some(flow) = &self.flow {
            return match seen.body {
                SeenBody::Tcp { .. } | SeenBody::Udp { .. } => {
                    // Answers to another port of the script's end are of interest if the script names ports.
                    flow.local == seen.source() && flow.remote.ip() == seen.dst
                }
                _ => seen.dst == flow.remote.ip(),
            };
        }
        let connects = self.under_test == UnderTest::Connecting;
        let is_first = match &seen.body {
            SeenBody::Tcp { header, .. } => connects && header.flags & (SYN | ACK) == SYN,
            SeenBody::Udp { .. } => true,
            _ => false,
        };
        let to = self.settings.connect_address();
        if is_first && seen.destination() == to {
            self.flow = Some(Flow::new(seen.source(), to));
            self.under_test = UnderTest::Flow;
            return true;
        }
        false
    }

    /// Returns the next packet of the socket under test, waiting until `deadline`.
    fn next(&mut self, at: Position, deadline: i64) -> Step<Option<(i64, Seen)>> {
        loop {
            self.collect();
            while let Some((time, seen)) = self.waiting.pop_front() {
                if self.concerns(&seen) {
                    return Ok(Some((time, seen)));
                }
            }
            self.finish_blocked(false)?;
            let blocks = self.blocked.is_some();
            let Some(host) = self.host.as_mut() else {
                return Ok(None);
            };
            if host.now() >= deadline {
                return Ok(None);
            }
            if let Err(what) = host.wait(deadline, true, blocks) {
                return self.failure(at, what);
            }
        }
    }

    /// Waits for a packet that the stack must send, and compares it.
    pub(super) fn expect(&mut self, at: Position, packet: &Packet, span: Span) -> Step {
        self.check_supported(at, packet)?;
        let deadline = span.deadline().max(self.now());
        let Some((time, seen)) = self.next(at, deadline)? else {
            return self.nothing_came(at, packet, span);
        };
        let (seen, segment) = self.whole(at, packet, seen, span)?;
        let shown = show::seen(&seen, segment.as_ref());
        self.note(format!("{} {shown}", seconds(time)));
        let rules = self.rules();
        let mut comparison = compare::packets(packet, &seen, segment.as_ref(), rules);
        self.check_payload(&seen, segment.as_ref(), &mut comparison);
        for what in &comparison.tolerated {
            self.notes.insert((*what).to_owned());
        }
        if !comparison.differences.is_empty() {
            let failure = Failure {
                at,
                what: format!("expected {}, got {shown}", show::packet(packet)),
                differences: comparison.differences,
            };
            return self.differs(failure);
        }
        if self.is_early_ack(packet, span, time) {
            self.notes.insert(
                "acknowledgments that come before the other system's delay is over".to_owned(),
            );
        } else if let Some(wrong) = span.check(time) {
            let what = format!("{}: {wrong}", show::packet(packet));
            let differences = Vec::new();
            return self.differs(Failure {
                at,
                what,
                differences,
            });
        }
        Ok(())
    }

    /// Returns true for an acknowledgment that a script for FreeBSD expects after that system's delay, and that came
    /// earlier, but not before the event before: RFC 9293 section 3.8.6.3 only says how long it may be delayed.
    fn is_early_ack(&self, packet: &Packet, span: Span, time: i64) -> bool {
        let is_ack = matches!(&packet.body, Body::Tcp(tcp) if tcp.flags == ACK && tcp.len == 0);
        let before = self.before.map_or(0, |(time, _)| time);
        let is_early = before <= time && time < span.from;
        self.settings.profile == Profile::FreeBsd && is_ack && is_early
    }

    fn differs(&mut self, failure: Failure) -> Step {
        if self.settings.packets_are_optional {
            self.notes.insert(format!(
                "{}: {}, which the script permits",
                failure.at, failure.what
            ));
            return Ok(());
        }
        Err(Stop::Failed(failure))
    }

    /// Returns how closely packets are compared in this script.
    fn rules(&self) -> Rules {
        let is_freebsd = self.settings.profile == Profile::FreeBsd;
        Rules {
            any_option_order: is_freebsd,
            window_slack: if is_freebsd { self.settings.mss() } else { 0 },
            timestamp_ticks: self.settings.timestamp_tick_micros.map(|tick| {
                let tolerance = self.settings.tolerance_micros.max(0);
                u32::try_from(tolerance / tick.max(1)).unwrap_or(u32::MAX)
            }),
        }
    }

    fn nothing_came(&mut self, at: Position, packet: &Packet, span: Span) -> Step {
        let mut what = format!(
            "expected {} by {} s, but nothing came",
            show::packet(packet),
            seconds(span.deadline())
        );
        // What comes later helps to see why.
        let later = span.deadline().saturating_add(2_000_000);
        if let Ok(Some((time, seen))) = self.next(at, later) {
            let segment = self.translate(&seen, None);
            let shown = show::seen(&seen, segment.as_ref());
            what = format!("{what} until {shown} at {} s", seconds(time));
        }
        let differences = Vec::new();
        self.differs(Failure {
            at,
            what,
            differences,
        })
    }

    /// Returns a segment in the script's numbers.
    fn translate(&mut self, seen: &Seen, expected: Option<&Tcp>) -> Option<Tcp> {
        match (&seen.body, self.flow.as_mut()) {
            (SeenBody::Tcp { header, .. }, Some(flow)) => Some(flow.outbound(header, expected)),
            (SeenBody::Tcp { header, .. }, None) => Some(header.clone()),
            _ => None,
        }
    }

    /// Returns a packet with its segment in the script's numbers. Unless segments are compared one by one, those that
    /// follow are joined to it if the script expects them as one, and what is beyond is left for the next event.
    fn whole(
        &mut self,
        at: Position,
        packet: &Packet,
        mut seen: Seen,
        span: Span,
    ) -> Step<(Seen, Option<Tcp>)> {
        let Body::Tcp(expected) = &packet.body else {
            return Ok((seen, None));
        };
        let Some(mut segment) = self.translate(&seen, Some(expected)) else {
            return Ok((seen, None));
        };
        if self.settings.strict_segments || expected.len == 0 || segment.seq != expected.seq {
            return Ok((seen, Some(segment)));
        }
        while segment.len > 0 && segment.len < expected.len && segment.flags & (SYN | FIN) == 0 {
            let Some((time, more)) = self.next(at, span.deadline())? else {
                break;
            };
            let follows = self.translate(&more, Some(expected)).filter(|next| {
                next.seq == segment.seq.wrapping_add(segment.len.into()) && next.len > 0
            });
            let Some(next) = follows else {
                self.waiting.push_front((time, more));
                break;
            };
            self.notes
                .insert("segments joined that the script has as one".to_owned());
            join(&mut seen, &mut segment, &more, &next);
        }
        if segment.len > expected.len {
            let rest = split(&mut seen, &mut segment, expected);
            let now = self.now();
            self.waiting.push_front((now, rest));
            self.notes
                .insert("a segment split that the script has as several".to_owned());
        }
        Ok((seen, Some(segment)))
    }

    /// Compares the payload with the pattern of all streams.
    fn check_payload(&self, seen: &Seen, segment: Option<&Tcp>, comparison: &mut Comparison) {
        let (SeenBody::Tcp { payload, .. }, Some(segment)) = (&seen.body, segment) else {
            return;
        };
        if !self.is_patterned
            || comparison
                .differences
                .iter()
                .any(|one| one.field != "window")
        {
            return;
        }
        let wanted = bytes_at(stream_offset(segment), payload.len());
        let wrong = wanted.iter().zip(payload).position(|(a, b)| a != b);
        if let Some(at) = wrong {
            comparison.differences.push(Difference::new(
                "payload",
                format!("the bytes that were written, from {}", segment.seq),
                format!("other bytes from byte {at} of the segment on"),
            ));
        }
    }
}

/// Appends a segment to the one before it.
fn join(seen: &mut Seen, segment: &mut Tcp, more: &Seen, next: &Tcp) {
    segment.len = segment.len.saturating_add(next.len);
    segment.flags |= next.flags & (PSH | FIN);
    segment.ack = next.ack;
    segment.window = next.window;
    segment.options.clone_from(&next.options);
    if let (
        SeenBody::Tcp {
            header, payload, ..
        },
        SeenBody::Tcp {
            payload: behind, ..
        },
    ) = (&mut seen.body, &more.body)
    {
        header.len = segment.len;
        header.flags |= next.flags & (PSH | FIN);
        payload.extend_from_slice(behind);
    }
}

/// Cuts a segment to the length that is expected. Returns the rest as a packet.
fn split(seen: &mut Seen, segment: &mut Tcp, expected: &Tcp) -> Seen {
    let len = expected.len;
    let mut rest = seen.clone();
    if let SeenBody::Tcp {
        header, payload, ..
    } = &mut rest.body
    {
        *payload = payload.split_off(usize::from(len).min(payload.len()));
        header.seq = header.seq.wrapping_add(len.into());
        header.len = header.len.saturating_sub(len);
    }
    if let SeenBody::Tcp { payload, .. } = &mut seen.body {
        payload.truncate(len.into());
    }
    segment.len = len;
    // Where the pieces of a large segment end is not told by these flags.
    segment.flags = segment.flags & !(PSH | FIN) | expected.flags & (PSH | FIN);
    rest
}
