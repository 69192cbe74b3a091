//! Makes pcapng: one section with one interface of raw IP packets, block by block.

use std::borrow::Cow;
use std::time::Duration;

use netstack::device::observe::Direction;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::interface_statistics::{
    InterfaceStatisticsBlock, InterfaceStatisticsOption,
};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::blocks::unknown::UnknownBlock;
use pcap_file::{DataLink, Endianness, PcapResult};

/// Longest packet of a file.
pub(crate) const SNAPLEN_MAX: u32 = 262_144;

/// Blocks, one after the other.
pub(crate) struct PcapNg(PcapNgWriter<Vec<u8>>);

/// A packet for a file.
#[derive(Debug)]
pub(crate) struct Packet<'a> {
    /// Unix time.
    pub(crate) at: Duration,
    pub(crate) direction: Direction,
    /// Its length, of which `bytes` may be the beginning.
    pub(crate) len: usize,
    pub(crate) bytes: &'a [u8],
    pub(crate) comment: Option<&'a str>,
}

impl PcapNg {
    /// Begins a file of packets of the interface `name`, of which at most `snaplen` bytes are kept.
    pub(crate) fn begin(name: &str, snaplen: u32) -> PcapResult<Self> {
        let program = concat!("netstackd ", env!("CARGO_PKG_VERSION"));
        let section = SectionHeaderBlock {
            endianness: Endianness::Little,
            options: vec![SectionHeaderOption::UserApplication(Cow::Borrowed(program))],
            ..SectionHeaderBlock::default()
        };
        let mut writer = PcapNgWriter::with_section_header(Vec::new(), section)?;
        writer.write_pcapng_block(InterfaceDescriptionBlock {
            linktype: DataLink::RAW,
            snaplen,
            options: vec![
                InterfaceDescriptionOption::IfName(Cow::Borrowed(name)),
                // Nanoseconds.
                InterfaceDescriptionOption::IfTsResol(9),
            ],
        })?;
        Ok(Self(writer))
    }

    /// Adds a packet.
    pub(crate) fn packet(&mut self, packet: &Packet<'_>) -> PcapResult<()> {
        let direction = match packet.direction {
            Direction::In => 1,
            Direction::Out => 2,
        };
        let mut options = vec![EnhancedPacketOption::Flags(direction)];
        let comment = packet.comment.map(Cow::Borrowed);
        options.extend(comment.map(EnhancedPacketOption::Comment));
        let block = EnhancedPacketBlock {
            interface_id: 0,
            timestamp: packet.at,
            original_len: u32::try_from(packet.len).unwrap_or(u32::MAX),
            data: Cow::Borrowed(packet.bytes),
            options,
        };
        self.0.write_pcapng_block(block).map(drop)
    }

    /// Adds a block of a type of ours.
    pub(crate) fn own(&mut self, kind: u32, body: &[u8]) -> PcapResult<()> {
        let block = UnknownBlock::new(kind, 0, body);
        self.0.write_pcapng_block(block).map(drop)
    }

    /// Adds how many packets there were until `at`, and how many of them are missing.
    pub(crate) fn statistics(&mut self, at: Duration, all: u64, missing: u64) -> PcapResult<()> {
        let block = InterfaceStatisticsBlock {
            interface_id: 0,
            timestamp: u64::try_from(at.as_nanos()).unwrap_or(u64::MAX),
            options: vec![
                InterfaceStatisticsOption::IsbIfRecv(all),
                InterfaceStatisticsOption::IsbIfDrop(missing),
            ],
        };
        self.0.write_pcapng_block(block).map(drop)
    }

    /// Returns the number of bytes since the last [`take`](Self::take).
    pub(crate) fn len(&self) -> usize {
        self.0.get_ref().len()
    }

    /// Returns the bytes since the last call.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.0.get_mut())
    }
}
