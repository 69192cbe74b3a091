//! The blocks of a pcapng file: sections of either byte order, several interfaces with their clocks,
//! enhanced, simple and obsolete packet blocks. Other blocks are skipped, whatever their length.

use std::io::Read;

use pcap_parser::pcapng::{
    Block, EnhancedPacketBlock, InterfaceDescriptionBlock, PcapNGOption, parse_block_be,
    parse_block_le,
};

use super::link::Link;
use super::reader::{End, Head, MAX_FRAME_BYTES, read_exact};
use super::records::read_up_to;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// Most interfaces of a section: each is remembered.
const MAX_INTERFACES: usize = 65_536;
/// Longest comment that is kept, in bytes.
const MAX_COMMENT_BYTES: usize = 4_096;

const COMMENT: u16 = 1;
const IF_TSRESOL: u16 = 9;
const IF_FCSLEN: u16 = 13;
const IF_TSOFFSET: u16 = 14;

/// One interface of the section.
#[derive(Clone, Copy, Debug)]
struct Interface {
    link: Link,
    snap_len: u32,
    clock: Clock,
}

/// How ticks of an interface become time.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// A negative power of ten, or of two if the top bit is set.
    resolution: u8,
    offset_seconds: i64,
}

impl Clock {
    /// Returns the nanoseconds since the epoch. What is finer than a nanosecond is left out.
    fn nanos(self, ticks: u64) -> i128 {
        const SECOND: u128 = 1_000_000_000;
        let exponent = u32::from(self.resolution & 0x7f);
        let since = if self.resolution & 0x80 != 0 {
            (u128::from(ticks) * SECOND) >> exponent
        } else if exponent <= 9 {
            u128::from(ticks) * 10_u128.pow(9 - exponent)
        } else {
            // More than 38 digits are more than 128 bits: nothing is left.
            10_u128
                .checked_pow(exponent - 9)
                .map_or(0, |divisor| u128::from(ticks) / divisor)
        };
        // Neither sum nor product can overflow: both factors have 64 bits.
        since as i128 + i128::from(self.offset_seconds) * SECOND as i128
    }
}

/// The section that is being read.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    big_endian: bool,
    interfaces: Vec<Interface>,
}

impl Blocks {
    /// Reads up to the next packet, whose block is left in `buffer`.
    pub(super) fn next(&mut self, bytes: &mut dyn Read, buffer: &mut Vec<u8>) -> Result<Head, End> {
        loop {
            let mut start = [0; 12];
            let read = read_up_to(bytes, &mut start)?;
            if read == 0 {
                return Err(End::Complete);
            }
            if read < start.len() {
                return Err(End::Cut);
            }
            if self.u32(&start, 0) == SECTION {
                // A section says its byte order itself.
                self.big_endian = match start[8..] {
                    [0x1a, 0x2b, 0x3c, 0x4d] => true,
                    [0x4d, 0x3c, 0x2b, 0x1a] => false,
                    _ => return Err(End::Damaged("a section without its byte order".to_owned())),
                };
                self.interfaces.clear();
            }
            let (kind, len) = (self.u32(&start, 0), self.u32(&start, 4));
            if len < 12 || !len.is_multiple_of(4) {
                return Err(End::Damaged(format!("a block of {len} bytes")));
            }
            if !matches!(
                kind,
                INTERFACE | OBSOLETE_PACKET | SIMPLE_PACKET | ENHANCED_PACKET
            ) {
                let rest = u64::from(len) - 12;
                let skipped = std::io::copy(&mut bytes.take(rest), &mut std::io::sink())?;
                if skipped < rest {
                    return Err(End::Cut);
                }
                continue;
            }
            if len > MAX_FRAME_BYTES {
                return Err(End::Damaged(format!("a packet block of {len} bytes")));
            }
            self.read_block(bytes, buffer, &start, len as usize)?;
            if let Some(head) = self.take(kind, buffer)? {
                return Ok(head);
            }
        }
    }

    /// Reads the rest of a block behind its first bytes.
    fn read_block(
        &self,
        bytes: &mut dyn Read,
        buffer: &mut Vec<u8>,
        start: &[u8; 12],
        len: usize,
    ) -> Result<(), End> {
        buffer.clear();
        buffer.extend_from_slice(start);
        read_exact(bytes, buffer, len - start.len())?;
        let trailer = self.u32(buffer, len - 4) as usize;
        if trailer != len {
            return Err(End::Damaged(format!(
                "a block says {len} bytes at its start and {trailer} at its end"
            )));
        }
        Ok(())
    }

    fn u32(&self, bytes: &[u8], at: usize) -> u32 {
        let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
        let four: [u8; 4] = four.unwrap_or_default();
        if self.big_endian {
            u32::from_be_bytes(four)
        } else {
            u32::from_le_bytes(four)
        }
    }

    fn u16(&self, bytes: &[u8], at: usize) -> u16 {
        let pair = bytes.get(at..at + 2).and_then(|pair| pair.try_into().ok());
        let pair: [u8; 2] = pair.unwrap_or_default();
        if self.big_endian {
            u16::from_be_bytes(pair)
        } else {
            u16::from_le_bytes(pair)
        }
    }

    /// Takes up one block. Returns the packet in it, if it is one.
    fn take(&mut self, kind: u32, block: &[u8]) -> Result<Option<Head>, End> {
        if kind == OBSOLETE_PACKET {
            return self.obsolete(block).map(Some);
        }
        let parsed = if self.big_endian {
            parse_block_be(block)
        } else {
            parse_block_le(block)
        };
        let Ok((_, parsed)) = parsed else {
            return Err(End::Damaged(format!("a block of type {kind} is malformed")));
        };
        match parsed {
            Block::InterfaceDescription(description) => {
                if self.interfaces.len() == MAX_INTERFACES {
                    return Err(End::Damaged(format!(
                        "more than {MAX_INTERFACES} interfaces"
                    )));
                }
                let interface = self.interface(&description);
                self.interfaces.push(interface);
                Ok(None)
            }
            Block::EnhancedPacket(packet) => self.enhanced(&packet).map(Some),
            Block::SimplePacket(packet) => {
                let interface = self.described(0)?;
                let room = block.len().saturating_sub(16);
                let kept = match interface.snap_len {
                    0 => packet.origlen,
                    limit => packet.origlen.min(limit),
                };
                Ok(Some(Head {
                    interface: 0,
                    link: interface.link,
                    time_nanos: None,
                    wire_len: packet.origlen,
                    comment: None,
                    at: 12,
                    len: (kept as usize).min(room),
                }))
            }
            _ => Ok(None),
        }
    }

    fn described(&self, number: u32) -> Result<Interface, End> {
        self.interfaces
            .get(number as usize)
            .copied()
            .ok_or_else(|| End::Damaged(format!("interface {number} was never described")))
    }

    fn interface(&self, description: &InterfaceDescriptionBlock<'_>) -> Interface {
        let mut clock = Clock {
            resolution: 6,
            offset_seconds: 0,
        };
        let mut fcs_bytes = 0;
        for option in &description.options {
            match (option.code.0, option.as_bytes().unwrap_or_default()) {
                (0, _) => break,
                (IF_TSRESOL, [code, ..]) => clock.resolution = *code,
                // Some tools write bits, others bytes.
                (IF_FCSLEN, [len, ..]) => fcs_bytes = if *len > 8 { *len / 8 } else { *len },
                (IF_TSOFFSET, bytes) => {
                    let eight: Option<[u8; 8]> = bytes.try_into().ok();
                    clock.offset_seconds = eight.map_or(0, |eight| {
                        if self.big_endian {
                            i64::from_be_bytes(eight)
                        } else {
                            i64::from_le_bytes(eight)
                        }
                    });
                }
                _ => {}
            }
        }
        Interface {
            link: Link {
                kind: description.linktype.0 as u16,
                fcs_bytes,
            },
            snap_len: description.snaplen,
            clock,
        }
    }

    fn enhanced(&self, packet: &EnhancedPacketBlock<'_>) -> Result<Head, End> {
        let interface = self.described(packet.if_id)?;
        let ticks = (u64::from(packet.ts_high) << 32) | u64::from(packet.ts_low);
        Ok(Head {
            interface: packet.if_id,
            link: interface.link,
            time_nanos: Some(interface.clock.nanos(ticks)),
            wire_len: packet.origlen.max(packet.caplen),
            comment: comment(&packet.options),
            at: 28,
            len: packet.caplen as usize,
        })
    }

    /// Reads a packet block of the time before enhanced ones.
    fn obsolete(&self, block: &[u8]) -> Result<Head, End> {
        let number = u32::from(self.u16(block, 8));
        let interface = self.described(number)?;
        let ticks = (u64::from(self.u32(block, 12)) << 32) | u64::from(self.u32(block, 16));
        let (len, wire_len) = (self.u32(block, 20), self.u32(block, 24));
        if len as usize > block.len().saturating_sub(32) {
            return Err(End::Damaged(format!(
                "a packet of {len} bytes in a block of {}",
                block.len()
            )));
        }
        Ok(Head {
            interface: number,
            link: interface.link,
            time_nanos: Some(interface.clock.nanos(ticks)),
            wire_len: wire_len.max(len),
            comment: None,
            at: 28,
            len: len as usize,
        })
    }
}

/// Returns the comments of a block as one text.
fn comment(options: &[PcapNGOption<'_>]) -> Option<String> {
    let mut text = String::new();
    for option in options {
        match option.code.0 {
            0 => break,
            COMMENT => {
                let bytes = option.as_bytes().unwrap_or_default();
                if !text.is_empty() {
                    text.push_str("; ");
                }
                text.push_str(&String::from_utf8_lossy(bytes));
                if text.len() > MAX_COMMENT_BYTES {
                    text.truncate(text.floor_char_boundary(MAX_COMMENT_BYTES));
                    break;
                }
            }
            _ => {}
        }
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_count_without_rounding() {
        let nanos = |resolution, ticks| {
            Clock {
                resolution,
                offset_seconds: 0,
            }
            .nanos(ticks)
        };
        assert_eq!(nanos(6, 1_700_000_000_123_457), 1_700_000_000_123_457_000);
        assert_eq!(
            nanos(9, 1_700_000_000_123_456_789),
            1_700_000_000_123_456_789
        );
        assert_eq!(nanos(0, 5), 5_000_000_000);
        assert_eq!(nanos(12, 1_999), 1);
        assert_eq!(nanos(127, u64::MAX), 0);
        assert_eq!(nanos(0x80 | 1, 3), 1_500_000_000);
        assert_eq!(nanos(0xff, u64::MAX), 0);
        let far = Clock {
            resolution: 0,
            offset_seconds: i64::MIN,
        };
        assert_eq!(
            far.nanos(u64::MAX),
            (i128::from(u64::MAX) + i128::from(i64::MIN)) * 1_000_000_000
        );
    }
}
