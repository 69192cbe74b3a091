//! The packets of a replay as a pcapng file, with the captured addresses.

use std::borrow::Cow;
use std::io::{self, Write};
use std::time::Duration;

use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::{DataLink, PcapError};

/// Writes packets of a replay.
pub struct Record<W: Write> {
    writer: PcapNgWriter<W>,
    /// Time of the capture's first packet.
    base: Duration,
}

impl<W: Write> std::fmt::Debug for Record<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record").finish_non_exhaustive()
    }
}

impl<W: Write> Record<W> {
    /// Writes the head of the file. `base` is the time of the capture's first packet.
    pub fn new(out: W, base: Duration) -> io::Result<Self> {
        let mut writer = PcapNgWriter::new(out).map_err(io_error)?;
        let interface = InterfaceDescriptionBlock {
            linktype: DataLink::RAW,
            snaplen: 0,
            options: vec![
                InterfaceDescriptionOption::IfName("replay".into()),
                InterfaceDescriptionOption::IfTsResol(9),
            ],
        };
        writer.write_pcapng_block(interface).map_err(io_error)?;
        Ok(Self { writer, base })
    }

    /// Writes a packet, with a comment if there is something to say about it.
    pub(super) fn packet(
        &mut self,
        at: Duration,
        packet: &[u8],
        comment: Option<String>,
    ) -> io::Result<()> {
        let options = comment.map(|text| EnhancedPacketOption::Comment(Cow::Owned(text)));
        let block = EnhancedPacketBlock {
            interface_id: 0,
            // The library writes nanoseconds as the ticks of the interface.
            timestamp: self.base.saturating_add(at),
            original_len: packet.len() as u32,
            data: Cow::Borrowed(packet),
            options: options.into_iter().collect(),
        };
        self.writer.write_pcapng_block(block).map_err(io_error)?;
        Ok(())
    }

    /// Writes what is still buffered.
    pub fn finish(self) -> io::Result<()> {
        self.writer.into_inner().flush()
    }
}

fn io_error(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}
