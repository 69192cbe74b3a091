//! The records of a pcap file, in all dialects: both byte orders, microseconds and nanoseconds, longer
//! record headers, and lengths in the other order as very old versions wrote them.

use std::io::Read;

use pcap_parser::{PcapHeader, parse_pcap_header};

use super::link::Link;
use super::reader::{End, Head, MAX_FRAME_BYTES, read_exact};

const HEADER_BYTES: u64 = 20;

/// Magic numbers of the dialect whose record headers are 8 bytes longer.
const MODIFIED: [[u8; 4]; 2] = [[0xa1, 0xb2, 0xcd, 0x34], [0x34, 0xcd, 0xb2, 0xa1]];

/// The header of a pcap file.
#[derive(Debug)]
pub(super) struct Records {
    big_endian: bool,
    tick_nanos: i128,
    record_bytes: usize,
    link: Link,
    version: (u16, u16),
}

impl Records {
    /// Reads the header after its magic number. `None` as the error means that this is no pcap file.
    pub(super) fn new(magic: &[u8], bytes: &mut dyn Read) -> Result<Self, Option<String>> {
        let magic: [u8; 4] = magic.try_into().map_err(|_| None)?;
        let modified = MODIFIED.contains(&magic);
        let plain = match magic {
            // Parsed as the plain dialect, whose file header is the same.
            [0xa1, 0xb2, 0xcd, 0x34] => [0xa1, 0xb2, 0xc3, 0xd4],
            [0x34, 0xcd, 0xb2, 0xa1] => [0xd4, 0xc3, 0xb2, 0xa1],
            other => other,
        };
        let mut header = plain.to_vec();
        // Only four bytes are known to be there; a foreign file of four bytes is no cut capture.
        let known = matches!(
            plain,
            [0xa1, 0xb2, 0xc3, 0xd4]
                | [0xd4, 0xc3, 0xb2, 0xa1]
                | [0xa1, 0xb2, 0x3c, 0x4d]
                | [0x4d, 0x3c, 0xb2, 0xa1]
        );
        if !known {
            return Err(None);
        }
        bytes
            .take(HEADER_BYTES)
            .read_to_end(&mut header)
            .map_err(|error| Some(error.to_string()))?;
        let Ok((_, header)) = parse_pcap_header(&header) else {
            return Err(Some("the file ends in its header".to_owned()));
        };
        Ok(Self {
            big_endian: plain[0] == 0xa1,
            tick_nanos: if header.is_nanosecond_precision() {
                1
            } else {
                1_000
            },
            record_bytes: if modified { 24 } else { 16 },
            link: Link::from_word(word_of(&header)),
            version: (header.version_major, header.version_minor),
        })
    }

    /// Reads the next record into `buffer`.
    pub(super) fn next(&mut self, bytes: &mut dyn Read, buffer: &mut Vec<u8>) -> Result<Head, End> {
        let mut head = [0; 24];
        let head = &mut head[..self.record_bytes];
        let read = read_up_to(bytes, head)?;
        if read == 0 {
            return Err(End::Complete);
        }
        if read < head.len() {
            return Err(End::Cut);
        }
        let (seconds, ticks) = (self.word(head, 0), self.word(head, 4));
        let (mut len, mut wire_len) = (self.word(head, 8), self.word(head, 12));
        let swapped = match self.version {
            (major, minor) if major < 2 || (major == 2 && minor < 3) || major == 543 => true,
            (2, 3) => len > wire_len,
            _ => false,
        };
        if swapped {
            (len, wire_len) = (wire_len, len);
        }
        if len > MAX_FRAME_BYTES {
            return Err(End::Damaged(format!("a packet of {len} bytes")));
        }
        buffer.clear();
        read_exact(bytes, buffer, len as usize)?;
        Ok(Head {
            interface: 0,
            link: self.link,
            time_nanos: Some(
                i128::from(seconds) * 1_000_000_000 + i128::from(ticks) * self.tick_nanos,
            ),
            wire_len: wire_len.max(len),
            comment: None,
            at: 0,
            len: len as usize,
        })
    }

    fn word(&self, bytes: &[u8], at: usize) -> u32 {
        let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
        let four: [u8; 4] = four.unwrap_or_default();
        if self.big_endian {
            u32::from_be_bytes(four)
        } else {
            u32::from_le_bytes(four)
        }
    }
}

fn word_of(header: &PcapHeader) -> u32 {
    header.network.0 as u32
}

/// Reads until `into` is full or the file ends. Returns the number of bytes.
pub(super) fn read_up_to(bytes: &mut dyn Read, into: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(room) = into.get_mut(filled..).filter(|room| !room.is_empty()) {
        match bytes.read(room) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
