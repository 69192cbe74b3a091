//! Reads a recording, block by block, in bounded memory, whatever the file is.

use std::io::{self, Read};
use std::time::Duration;

use netstack::base::Instant;
use netstack::device::observe::Direction;
use pcap_file::pcapng::PcapNgParser;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::{ENHANCED_PACKET_BLOCK, SECTION_HEADER_BLOCK};

use super::decisions::{Decision, Header};
use super::{BLOCK, FORMAT, MAX_STATE_BYTES};

/// Says that the numbers of a section are little-endian.
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;

/// Longest block: a configuration file of the largest size, or a packet with its options.
const MAX_BLOCK_BYTES: usize = 2 << 20;

/// A part of a recording.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    Decision(Decision),
    Packet(RecordedPacket),
}

/// A packet of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordedPacket {
    pub(crate) direction: Direction,
    pub(crate) at: Instant,
    pub(crate) bytes: Vec<u8>,
}

/// The reason why a file cannot be read on. Each is a part of a sentence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("cannot be read: {}", crate::file::reason(.0))]
    Io(io::Error),
    #[error("is no recording: {0}")]
    Foreign(&'static str),
    #[error(
        "is a recording of form {0}, and this program reads form {FORMAT}: use the program that recorded it"
    )]
    Version(u32),
    #[error("is damaged at byte {at}: {what}")]
    Damaged { at: u64, what: String },
    #[error("is damaged: {0}")]
    Disorder(String),
    #[error("begins with a state that cannot be restored: {0}")]
    State(String),
}

/// The rest of a recording.
pub(crate) struct Reader<R> {
    source: R,
    /// Knows how the section is written. It sees the section's header and packets, nothing that it would keep.
    parser: PcapNgParser,
    /// The block that was read last, and the place of its beginning and end in the file.
    block: Vec<u8>,
    at: u64,
    end: u64,
    origin: Duration,
    is_cut: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the beginning of a recording.
    ///
    /// # Errors
    /// The file is none.
    pub(crate) fn open(mut source: R) -> Result<(Self, Header), ReadError> {
        let mut block = Vec::new();
        let begun = (&mut source).take(12).read_to_end(&mut block);
        begun.map_err(ReadError::Io)?;
        let is_ours = block.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a])
            && block.ends_with(&BYTE_ORDER_MAGIC.to_le_bytes());
        if block.len() < 12 || !is_ours {
            return Err(ReadError::Foreign("it does not begin as one"));
        }
        let rest = length_of(&block).saturating_sub(12).min(MAX_BLOCK_BYTES);
        let read = (&mut source).take(rest as u64).read_to_end(&mut block);
        read.map_err(ReadError::Io)?;
        let parser = PcapNgParser::new(&block)
            .map_err(|_| ReadError::Foreign("its first block is damaged"))?
            .1;
        let mut reader = Self {
            source,
            parser,
            at: 0,
            end: block.len() as u64,
            block,
            origin: Duration::ZERO,
            is_cut: false,
        };
        let header = reader.read_header()?;
        reader.origin = Duration::from_nanos(header.origin_nanos);
        Ok((reader, header))
    }

    /// Reads the checkpoint that follows the header, if the header names one.
    ///
    /// # Errors
    /// It is not all there.
    pub(crate) fn read_state(&mut self, header: &Header) -> Result<Option<Vec<u8>>, ReadError> {
        let bytes = header.part.map_or(0, |part| part.state_bytes);
        if bytes == 0 {
            return Ok(None);
        }
        let disorder = |what: &str| ReadError::Disorder(what.to_owned());
        if bytes > MAX_STATE_BYTES {
            return Err(disorder("no part begins with a state of that many bytes"));
        }
        let mut state = Vec::new();
        while (state.len() as u64) < bytes {
            match self.next()? {
                Some(Part::Decision(Decision::State(piece))) if !piece.is_empty() => {
                    state.extend(piece);
                }
                Some(_) => return Err(disorder("a piece of the state is missing")),
                None => return Err(ReadError::Foreign("it ends before its state does")),
            }
        }
        match state.len() as u64 == bytes {
            true => Ok(Some(state)),
            false => Err(disorder("the state is longer than the header says")),
        }
    }

    fn read_header(&mut self) -> Result<Header, ReadError> {
        match self.next()? {
            Some(Part::Decision(Decision::Header(header))) if header.format == FORMAT => {
                Ok(*header)
            }
            Some(Part::Decision(Decision::Header(header))) => {
                Err(ReadError::Version(header.format))
            }
            Some(_) => Err(ReadError::Foreign("it is a capture without decisions")),
            None => Err(ReadError::Foreign("it ends before its header does")),
        }
    }

    /// Returns true if the file was cut off in the middle of a block.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Returns the next part; `None` at the end of the file.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub(crate) fn next(&mut self) -> Result<Option<Part>, ReadError> {
        while self.read_block()? {
            let Self { parser, block, .. } = self;
            let part = match block.first_chunk().map(|kind| u32::from_le_bytes(*kind)) {
                Some(BLOCK) => body_of(block).and_then(decision),
                Some(ENHANCED_PACKET_BLOCK) => packet(parser, block, self.origin),
                Some(SECTION_HEADER_BLOCK) => Err("a second section begins".to_owned()),
                // Others may have added what they like.
                _ => continue,
            };
            let at = self.at;
            return match part {
                Ok(part) => Ok(Some(part)),
                Err(what) => Err(ReadError::Damaged { at, what }),
            };
        }
        Ok(None)
    }

    /// Reads a block. Returns false at the end of the file, which may lie in the middle of a block.
    fn read_block(&mut self) -> Result<bool, ReadError> {
        self.at = self.end;
        self.block.clear();
        let begun = (&mut self.source).take(12).read_to_end(&mut self.block);
        if begun.map_err(ReadError::Io)? < 12 {
            self.is_cut = !self.block.is_empty();
            return Ok(false);
        }
        let length = length_of(&self.block);
        if !(12..=MAX_BLOCK_BYTES).contains(&length) || !length.is_multiple_of(4) {
            return Err(ReadError::Damaged {
                at: self.at,
                what: format!("no block has {length} bytes"),
            });
        }
        let rest = length as u64 - 12;
        let read = (&mut self.source).take(rest).read_to_end(&mut self.block);
        self.is_cut = (read.map_err(ReadError::Io)? as u64) < rest;
        self.end += length as u64;
        Ok(!self.is_cut)
    }
}

/// Returns the length that the beginning of a block gives.
fn length_of(block: &[u8]) -> usize {
    let field = block.get(4..8).and_then(|field| field.try_into().ok());
    field.map_or(0, u32::from_le_bytes) as usize
}

/// Returns the content of a block whose length is given at both ends.
fn body_of(block: &[u8]) -> Result<&[u8], String> {
    let (front, behind) = block.split_last_chunk::<4>().unwrap_or((block, &[0; 4]));
    if u32::from_le_bytes(*behind) as usize != block.len() {
        return Err("a block has two lengths".to_owned());
    }
    Ok(front.get(8..).unwrap_or_default())
}

fn decision(body: &[u8]) -> Result<Part, String> {
    Ok(Part::Decision(Decision::decode(body)?))
}

fn packet(parser: &mut PcapNgParser, block: &[u8], origin: Duration) -> Result<Part, String> {
    let (_, block) = parser
        .next_block(block)
        .map_err(|error| error.to_string())?;
    let block = block.into_enhanced_packet();
    let packet = block.and_then(|packet| recorded(&packet, origin));
    packet
        .map(Part::Packet)
        .ok_or_else(|| "a packet is older than the recording".to_owned())
}

fn recorded(packet: &EnhancedPacketBlock<'_>, origin: Duration) -> Option<RecordedPacket> {
    let at = packet.timestamp.checked_sub(origin)?;
    let is_out = |option: &EnhancedPacketOption<'_>| matches!(option, EnhancedPacketOption::Flags(flags) if flags & 3 == 2);
    Some(RecordedPacket {
        direction: match packet.options.iter().any(is_out) {
            true => Direction::Out,
            false => Direction::In,
        },
        at: Instant::from_nanos(u64::try_from(at.as_nanos()).ok()?),
        bytes: packet.data.to_vec(),
    })
}
