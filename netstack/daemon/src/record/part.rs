//! The beginning of a recording, or of a part of one: the device that notes, and the head of the file.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use netstack::base::Instant;
use netstack::device::Device;
use netstack::net::Stack;
use pcap_file::PcapResult;

use super::Beginning;
use super::device::{Noted, Recorded};
use super::shared::Shared;
use super::tape::Tape;
use super::writer::Writer;
use crate::failure::Failure;
use crate::recording::blocks::Blocks;
use crate::recording::decisions::{Decision, End, Header, PartOf, state_blocks};
use crate::recording::{FORMAT, of_settings};
use crate::settings::Settings;

/// The things that all parts of a recording have in common.
pub(super) struct Base {
    pub(super) settings: Settings,
    /// The configuration in the form of its file.
    config: String,
    /// Unix time of the stack's time zero.
    pub(super) origin: Duration,
    /// Most bytes of a file.
    pub(super) limit: u64,
    device: Shared,
}

/// The beginning of one file.
pub(super) struct First<'a> {
    pub(super) seed: [u8; 32],
    /// The time on the stack's clock.
    pub(super) now: Instant,
    /// The number of the part, if the recording has parts.
    pub(super) number: Option<u64>,
    /// The checkpoint that the stack is restored from; empty: it begins with nothing.
    pub(super) state: &'a [u8],
}

/// A file that has begun, without the turns of a stack.
pub(super) struct Head {
    notes: Receiver<Noted>,
    blocks: Blocks,
    is_recording: Arc<AtomicBool>,
    first: Vec<u8>,
}

impl Base {
    /// Takes up the device of a recording.
    ///
    /// # Errors
    /// The configuration cannot be recorded.
    pub(super) fn new(
        settings: &Settings,
        device: Box<dyn Device>,
        beginning: &Beginning,
    ) -> Result<Self, Failure> {
        let mut settings = settings.clone();
        let memory = settings.stack.memory_bytes;
        settings.stack.memory_bytes = Some(memory.unwrap_or_else(Stack::default_memory));
        Ok(Self {
            config: of_settings(&settings)?,
            settings,
            origin: beginning.origin,
            limit: beginning.limit,
            device: Shared::new(device),
        })
    }

    /// Begins a file, and returns the device of the stack that it will tell of.
    ///
    /// # Errors
    /// A block of it is too long.
    pub(super) fn begin(&self, first: &First<'_>) -> PcapResult<(Box<dyn Device>, Head)> {
        let begin = || Blocks::begin(self.settings.tun.as_str(), self.origin);
        let mut blocks = begin()?;
        blocks.decision(&Decision::Header(Box::new(self.header(first))))?;
        for piece in state_blocks(first.state) {
            blocks.decision(&piece)?;
        }
        let mut of_packets = begin()?;
        drop(of_packets.take());
        let (notes, noted) = channel();
        let is_recording = Arc::new(AtomicBool::new(true));
        let device = Recorded {
            device: self.device.clone(),
            blocks: of_packets,
            notes,
            is_recording: Arc::clone(&is_recording),
            now: first.now,
        };
        let head = Head {
            notes: noted,
            first: blocks.take(),
            blocks,
            is_recording,
        };
        Ok((Box::new(device), head))
    }

    fn header(&self, first: &First<'_>) -> Header {
        let nanos = u64::try_from(self.origin.as_nanos()).unwrap_or(u64::MAX);
        Header {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config: self.config.clone(),
            seed: first.seed,
            origin_nanos: nanos,
            start_nanos: first.now.as_nanos(),
            link: self.device.caps().into(),
            part: first.number.map(|number| PartOf {
                number,
                state_bytes: first.state.len() as u64,
            }),
        }
    }
}

impl Head {
    /// Returns the tape that goes on with the file, of at most `limit` bytes.
    pub(super) fn tape(self, writer: Writer, limit: u64) -> Tape {
        Tape {
            notes: self.notes,
            blocks: self.blocks,
            writer,
            is_recording: self.is_recording,
            limit,
            bytes: self.first.len() as u64,
            head_bytes: self.first.len() as u64,
            sums: End::default(),
            mtu: None,
            was_idle: false,
            has_slept: false,
            piece: self.first,
        }
    }
}
