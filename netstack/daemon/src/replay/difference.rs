//! The first place at which a replay parts from its recording.

use std::fmt;

use netstack::base::Instant;
use packet::frame::TxOffload;
use serde_json::{Value, json};

use super::show;

/// The first difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The number of the turn, from 0.
    pub turn: u64,
    /// The time of the turn on the stack's clock.
    pub at: Instant,
    /// The number of the packet among those that were sent, from 1.
    pub packet: u64,
    /// The kind of it.
    pub what: What,
}

/// The kind of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// The bytes of a packet.
    Packet {
        /// The packet that was recorded.
        recorded: Vec<u8>,
        /// The packet that the stack sends now.
        replayed: Vec<u8>,
    },
    /// The work on a packet that is left to the device.
    Offload {
        /// The packet.
        packet: Vec<u8>,
        /// The work that was recorded.
        recorded: TxOffload,
        /// The work that the stack asks for now.
        replayed: TxOffload,
    },
    /// A packet was recorded, and the stack does not send it.
    Missing(Vec<u8>),
    /// The stack sends a packet that was not recorded.
    Extra(Vec<u8>),
    /// The time at which the worker wants its next turn.
    Timer {
        /// The time that was recorded.
        recorded: Option<Instant>,
        /// The time that the worker wants now.
        replayed: Option<Instant>,
    },
    /// The stack or the device cannot repeat what was recorded.
    Fault(String),
}

impl Difference {
    /// Returns the flow that it is about, if it is about one.
    pub fn flow(&self) -> Option<String> {
        match &self.what {
            What::Packet {
                replayed: bytes, ..
            }
            | What::Offload { packet: bytes, .. }
            | What::Missing(bytes)
            | What::Extra(bytes) => show::flow(bytes),
            What::Timer { .. } | What::Fault(_) => None,
        }
    }

    /// Returns what differs, in one line.
    pub fn reason(&self) -> String {
        let timer =
            |at: &Option<Instant>| at.map_or_else(|| "none".to_owned(), |at| format!("{at:?}"));
        match &self.what {
            What::Packet { recorded, replayed } => show::differing(recorded, replayed),
            What::Offload { .. } => "the work that is left to the device differs".to_owned(),
            What::Missing(_) => "the packet was recorded, and is not sent now".to_owned(),
            What::Extra(_) => "the packet is sent now, and was not recorded".to_owned(),
            What::Timer { recorded, replayed } => format!(
                "the next turn is wanted at {} instead of {}",
                timer(replayed),
                timer(recorded)
            ),
            What::Fault(why) => why.clone(),
        }
    }

    /// Returns the packets that differ, as lines: the recorded one and the one of now.
    fn lines(&self) -> [Option<String>; 2] {
        match &self.what {
            What::Packet { recorded, replayed } => {
                [Some(show::line(recorded)), Some(show::line(replayed))]
            }
            What::Offload {
                packet,
                recorded,
                replayed,
            } => {
                let with = |offload| format!("{}, {offload:?}", show::line(packet));
                [Some(with(recorded)), Some(with(replayed))]
            }
            What::Missing(bytes) => [Some(show::line(bytes)), None],
            What::Extra(bytes) => [None, Some(show::line(bytes))],
            What::Timer { .. } | What::Fault(_) => [None, None],
        }
    }

    /// Returns it for programs.
    pub(super) fn json(&self) -> Value {
        let [recorded, replayed] = self.lines();
        json!({
            "turn": self.turn,
            "at_nanos": self.at.as_nanos(),
            "packet": self.packet,
            "flow": self.flow(),
            "reason": self.reason(),
            "recorded": recorded,
            "replayed": replayed,
        })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the replay differs at turn {}, {:?} on the stack's clock, packet {} that is sent",
            self.turn, self.at, self.packet
        )?;
        if let Some(flow) = self.flow() {
            write!(f, ", of {flow}")?;
        }
        write!(f, "\n  {}", self.reason())?;
        let [recorded, replayed] = self.lines();
        let (recorded, replayed) = (
            recorded.unwrap_or_else(|| "nothing".to_owned()),
            replayed.unwrap_or_else(|| "nothing".to_owned()),
        );
        if !matches!(self.what, What::Timer { .. } | What::Fault(_)) {
            write!(f, "\n  recorded: {recorded}\n  replayed: {replayed}")?;
        }
        Ok(())
    }
}
