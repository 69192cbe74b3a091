//! Times: when an event begins, and whether something came in time.

use super::{Runner, Step, seconds};
use crate::pktscript::ast::{Action, Direction, Event, Position, Time};

/// Longest time that a packet at any time (`*`) is waited for, in microseconds.
pub(super) const ANY_TIME_MICROS: i64 = 600_000_000;

/// A span of time in which something must happen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) from: i64,
    /// `None`: at any time.
    pub(super) to: Option<i64>,
    pub(super) tolerance: i64,
}

impl Span {
    /// Returns the last moment at which it may happen.
    pub(super) fn deadline(&self) -> i64 {
        self.to
            .map_or(self.from + ANY_TIME_MICROS, |to| to + self.tolerance)
    }

    /// Returns what is wrong with a time.
    pub(super) fn check(&self, time: i64) -> Option<String> {
        let to = self.to?;
        if time >= self.from - self.tolerance && time <= to + self.tolerance {
            return None;
        }
        let wanted = if self.from == to {
            format!("at {} s", seconds(to))
        } else {
            format!("from {} to {} s", seconds(self.from), seconds(to))
        };
        Some(format!(
            "it came at {} s, but was expected {wanted} (tolerance {} s)",
            seconds(time),
            seconds(self.tolerance)
        ))
    }
}

/// Returns true for packets that arrive, whose times count from each other.
pub(super) fn is_anchored(event: &Event) -> bool {
    matches!(&event.action, Action::Packet(packet) if packet.direction == Direction::In)
}

impl Runner<'_> {
    pub(super) fn now(&mut self) -> i64 {
        self.host.as_mut().map_or(0, |host| host.now())
    }

    /// Returns the time to which the relative times of an event are added.
    pub(super) fn base(&mut self, event: &Event) -> i64 {
        match self.before {
            Some((time, true)) if is_anchored(event) => time,
            _ => self.now(),
        }
    }

    /// Returns when an event must happen.
    pub(super) fn span(&mut self, event: &Event) -> Span {
        let base = self.base(event);
        let (from, to) = match event.time {
            Time::Absolute(at) => (at, Some(at)),
            Time::Relative(after) => (base + after, Some(base + after)),
            Time::AbsoluteRange(from, to) => (from, Some(to)),
            Time::RelativeRange(from, to) => (base + from, Some(base + to)),
            Time::Any => (base, None),
        };
        let before = self.before.map_or(0, |(time, _)| time);
        Span {
            from,
            to,
            tolerance: self.settings.tolerance(from - before),
        }
    }

    /// Waits until the beginning of an event that the script makes happen.
    pub(super) fn wait_for(&mut self, at: Position, span: Span) -> Step {
        self.wait_until(at, span.from)?;
        let now = self.now();
        if now > span.from + span.tolerance {
            let text = format!(
                "this is to happen at {} s, but it is {} s already",
                seconds(span.from),
                seconds(now)
            );
            return self.failure(at, text);
        }
        Ok(())
    }

    /// Waits until a time, and looks after the call that blocks meanwhile.
    pub(super) fn wait_until(&mut self, at: Position, until: i64) -> Step {
        loop {
            let blocks = self.blocked.is_some();
            let Some(host) = self.host.as_mut() else {
                return Ok(());
            };
            let waited = host.wait(until, false, blocks);
            if let Err(what) = waited {
                return self.failure(at, what);
            }
            if !self.finish_blocked(false)? || self.now() >= until {
                self.collect();
                return Ok(());
            }
        }
    }
}
