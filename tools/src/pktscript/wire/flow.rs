//! One connection as the script has it and as the wire has it: addresses, sequence numbers, timestamps.
//!
//! A script counts from the first sequence number of each side. Only a SYN has a number of its own,
//! the first one, which the script usually calls 0.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::pktscript::ast::{Tcp, TcpOpt};

const SYN: u16 = 0x02;
const ACK: u16 = 0x10;

/// Most timestamps that a flow remembers.
const MAX_TIMESTAMPS: usize = 65_536;

/// A connection, or the attempt at one.
#[derive(Clone, Debug)]
pub struct Flow {
    /// The stack's end.
    pub local: SocketAddr,
    /// The script's end.
    pub remote: SocketAddr,
    /// First sequence numbers of the stack: in the script, on the wire.
    local_isn: Option<(u32, u32)>,
    /// First sequence numbers of the script's end: in the script, on the wire.
    remote_isn: Option<(u32, u32)>,
    /// The first timestamp of the stack: in the script, on the wire.
    first_timestamp: Option<(u32, u32)>,
    /// Timestamps of the stack, from the script's to those on the wire.
    timestamps: HashMap<u32, u32>,
}

/// Translates a number by a pair of first numbers. Numbers of a SYN are counted from zero, others from
/// the first one.
fn to_wire(number: u32, isn: Option<(u32, u32)>, is_syn: bool) -> u32 {
    match isn {
        Some((script, wire)) if is_syn => number.wrapping_sub(script).wrapping_add(wire),
        Some((_, wire)) => number.wrapping_add(wire),
        None => number,
    }
}

fn to_script(number: u32, isn: Option<(u32, u32)>, is_syn: bool) -> u32 {
    match isn {
        Some((script, wire)) if is_syn => number.wrapping_sub(wire).wrapping_add(script),
        Some((_, wire)) => number.wrapping_sub(wire),
        None => number,
    }
}

impl Flow {
    /// Creates a flow of which no packet was seen.
    pub fn new(local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            local,
            remote,
            local_isn: None,
            remote_isn: None,
            first_timestamp: None,
            timestamps: HashMap::new(),
        }
    }

    /// Returns true once the stack's first sequence number is known.
    pub fn knows_local_isn(&self) -> bool {
        self.local_isn.is_some()
    }

    /// Notes the first sequence number of the script's end, which is the same on the wire.
    pub fn set_remote_isn(&mut self, number: u32) {
        self.remote_isn = Some((number, number));
    }

    /// Returns true once the script's end has sent a SYN.
    pub fn knows_remote_isn(&self) -> bool {
        self.remote_isn.is_some()
    }

    /// Notes the stack's first sequence number.
    pub fn set_local_isn(&mut self, script: u32, wire: u32) {
        self.local_isn = Some((script, wire));
    }

    /// Returns a segment of the script's end as it is on the wire.
    ///
    /// # Errors
    /// The echoed timestamp is not one that the stack sent.
    pub fn inbound(&self, segment: &Tcp) -> Result<Tcp, String> {
        let is_syn = segment.flags & SYN != 0;
        let mut wire = segment.clone();
        if !segment.is_absolute {
            wire.seq = to_wire(segment.seq, self.remote_isn, is_syn);
        }
        if segment.flags & ACK != 0 {
            let ack = segment.ack.unwrap_or(0);
            wire.ack = Some(to_wire(ack, self.local_isn, is_syn));
        }
        for option in wire.options.iter_mut().flatten() {
            match option {
                TcpOpt::Sack(blocks) => {
                    for (left, right) in blocks {
                        *left = to_wire(*left, self.local_isn, is_syn);
                        *right = to_wire(*right, self.local_isn, is_syn);
                    }
                }
                // A SYN echoes nothing, whatever the field says (RFC 7323 section 3.2).
                TcpOpt::Timestamps { .. } if is_syn && segment.ack.is_none() => {}
                TcpOpt::Timestamps { ecr, .. } => *ecr = self.echo(*ecr)?,
                _ => {}
            }
        }
        Ok(wire)
    }

    /// Returns an echoed timestamp as it is on the wire.
    fn echo(&self, ecr: u32) -> Result<u32, String> {
        if ecr == 0 {
            return Ok(0);
        }
        if let Some(wire) = self.timestamps.get(&ecr) {
            return Ok(*wire);
        }
        match self.first_timestamp {
            Some((script, wire)) => Ok(ecr.wrapping_sub(script).wrapping_add(wire)),
            None => Err(format!(
                "TS ecr {ecr} echoes a timestamp, but the stack has sent none"
            )),
        }
    }

    /// Returns a quoted sequence number of the stack as it is on the wire.
    pub fn quoted(&self, seq: u32) -> u32 {
        to_wire(seq, self.local_isn, false)
    }

    /// Returns a segment of the stack as the script would write it, beside the segment that the script
    /// expects, from which the first numbers are learned.
    pub fn outbound(&mut self, wire: &Tcp, expected: Option<&Tcp>) -> Tcp {
        let is_syn = wire.flags & SYN != 0;
        if let Some(expected) = expected {
            self.learn(wire, expected, is_syn);
        }
        let mut script = wire.clone();
        let is_absolute = expected.is_some_and(|expected| expected.is_absolute);
        if is_absolute {
            script.is_absolute = true;
        } else {
            script.seq = to_script(wire.seq, self.local_isn, is_syn);
        }
        if wire.flags & ACK != 0 {
            script.ack = wire.ack.map(|ack| to_script(ack, self.remote_isn, is_syn));
        }
        for option in script.options.iter_mut().flatten() {
            match option {
                TcpOpt::Sack(blocks) => {
                    for (left, right) in blocks {
                        *left = to_script(*left, self.remote_isn, is_syn);
                        *right = to_script(*right, self.remote_isn, is_syn);
                    }
                }
                TcpOpt::Timestamps { val, .. } => {
                    if let Some((first, live)) = self.first_timestamp {
                        *val = val.wrapping_sub(live).wrapping_add(first);
                    }
                }
                _ => {}
            }
        }
        script
    }

    fn learn(&mut self, wire: &Tcp, expected: &Tcp, is_syn: bool) {
        if is_syn
            && expected.flags & SYN != 0
            && (self.local_isn.is_none() || wire.flags & ACK == 0)
        {
            self.local_isn = Some((expected.seq, wire.seq));
        }
        if let (Some(live), Some(script)) = (timestamp(wire), timestamp(expected)) {
            self.first_timestamp.get_or_insert((script, live));
            if self.timestamps.len() < MAX_TIMESTAMPS {
                self.timestamps.insert(script, live);
            }
        }
    }
}

fn timestamp(segment: &Tcp) -> Option<u32> {
    segment
        .options
        .iter()
        .flatten()
        .find_map(|option| match option {
            TcpOpt::Timestamps { val, .. } => Some(*val),
            _ => None,
        })
}
