//! The state of the stack as far as its packets have shown it.

use crate::capture::packet::Options;
use crate::capture::{Segment, Stream};

/// The segments that the stack has sent in one session.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Its bytes, from its SYN on.
    pub(super) stream: Option<Stream>,
    /// Offset after the last byte sent; a FIN counts as one byte.
    pub(super) sent_to: u64,
    /// Last timestamp.
    pub(super) timestamp: u32,
    /// The peer's sequence number at the right edge of its window.
    pub(super) window_to: Option<u32>,
    /// Highest acknowledgment.
    pub(super) acked: Option<u32>,
    /// The options of its SYN.
    pub(super) options: Option<Options>,
    /// The flags for ECN in its SYN.
    pub(super) zero_window: bool,
    /// True if it has moved the edge of its window back.
    pub(super) shrunk: bool,
    pub(super) reset: bool,
    pub(super) payload_bytes: u64,
    /// Flags, offset, length and acknowledgment of each segment, for a strict comparison.
    pub(super) segments: Vec<Shape>,
}

/// The fields that a strict comparison looks at, relative to the initial sequence numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shape {
    pub(super) letters: [bool; 4],
    pub(super) seq: u32,
    pub(super) len: usize,
    pub(super) ack: u32,
}

impl Shape {
    pub(super) fn of(segment: &Segment, our_isn: u32, peer_isn: u32) -> Self {
        Self {
            letters: [segment.syn, segment.fin, segment.rst, segment.has_ack],
            seq: segment.seq.wrapping_sub(our_isn),
            len: segment.payload.len(),
            ack: if segment.has_ack {
                segment.ack.wrapping_sub(peer_isn)
            } else {
                0
            },
        }
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let letters: String = ['S', 'F', 'R', '.']
            .into_iter()
            .zip(self.letters)
            .filter_map(|(letter, set)| set.then_some(letter))
            .collect();
        write!(
            f,
            "[{letters}] seq {}, ack {}, length {}",
            self.seq, self.ack, self.len
        )
    }
}

impl Seen {
    /// Takes a segment of the stack. `scaled`: whether the peer lets it scale its windows.
    pub(super) fn take(&mut self, segment: &Segment, scaled: bool, peer_isn: u32) {
        if let Some((value, _)) = segment.options.timestamps {
            self.timestamp = value;
        }
        self.reset |= segment.rst;
        if segment.syn && self.stream.is_none() {
            self.stream = Some(Stream::new(segment.seq));
            self.options = Some(segment.options);
        }
        let our_isn = self.stream.as_ref().map_or(segment.seq, Stream::isn);
        self.segments.push(Shape::of(segment, our_isn, peer_isn));
        if segment.rst {
            return;
        }
        self.take_window(segment, scaled);
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

    fn take_window(&mut self, segment: &Segment, scaled: bool) {
        if !segment.has_ack {
            return;
        }
        let later = |a: u32, b: u32| a.wrapping_sub(b) < 1 << 31;
        if self.acked.is_none_or(|acked| later(segment.ack, acked)) {
            self.acked = Some(segment.ack);
        }
        let scale = match &self.options {
            Some(options) if scaled && !segment.syn => options.window_scale.unwrap_or(0).min(14),
            _ => 0,
        };
        let edge = segment.ack.wrapping_add(u32::from(segment.window) << scale);
        self.zero_window |= segment.window == 0;
        // A scaled window is rounded down: less than one unit is no shrinking.
        let lost = self.window_to.map_or(0, |before| before.wrapping_sub(edge));
        self.shrunk |= !segment.syn && lost >> scale > 0 && lost < 1 << 31;
        if lost == 0 || lost >= 1 << 31 {
            self.window_to = Some(edge);
        }
    }
}
