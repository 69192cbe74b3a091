//! Makes the blocks of a recording.

use std::time::Duration;

use netstack::base::Instant;
use netstack::device::observe::Direction;
use pcap_file::PcapResult;

use super::BLOCK;
use super::decisions::Decision;
use crate::pcapng::{Packet, PcapNg, SNAPLEN_MAX};

/// Blocks, one after the other.
pub(crate) struct Blocks {
    file: PcapNg,
    /// Unix time of the stack's time zero.
    origin: Duration,
}

impl Blocks {
    /// Begins a file of packets of the device `tun`.
    pub(crate) fn begin(tun: &str, origin: Duration) -> PcapResult<Self> {
        let file = PcapNg::begin(tun, SNAPLEN_MAX)?;
        Ok(Self { file, origin })
    }

    /// Adds a packet, and a comment on it if there is one.
    pub(crate) fn packet(
        &mut self,
        direction: Direction,
        at: Instant,
        bytes: &[u8],
        comment: Option<&str>,
    ) -> PcapResult<()> {
        self.file.packet(&Packet {
            at: self.origin + Duration::from_nanos(at.as_nanos()),
            direction,
            len: bytes.len(),
            bytes,
            comment,
        })
    }

    /// Adds a block of ours.
    pub(crate) fn decision(&mut self, decision: &Decision) -> PcapResult<()> {
        self.file.own(BLOCK, &decision.encode())
    }

    /// Returns the bytes since the last call.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.file.take()
    }
}
