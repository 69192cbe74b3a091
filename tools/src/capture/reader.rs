//! Reads a capture file, pcap or pcapng, one frame after the other, in bounded memory.
//!
//! A file that ends in the middle of a frame, and frames of which only the first bytes were kept, are
//! counted in [`Warnings`]. What contradicts itself ends the file with an error; all frames before it
//! are returned.

use std::fmt;
use std::io::{self, Read};

use super::blocks::Blocks;
use super::link::Link;
use super::records::Records;
use super::{CaptureError, Input};

const PCAPNG_MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// Most link types that are named among the warnings.
const MAX_UNSUPPORTED: usize = 8;

/// Largest frame that is read, in bytes. Larger ones only appear in damaged files.
pub(super) const MAX_FRAME_BYTES: u32 = 16 << 20;

/// One captured frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// Number of the frame in the file, from 1, as capture viewers show it.
    pub number: u64,
    /// Number of its interface in the section, from 0.
    pub interface: u32,
    /// The link type of its interface.
    pub link: Link,
    /// Time of the capture in nanoseconds since the epoch; `None` if the file has none for it.
    pub time_nanos: Option<i128>,
    /// Bytes that it had on the wire.
    pub wire_len: u32,
    /// The bytes that were captured.
    pub data: &'a [u8],
    /// Its comment, if the file has one.
    pub comment: Option<&'a str>,
}

/// Warnings about a file that can be used all the same.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Warnings {
    /// Frames of which only the first bytes were captured.
    pub cut_frames: u64,
    /// The file ends in the middle of the frame after the last one.
    pub cut_end: bool,
    /// Frames with a link type that is not supported, by link type, each with its count.
    pub unsupported: Vec<(Link, u64)>,
}

impl Warnings {
    /// Returns one sentence for each kind of warning.
    pub fn sentences(&self, name: &str) -> Vec<String> {
        let mut all = Vec::new();
        if self.cut_end {
            all.push(format!(
                "{name}: the file ends in the middle of a packet, which is left out"
            ));
        }
        if self.cut_frames > 0 {
            all.push(format!(
                "{name}: of {} packets only the first bytes were captured (tcpdump -s 0 captures all)",
                self.cut_frames
            ));
        }
        for (link, count) in &self.unsupported {
            all.push(format!(
                "{name}: {count} packets have link type {}, which is not decoded",
                link.name()
            ));
        }
        all
    }
}

/// The format of the file.
#[derive(Debug)]
enum Format {
    Pcap(Records),
    Pcapng(Blocks),
}

/// The fields of the next frame, whose bytes are in the buffer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) interface: u32,
    pub(super) link: Link,
    pub(super) time_nanos: Option<i128>,
    pub(super) wire_len: u32,
    pub(super) comment: Option<String>,
    /// Where the frame lies in the buffer.
    pub(super) at: usize,
    pub(super) len: usize,
}

/// The reason why no more frames can be read.
#[derive(Debug)]
pub(super) enum End {
    /// The file is complete.
    Complete,
    /// The file ends in the middle of a frame.
    Cut,
    /// The file contradicts itself.
    Damaged(String),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            Self::Cut
        } else {
            Self::Damaged(error.to_string())
        }
    }
}

/// A capture file that is being read.
pub struct Reader {
    name: String,
    bytes: Box<dyn Read>,
    format: Format,
    buffer: Vec<u8>,
    head: Option<Head>,
    number: u64,
    ended: bool,
    warnings: Warnings,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("name", &self.name)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// Reads the header of the file.
    ///
    /// # Errors
    /// Returns an error if this is no capture, or one that ends in its header.
    pub fn new(input: Input) -> Result<Self, CaptureError> {
        let Input { name, mut bytes } = input;
        let mut magic = Vec::new();
        let read = (&mut bytes).take(4).read_to_end(&mut magic);
        if let Err(source) = read {
            return Err(CaptureError::Open { path: name, source });
        }
        let format = if magic == PCAPNG_MAGIC {
            Ok(Format::Pcapng(Blocks::default()))
        } else {
            Records::new(&magic, &mut bytes).map(Format::Pcap)
        };
        let format = match format {
            Ok(format) => format,
            Err(None) => return Err(CaptureError::NotACapture { path: name, magic }),
            Err(Some(what)) => {
                return Err(CaptureError::Damaged {
                    path: name,
                    number: 0,
                    what,
                });
            }
        };
        let bytes: Box<dyn Read> = match format {
            Format::Pcap(_) => bytes,
            Format::Pcapng(_) => Box::new(io::Cursor::new(magic).chain(bytes)),
        };
        Ok(Self {
            name,
            bytes,
            format,
            buffer: Vec::new(),
            head: None,
            number: 0,
            ended: false,
            warnings: Warnings::default(),
        })
    }

    /// Returns the next frame, `None` at the end of the file.
    ///
    /// # Errors
    /// Returns an error if the file contradicts itself; no frame follows it.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, CaptureError> {
        if self.ended {
            return Ok(None);
        }
        let next = match &mut self.format {
            Format::Pcap(records) => records.next(&mut self.bytes, &mut self.buffer),
            Format::Pcapng(blocks) => blocks.next(&mut self.bytes, &mut self.buffer),
        };
        let head = match next {
            Ok(head) => head,
            Err(end) => {
                self.ended = true;
                self.warnings.cut_end = matches!(end, End::Cut);
                return match end {
                    End::Complete | End::Cut => Ok(None),
                    End::Damaged(what) => Err(CaptureError::Damaged {
                        path: self.name.clone(),
                        number: self.number,
                        what,
                    }),
                };
            }
        };
        self.number += 1;
        self.warnings.cut_frames += u64::from((head.len as u64) < u64::from(head.wire_len));
        if !head.link.is_supported() {
            self.count_unsupported(head.link);
        }
        let head = self.head.insert(head);
        Ok(Some(Frame {
            number: self.number,
            interface: head.interface,
            link: head.link,
            time_nanos: head.time_nanos,
            wire_len: head.wire_len,
            data: self
                .buffer
                .get(head.at..head.at + head.len)
                .unwrap_or_default(),
            comment: head.comment.as_deref(),
        }))
    }

    fn count_unsupported(&mut self, link: Link) {
        let known = &mut self.warnings.unsupported;
        let at = known.iter().position(|(other, _)| other.kind == link.kind);
        let room = known.len() < MAX_UNSUPPORTED;
        match at.and_then(|at| known.get_mut(at)) {
            Some((_, count)) => *count += 1,
            None if room => known.push((link, 1)),
            None => {}
        }
    }

    /// Returns the number of frames read so far.
    pub fn frames(&self) -> u64 {
        self.number
    }

    /// Returns what was wrong with the file so far.
    pub fn warnings(&self) -> &Warnings {
        &self.warnings
    }

    /// Returns the name of the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns an error if every frame read so far had a link type that is not supported.
    pub fn check_supported(&self) -> Result<(), CaptureError> {
        match self.warnings.unsupported.as_slice() {
            [(link, count), ..] if self.number > 0 => {
                let all: u64 = self.warnings.unsupported.iter().map(|(_, n)| n).sum();
                if all == self.number {
                    return Err(CaptureError::LinkType {
                        path: self.name.clone(),
                        count: *count,
                        link: link.name(),
                    });
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Appends the next `len` bytes to `buffer`, which grows only with bytes that are there.
pub(super) fn read_exact(
    bytes: &mut dyn Read,
    buffer: &mut Vec<u8>,
    len: usize,
) -> Result<(), End> {
    let read = bytes.take(len as u64).read_to_end(buffer)?;
    if read < len {
        return Err(End::Cut);
    }
    Ok(())
}
