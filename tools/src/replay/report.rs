//! The result of a replay: differences that matter, notes that do not, and numbers.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// A difference between the replay and the capture.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// The bytes on one side differ.
    Bytes {
        /// The sender of the bytes.
        side: &'static str,
        /// Offset of the first byte that differs, or the length of the shorter stream.
        offset: u64,
        /// Length in the capture.
        captured: u64,
        /// Length in the replay.
        replayed: u64,
    },
    /// A packet of the peer depends on something that the stack never sent.
    Stuck {
        /// The peer's packet, as numbered in the file.
        number: u64,
        /// The condition that was never met.
        waiting_for: String,
    },
    /// The captured host closed its half, the stack did not.
    NotClosed,
    /// The captured host did not reset the connection, the stack did.
    Reset,
    /// The captured host reset the connection, the stack did not.
    NotReset,
    /// The stack acknowledges less than the captured host did.
    NotAcknowledged {
        /// Bytes that the captured host acknowledged.
        captured: u64,
        /// Bytes that the stack acknowledged.
        replayed: u64,
    },
    /// The stack's SYN lacks an option that the captured host's had.
    Option {
        /// The option.
        name: &'static str,
    },
    /// The captured host sent an ICMP error about packets of the peer, the stack did not.
    IcmpNotSent {
        /// Its type.
        kind: u8,
        /// Its code.
        code: u8,
    },
    /// The stack sent an ICMP error about packets of the peer, the captured host did not.
    IcmpSent {
        /// Its type.
        kind: u8,
        /// Its code.
        code: u8,
    },
    /// After an ICMP error the captured host sent nothing more, the stack did.
    WentOn {
        /// The packet of the error, as numbered in the file.
        number: u64,
        /// Segments with a SYN, data or a FIN that the stack sent afterwards, while the capture lasted.
        replayed: usize,
    },
    /// A datagram differs.
    Datagram {
        /// Its sender.
        side: &'static str,
        /// Its place among those of its sender, from 1.
        number: usize,
        /// The difference.
        what: String,
    },
    /// The stack itself failed.
    Failed {
        /// Its error.
        error: String,
    },
    /// A segment differs, in a strict comparison.
    Segment {
        /// Its place among those of the host, from 1.
        number: usize,
        /// The captured segment.
        captured: String,
        /// The stack's segment.
        replayed: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes {
                side,
                offset,
                captured,
                replayed,
            } => write!(
                f,
                "the {side}'s bytes differ from offset {offset} on \
                 ({captured} captured, {replayed} replayed)"
            ),
            Self::Stuck {
                number,
                waiting_for,
            } => write!(f, "packet {number} of the peer {waiting_for}"),
            Self::NotClosed => write!(f, "the captured host closed its half, the stack did not"),
            Self::Reset => write!(
                f,
                "the stack reset the connection, the captured host did not"
            ),
            Self::NotReset => write!(
                f,
                "the captured host reset the connection, the stack did not"
            ),
            Self::NotAcknowledged { captured, replayed } => write!(
                f,
                "the captured host acknowledged {captured} bytes, the stack {replayed}"
            ),
            Self::Option { name } => write!(
                f,
                "the captured host's SYN had the option {name}, the stack's has not"
            ),
            Self::IcmpNotSent { kind, code } => write!(
                f,
                "the captured host sent ICMP type {kind} code {code} about the peer's packets, the stack did not"
            ),
            Self::IcmpSent { kind, code } => write!(
                f,
                "the stack sent ICMP type {kind} code {code} about the peer's packets, the captured host did not"
            ),
            Self::WentOn { number, replayed } => write!(
                f,
                "after the ICMP error in packet {number} the captured host sent nothing more, the stack {replayed} \
                 segments"
            ),
            Self::Datagram { side, number, what } => {
                write!(f, "datagram {number} of the {side}: {what}")
            }
            Self::Failed { error } => write!(f, "the stack failed: {error}"),
            Self::Segment {
                number,
                captured,
                replayed,
            } => write!(
                f,
                "segment {number}: captured {captured}; replayed {replayed}"
            ),
        }
    }
}

/// The result of one session's replay.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Report {
    /// Packets of the peer that were played.
    pub played: usize,
    /// Acknowledgements that the peer added while it had to wait.
    pub interim: usize,
    /// Packets that the captured host sent.
    pub captured_out: usize,
    /// Packets that the stack sent.
    pub replayed_out: usize,
    /// Bytes of the peer that the stack's application received.
    pub peer_bytes: u64,
    /// Bytes that the stack sent.
    pub our_bytes: u64,
    /// Payload bytes that the stack sent more than once.
    pub resent_bytes: u64,
    /// When its last packet was sent or played, in virtual time since the start of the replay.
    pub ended: Duration,
    /// Every difference; none if both ends received the same and the connection ended in the same way.
    pub differences: Vec<Difference>,
    /// Differences that mean nothing wrong.
    pub notes: Vec<String>,
}

impl Report {
    /// Returns true if there is no difference.
    pub fn is_same(&self) -> bool {
        self.differences.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  peer: {} packets played, {} acknowledgements added, {} bytes delivered to the \
             application",
            self.played, self.interim, self.peer_bytes
        )?;
        writeln!(
            f,
            "  stack: {} packets sent ({} captured), {} bytes, {} sent again; until {:.6} s",
            self.replayed_out,
            self.captured_out,
            self.our_bytes,
            self.resent_bytes,
            self.ended.as_secs_f64()
        )?;
        for note in &self.notes {
            writeln!(f, "  note: {note}")?;
        }
        if self.is_same() {
            return write!(f, "  same");
        }
        let lines: Vec<String> = self
            .differences
            .iter()
            .map(|difference| format!("  different: {difference}"))
            .collect();
        write!(f, "{}", lines.join("\n"))
    }
}
