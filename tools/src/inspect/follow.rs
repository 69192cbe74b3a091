//! The data of a flow, in order, as it becomes known.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::Seen;
use super::seq::after;
use crate::capture::packet::{Transport, flags};

/// Most bytes of one direction that wait for what comes before them.
const MAX_WAITING_BYTES: usize = 4 << 20;

/// How the data is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Style {
    /// Text; what cannot be shown is a dot.
    Text,
    /// Hexadecimal and text.
    Hex,
    /// The bytes themselves.
    Raw,
}

/// One direction of a TCP connection.
#[derive(Debug, Default)]
struct Side {
    next: Option<u32>,
    waiting: BTreeMap<u32, Vec<u8>>,
    waiting_bytes: usize,
    offset: u64,
    missing: u64,
}

/// The data of one flow, as far as it is known.
#[derive(Debug)]
pub struct Follow {
    style: Style,
    only: Option<usize>,
    sides: [Side; 2],
    last_side: Option<usize>,
    written: [u64; 2],
}

impl Follow {
    /// Follows both directions, or the one that side `only` sends.
    pub fn new(style: Style, only: Option<usize>) -> Self {
        Self {
            style,
            only,
            sides: [Side::default(), Side::default()],
            last_side: None,
            written: [0; 2],
        }
    }

    /// Takes a packet of the flow, sent by `side`. Writes the data that is in order now.
    pub fn take(&mut self, out: &mut dyn Write, seen: &Seen<'_>, side: usize) -> io::Result<()> {
        let mut result = Ok(());
        seen.with_transport(|transport| {
            result = match transport {
                Transport::Tcp(tcp) => {
                    if tcp.has(flags::RST) {
                        return;
                    }
                    let syn = u32::from(tcp.has(flags::SYN));
                    let start = tcp.seq.wrapping_add(syn);
                    if syn == 1 {
                        self.sides[side & 1].next.get_or_insert(start);
                    }
                    self.segment(out, side & 1, start, tcp.payload)
                }
                Transport::Udp(udp) => self.write(out, side & 1, udp.payload),
                Transport::Icmp(icmp) => {
                    self.write(out, side & 1, icmp.message.get(8..).unwrap_or_default())
                }
                _ => Ok(()),
            };
        });
        result
    }

    fn segment(
        &mut self,
        out: &mut dyn Write,
        side: usize,
        seq: u32,
        payload: &[u8],
    ) -> io::Result<()> {
        if payload.is_empty() {
            return Ok(());
        }
        let next = *self.sides[side].next.get_or_insert(seq);
        if after(seq, next) {
            let waiting = &mut self.sides[side];
            let known = waiting.waiting.get(&seq).map_or(0, Vec::len);
            if payload.len() > known {
                waiting.waiting_bytes += payload.len() - known;
                waiting.waiting.insert(seq, payload.to_vec());
            }
            if self.sides[side].waiting_bytes > MAX_WAITING_BYTES {
                self.skip(out, side)?;
            }
            return Ok(());
        }
        let known = next.wrapping_sub(seq) as usize;
        if let Some(new) = payload.get(known..).filter(|new| !new.is_empty()) {
            self.write(out, side, new)?;
            self.sides[side].next = Some(next.wrapping_add(new.len() as u32));
            self.drain(out, side)?;
        }
        Ok(())
    }

    /// Writes what is no longer behind a gap.
    fn drain(&mut self, out: &mut dyn Write, side: usize) -> io::Result<()> {
        loop {
            let waiting = &mut self.sides[side];
            let Some(next) = waiting.next else {
                return Ok(());
            };
            let first = waiting
                .waiting
                .keys()
                .copied()
                .find(|seq| !after(*seq, next));
            let Some(piece) = first.and_then(|seq| waiting.waiting.remove(&seq)) else {
                return Ok(());
            };
            waiting.waiting_bytes -= piece.len();
            let known = next.wrapping_sub(first.unwrap_or(next)) as usize;
            if let Some(new) = piece.get(known..).filter(|new| !new.is_empty()) {
                waiting.next = Some(next.wrapping_add(new.len() as u32));
                self.write(out, side, new)?;
            }
        }
    }

    /// Gives up a gap: goes on with the data nearest to it.
    fn skip(&mut self, out: &mut dyn Write, side: usize) -> io::Result<()> {
        let waiting = &mut self.sides[side];
        let Some(next) = waiting.next else {
            return Ok(());
        };
        let nearest = waiting.waiting.keys().copied();
        let Some(nearest) = nearest.min_by_key(|seq| seq.wrapping_sub(next)) else {
            return Ok(());
        };
        let missing = nearest.wrapping_sub(next);
        waiting.missing += u64::from(missing);
        waiting.offset += u64::from(missing);
        waiting.next = Some(nearest);
        if self.style != Style::Raw && self.only.is_none_or(|only| only == side) {
            self.turn(out, side)?;
            writeln!(out, "\n[{missing} bytes were not captured]")?;
        }
        self.drain(out, side)
    }

    /// Names the direction when it changes.
    fn turn(&mut self, out: &mut dyn Write, side: usize) -> io::Result<()> {
        if self.style != Style::Raw && self.last_side.replace(side) != Some(side) {
            let arrow = if side == 0 { "→" } else { "←" };
            writeln!(out, "\n{arrow}")?;
        }
        Ok(())
    }

    fn write(&mut self, out: &mut dyn Write, side: usize, bytes: &[u8]) -> io::Result<()> {
        if self.only.is_some_and(|only| only != side) {
            return Ok(());
        }
        self.turn(out, side)?;
        let offset = self.sides[side].offset;
        self.sides[side].offset += bytes.len() as u64;
        self.written[side] += bytes.len() as u64;
        match self.style {
            Style::Raw => out.write_all(bytes),
            Style::Text => {
                let text: Vec<u8> = bytes.iter().copied().map(shown).collect();
                out.write_all(&text)
            }
            Style::Hex => {
                for (row, chunk) in bytes.chunks(16).enumerate() {
                    let hex: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
                    let text: String = chunk
                        .iter()
                        .map(|byte| match byte {
                            b' '..=b'~' => char::from(*byte),
                            _ => '.',
                        })
                        .collect();
                    let at = offset + row as u64 * 16;
                    writeln!(out, "{at:08x}  {:<47}  {text}", hex.join(" "))?;
                }
                Ok(())
            }
        }
    }

    /// Writes what is still behind gaps. Returns the bytes that were never captured, and those that were
    /// written, by direction.
    pub fn finish(mut self, out: &mut dyn Write) -> io::Result<([u64; 2], [u64; 2])> {
        for side in [0, 1] {
            while !self.sides[side].waiting.is_empty() {
                let before = self.sides[side].waiting.len();
                self.skip(out, side)?;
                if self.sides[side].waiting.len() == before {
                    self.sides[side].waiting.pop_first();
                }
            }
        }
        let missing = [self.sides[0].missing, self.sides[1].missing];
        Ok((missing, self.written))
    }
}

fn shown(byte: u8) -> u8 {
    match byte {
        b' '..=b'~' | b'\n' | b'\t' => byte,
        b'\r' => b' ',
        _ => b'.',
    }
}
