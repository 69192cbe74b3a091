//! Translates captured packets of the peer into packets for the stack under test, and packets of the stack into
//! ones with the captured addresses.
//!
//! The peer's own sequence numbers stay. Values that refer to the host are translated to the stack's: the
//! acknowledgement, the blocks of a SACK, the echoed timestamp. Options that the captured host declined are removed
//! from the peer's SYN, so that the stack declines them, too. Checksums are computed again, because the capture of
//! an offloading device does not have them; those that were wrong stay wrong.

use std::net::{IpAddr, SocketAddr};

use super::places::Place;
use crate::capture::packet::{Options, Packet, TCP, Transport, UDP};
use crate::capture::{Checksum, Segment, checksum};

const END: u8 = 0;
const NOP: u8 = 1;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;

/// The ACK flag in the thirteenth octet.
const ACK: u8 = 0x10;

/// Bytes of a TCP header without options.
const FIXED: usize = 20;

/// The options that the captured host agreed to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Negotiated {
    window_scale: bool,
    sack: bool,
    timestamps: bool,
}

impl Negotiated {
    /// Returns what the host agreed to with its SYN or SYN-ACK.
    pub(super) fn of(syn: &Options) -> Self {
        Self {
            window_scale: syn.window_scale.is_some(),
            sack: syn.sack_permitted,
            timestamps: syn.timestamps.is_some(),
        }
    }

    /// Returns the window scale of the sender of a SYN.
    pub(super) fn scale_of(self, syn: &Options) -> u8 {
        syn.window_scale
            .filter(|_| self.window_scale)
            .unwrap_or(0)
            .min(14)
    }

    fn declined(self, kind: u8) -> bool {
        match kind {
            WINDOW_SCALE => !self.window_scale,
            SACK_PERMITTED => !self.sack,
            TIMESTAMPS => !self.timestamps,
            _ => false,
        }
    }
}

/// The translation from the captured host's numbers to those of the stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Translation {
    /// Number to add to sequence numbers of the host.
    pub(super) shift: u32,
    /// The timestamp that the stack sent last.
    pub(super) echo: u32,
    /// The options that the captured host agreed to.
    pub(super) negotiated: Negotiated,
    /// The two ends in the replay.
    pub(super) place: Place,
}

impl Translation {
    /// Returns the packet to deliver to the stack.
    pub(super) fn apply(&self, segment: &Segment) -> Vec<u8> {
        let mut ip = segment.ip.clone();
        set_length(&mut ip);
        readdress(&mut ip, self.place.peer, self.place.ours);
        let Some(header) = ip.get_mut(segment.tcp_at..) else {
            return ip;
        };
        if segment.has_ack {
            add(header, 8, self.shift);
        }
        let mut edits = Vec::new();
        each_option(header, |kind, at| edits.push((kind, at)));
        for (kind, at) in edits {
            let len = usize::from(header.get(at + 1).copied().unwrap_or(0));
            let Some(option) = header.get_mut(at..at + len) else {
                continue;
            };
            if segment.syn && self.negotiated.declined(kind) {
                option.fill(NOP);
            } else if kind == SACK {
                for edge in (2..len).step_by(4) {
                    add(option, edge, self.shift);
                }
            } else if kind == TIMESTAMPS && segment.has_ack && len == 10 {
                option[6..10].copy_from_slice(&self.echo.to_be_bytes());
            }
        }
        checksum::write(&mut ip, segment.checksum == Checksum::Wrong);
        ip
    }

    /// As [`Translation::apply`], without payload, flags and SACK: an acknowledgement up to `number`, in
    /// the stack's own numbers, with the same right edge of the window as `like`, which acknowledges
    /// `ahead` bytes more. `scale` is the peer's window scale.
    pub(super) fn pure_ack(&self, like: &Segment, number: u32, ahead: u64, scale: u8) -> Vec<u8> {
        let mut ip = like.ip.clone();
        let header = like
            .ip
            .get(like.tcp_at + 12)
            .map_or(FIXED, |byte| usize::from(byte >> 4) * 4);
        ip.truncate(like.tcp_at + header);
        set_length(&mut ip);
        let wider = u64::from(like.window) + ahead.div_ceil(1 << scale);
        let wider = u16::try_from(wider).unwrap_or(u16::MAX);
        if let Some(tcp) = ip.get_mut(like.tcp_at..).filter(|tcp| tcp.len() >= FIXED) {
            tcp[8..12].copy_from_slice(&number.wrapping_sub(self.shift).to_be_bytes());
            tcp[13] = ACK;
            tcp[14..16].copy_from_slice(&wider.to_be_bytes());
            let mut blocks = Vec::new();
            each_option(tcp, |kind, at| {
                if kind == SACK {
                    blocks.push(at);
                }
            });
            for at in blocks {
                let end = at + usize::from(tcp.get(at + 1).copied().unwrap_or(0));
                if let Some(option) = tcp.get_mut(at..end) {
                    option.fill(NOP);
                }
            }
        }
        let ack = Segment {
            ip,
            syn: false,
            has_ack: true,
            fin: false,
            checksum: Checksum::Right,
            payload: Vec::new(),
            ..like.clone()
        };
        self.apply(&ack)
    }
}

/// Calls `visit(kind, offset)` for each option that lies completely within the header.
fn each_option(header: &[u8], mut visit: impl FnMut(u8, usize)) {
    let len = header.get(12).map_or(0, |byte| usize::from(byte >> 4) * 4);
    let end = len.min(header.len());
    let mut at = FIXED;
    while at < end {
        match header[at] {
            END => return,
            NOP => at += 1,
            kind => {
                let size = header.get(at + 1).map_or(0, |size| usize::from(*size));
                if size < 2 || at + size > end {
                    return;
                }
                visit(kind, at);
                at += size;
            }
        }
    }
}

/// Adds to the number of four bytes at `at`.
pub(super) fn add(bytes: &mut [u8], at: usize, shift: u32) {
    if let Some(four) = bytes.get_mut(at..at + 4) {
        let old = u32::from_be_bytes([four[0], four[1], four[2], four[3]]);
        four.copy_from_slice(&old.wrapping_add(shift).to_be_bytes());
    }
}

/// Writes the length into the IP header: a device that cuts large segments itself may be given none.
pub(super) fn set_length(ip: &mut [u8]) {
    let len = ip.len();
    let (at, len) = match ip.first().map(|first| first >> 4) {
        Some(4) => (2, len),
        Some(6) => (4, len.saturating_sub(40)),
        _ => return,
    };
    if let (Some(field), Ok(len)) = (ip.get_mut(at..at + 2), u16::try_from(len)) {
        field.copy_from_slice(&len.to_be_bytes());
    }
}

/// Writes addresses and ports. The checksums are left as they are.
pub(super) fn readdress(ip: &mut [u8], from: SocketAddr, to: SocketAddr) {
    let Some(packet) = Packet::parse(ip, ip.len() as u32) else {
        return;
    };
    // Of a packet that an error quotes there may be no more than the ports.
    let is_later = matches!(packet.transport, Transport::LaterFragment);
    let ports = !is_later && matches!(packet.protocol, TCP | UDP);
    let at = packet.payload_at;
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) if ip.len() >= 20 => {
            ip[12..16].copy_from_slice(&from.octets());
            ip[16..20].copy_from_slice(&to.octets());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) if ip.len() >= 40 => {
            ip[8..24].copy_from_slice(&from.octets());
            ip[24..40].copy_from_slice(&to.octets());
        }
        _ => return,
    }
    if let Some(field) = ip.get_mut(at..at + 4).filter(|_| ports) {
        field[..2].copy_from_slice(&from.port().to_be_bytes());
        field[2..].copy_from_slice(&to.port().to_be_bytes());
    }
}
