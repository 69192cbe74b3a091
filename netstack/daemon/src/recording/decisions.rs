//! The blocks of a recording beside its packets, to bytes and back.

use netstack::base::{Instant, LinkCaps, OffloadCaps};
use packet::frame::TxOffload;
use serde::{Deserialize, Serialize};

use super::effects::Effects;
use super::packets::{Received, decode_offload, encode_offload};

/// A block of ours.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Decision {
    Header(Box<Header>),
    /// A piece of the state at the beginning. Behind the header, until it is complete.
    State(Vec<u8>),
    Turn(TurnRecord),
    Sent(SentRecord),
    End(End),
}

/// The state at the beginning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// The version of the form; see [`super::FORMAT`].
    pub(crate) format: u32,
    /// The version of the program that recorded.
    pub(crate) version: String,
    /// The configuration in the form of its file.
    pub(crate) config: String,
    /// The seed of all randomness.
    pub(crate) seed: [u8; 32],
    /// Unix time of the stack's time zero, in nanoseconds.
    pub(crate) origin_nanos: u64,
    /// The time on the stack's clock at which its worker was made, in nanoseconds.
    pub(crate) start_nanos: u64,
    pub(crate) link: Link,
    /// The place of this part in its ring; `None`: the recording is one file.
    #[serde(default)]
    pub(crate) part: Option<PartOf>,
}

/// The place of a part in a ring of them, and the state of the stack where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartOf {
    /// Its number. That of the next part is one more.
    pub(crate) number: u64,
    /// Bytes of the checkpoint that the stack is restored from; 0: the stack begins with nothing.
    pub(crate) state_bytes: u64,
}

/// Bytes of a checkpoint in one block.
const STATE_PIECE_BYTES: usize = 1 << 20;

/// Returns a checkpoint as blocks.
pub(crate) fn state_blocks(state: &[u8]) -> impl Iterator<Item = Decision> {
    let pieces = state.chunks(STATE_PIECE_BYTES);
    pieces.map(|piece| Decision::State(piece.to_vec()))
}

/// The capabilities of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    mtu: u16,
    max_packet: usize,
    tx_checksum: bool,
    tso: bool,
    uso: bool,
}

impl From<LinkCaps> for Link {
    fn from(caps: LinkCaps) -> Self {
        Self {
            mtu: caps.mtu,
            max_packet: caps.max_packet,
            tx_checksum: caps.offload.tx_checksum,
            tso: caps.offload.tso,
            uso: caps.offload.uso,
        }
    }
}

impl From<Link> for LinkCaps {
    fn from(link: Link) -> Self {
        Self {
            mtu: link.mtu,
            // No packet is longer; a file may say anything.
            max_packet: link.max_packet.min(1 << 17),
            offload: OffloadCaps {
                tx_checksum: link.tx_checksum,
                tso: link.tso,
                uso: link.uso,
            },
        }
    }
}

/// A turn of the worker: what it depended on, and what it decided beside the packets that it sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TurnRecord {
    /// Its number, from 0.
    pub(crate) number: u64,
    pub(crate) now: Instant,
    /// The worker slept between the turn before and this one.
    pub(crate) has_slept: bool,
    /// The properties of each packet that was read, whose blocks follow.
    pub(crate) packets: Vec<Received>,
    /// The memory for packets that was used, and that was allocated, before the read, in bytes.
    pub(crate) memory: [u64; 2],
    /// The MTU of the device after the read.
    pub(crate) mtu: u16,
    /// The effects of the read beside.
    pub(crate) effects: Effects,
    /// It did something.
    pub(crate) is_busy: bool,
    /// When the worker wants to be turned next.
    pub(crate) next_timer: Option<Instant>,
}

/// A batch of packets was sent; their blocks follow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SentRecord {
    /// The work on each packet that was left to the device.
    pub(crate) packets: Vec<TxOffload>,
    pub(crate) effects: Effects,
}

/// The end of a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    /// The reason, as a part of a sentence.
    pub(crate) reason: String,
    pub(crate) turns: u64,
    pub(crate) packets_in: u64,
    pub(crate) packets_out: u64,
}

const HEADER: u32 = 1;
const TURN: u32 = 2;
const SENT: u32 = 3;
const END: u32 = 4;
const STATE: u32 = 5;

/// Stands for no timer.
const NO_TIMER: u64 = u64::MAX;

const HAS_SLEPT: u8 = 1;
const IS_BUSY: u8 = 2;

impl Decision {
    /// Returns the content of the block.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let json = |value: serde_json::Result<Vec<u8>>| value.unwrap_or_default();
        let (kind, content) = match self {
            Self::Header(header) => (HEADER, json(serde_json::to_vec(header))),
            Self::Turn(turn) => (TURN, turn.encode()),
            Self::Sent(sent) => (SENT, sent.encode()),
            Self::End(end) => (END, json(serde_json::to_vec(end))),
            Self::State(piece) => {
                let length = (piece.len() as u32).to_le_bytes();
                (STATE, [&length[..], piece].concat())
            }
        };
        let mut body = kind.to_le_bytes().to_vec();
        body.extend(content);
        // JSON may end in spaces; what is binary is read from the front.
        let is_text = matches!(kind, HEADER | END);
        while !body.len().is_multiple_of(4) {
            body.push(if is_text { b' ' } else { 0 });
        }
        body
    }

    /// Reads the content of a block.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(crate) fn decode(body: &[u8]) -> Result<Self, &'static str> {
        let (kind, content) = body.split_first_chunk().ok_or("a block is too short")?;
        let fields = &mut Fields(content);
        match u32::from_le_bytes(*kind) {
            HEADER => serde_json::from_slice(content)
                .map(|header| Self::Header(Box::new(header)))
                .map_err(|_| "the header is not understood"),
            TURN => TurnRecord::decode(fields)
                .map(Self::Turn)
                .ok_or("a turn is not understood"),
            SENT => SentRecord::decode(fields)
                .map(Self::Sent)
                .ok_or("a batch is not understood"),
            END => serde_json::from_slice(content)
                .map(Self::End)
                .map_err(|_| "the end is not understood"),
            STATE => fields
                .u32()
                .and_then(|length| fields.0.get(..length as usize))
                .map(|piece| Self::State(piece.to_vec()))
                .ok_or("a piece of the state is not understood"),
            _ => Err("a block is of a kind that does not exist"),
        }
    }
}

impl TurnRecord {
    fn encode(&self) -> Vec<u8> {
        let flags = match (self.has_slept, self.is_busy) {
            (false, false) => 0,
            (true, false) => HAS_SLEPT,
            (false, true) => IS_BUSY,
            (true, true) => HAS_SLEPT | IS_BUSY,
        };
        let next = self.next_timer.map_or(NO_TIMER, Instant::as_nanos);
        let mut bytes = Vec::with_capacity(64);
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(self.now.as_nanos().to_le_bytes());
        bytes.extend(next.to_le_bytes());
        bytes.extend(self.memory.map(u64::to_le_bytes).concat());
        bytes.extend(self.mtu.to_le_bytes());
        bytes.push(flags);
        self.effects.encode(&mut bytes);
        bytes.extend((self.packets.len() as u32).to_le_bytes());
        for packet in &self.packets {
            packet.encode(&mut bytes);
        }
        bytes
    }

    fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let (number, now, next) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let memory = [fields.u64()?, fields.u64()?];
        let (mtu, flags) = (fields.u16()?, fields.u8()?);
        let effects = Effects::decode(fields)?;
        // The block ends before a wrong number does.
        let packets = (0..fields.u32()?)
            .map(|_| Received::decode(fields))
            .collect::<Option<_>>()?;
        Some(Self {
            number,
            now: Instant::from_nanos(now),
            has_slept: flags & HAS_SLEPT != 0,
            packets,
            memory,
            mtu,
            effects,
            is_busy: flags & IS_BUSY != 0,
            next_timer: (next != NO_TIMER).then(|| Instant::from_nanos(next)),
        })
    }
}

impl SentRecord {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.effects.encode(&mut bytes);
        bytes.extend((self.packets.len() as u32).to_le_bytes());
        for packet in &self.packets {
            encode_offload(packet, &mut bytes);
        }
        bytes
    }

    fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let effects = Effects::decode(fields)?;
        let packets = (0..fields.u32()?)
            .map(|_| decode_offload(fields))
            .collect::<Option<_>>()?;
        Some(Self { packets, effects })
    }
}

/// Little-endian numbers, one after the other.
#[derive(Debug)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.take().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_back_as_they_were() {
        let mut effects = Effects::default();
        effects.set(0, 3);
        effects.set(5, -2);
        let turn = TurnRecord {
            number: 7,
            now: Instant::from_millis(5),
            has_slept: true,
            packets: vec![Received::example(), Received::example()],
            memory: [5, 6],
            mtu: 1_500,
            effects,
            is_busy: false,
            next_timer: Some(Instant::from_millis(9)),
        };
        let sent = SentRecord {
            packets: vec![TxOffload::default(); 4],
            effects,
        };
        let end = End {
            reason: "so".to_owned(),
            turns: 1,
            packets_in: 2,
            packets_out: 3,
        };
        for decision in [
            Decision::Turn(turn),
            Decision::Sent(sent),
            Decision::End(end),
            Decision::State(vec![7; 5]),
        ] {
            let body = decision.encode();
            assert!(body.len().is_multiple_of(4));
            assert_eq!(Decision::decode(&body), Ok(decision));
            for len in 0..body.len().saturating_sub(4) {
                // Whatever is cut off, it does not panic.
                let _ = Decision::decode(&body[..len]);
            }
        }
        assert!(Decision::decode(&9_u32.to_le_bytes()).is_err());
    }
}
