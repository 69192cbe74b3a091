//! Makes the blocks of a recording.

use std::borrow::Cow;
use std::time::Duration;

use netstack::base::Instant;
use netstack::device::observe::Direction;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::blocks::unknown::UnknownBlock;
use pcap_file::{DataLink, Endianness, PcapResult};

use super::BLOCK;
use super::decisions::Decision;

/// Longest packet of a file.
const SNAPLEN: u32 = 262_144;

/// Blocks, one after the other.
pub(crate) struct Blocks {
    writer: PcapNgWriter<Vec<u8>>,
    /// Unix time of the stack's time zero.
    origin: Duration,
}

impl Blocks {
    /// Begins a file of packets of the device `tun`.
    pub(crate) fn begin(tun: &str, origin: Duration) -> PcapResult<Self> {
        let program = concat!("netstackd ", env!("CARGO_PKG_VERSION"));
        let section = SectionHeaderBlock {
            endianness: Endianness::Little,
            options: vec![SectionHeaderOption::UserApplication(Cow::Borrowed(program))],
            ..SectionHeaderBlock::default()
        };
        let mut writer = PcapNgWriter::with_section_header(Vec::new(), section)?;
        writer.write_pcapng_block(InterfaceDescriptionBlock {
            linktype: DataLink::RAW,
            snaplen: SNAPLEN,
            options: vec![
                InterfaceDescriptionOption::IfName(Cow::Borrowed(tun)),
                // Nanoseconds.
                InterfaceDescriptionOption::IfTsResol(9),
            ],
        })?;
        Ok(Self { writer, origin })
    }

    /// Adds a packet, and a comment on it if there is one.
    pub(crate) fn packet(
        &mut self,
        direction: Direction,
        at: Instant,
        bytes: &[u8],
        comment: Option<&str>,
    ) -> PcapResult<()> {
        let mut options = vec![EnhancedPacketOption::Flags(match direction {
            Direction::In => 1,
            Direction::Out => 2,
        })];
        options.extend(comment.map(|text| EnhancedPacketOption::Comment(Cow::Borrowed(text))));
        let block = EnhancedPacketBlock {
            interface_id: 0,
            timestamp: self.origin + Duration::from_nanos(at.as_nanos()),
            original_len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            data: Cow::Borrowed(bytes),
            options,
        };
        self.writer.write_pcapng_block(block).map(drop)
    }

    /// Adds a block of ours.
    pub(crate) fn decision(&mut self, decision: &Decision) -> PcapResult<()> {
        let body = decision.encode();
        let block = UnknownBlock::new(BLOCK, 0, &body);
        self.writer.write_pcapng_block(block).map(drop)
    }

    /// Returns the bytes since the last call.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.writer.get_mut())
    }
}
