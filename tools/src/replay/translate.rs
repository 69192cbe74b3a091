//! Translates a captured packet of the client into one for the stack under test.
//!
//! The client's own sequence numbers stay, and its addresses if a stack can have them. Values that
//! refer to the server are translated to the stack's: the acknowledgement, the blocks of a SACK, the
//! echoed timestamp. Options that the captured server declined are removed from the SYN, so that the
//! stack declines them, too. Checksums are computed again, because the capture of an offloading device
//! does not have them, and by a library that the stack does not use.

use std::net::IpAddr;

use etherparse::{Ipv4Header, TcpSlice};

use crate::capture::Segment;

const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;

/// The ACK flag in the thirteenth octet.
const ACK: u8 = 0x10;

/// Bytes of a TCP header without options.
const FIXED: usize = 20;

/// The options that a SYN-ACK agreed to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Negotiated {
    window_scale: bool,
    sack: bool,
    timestamps: bool,
}

impl Negotiated {
    /// Returns the window scale of the sender of `syn`.
    pub(super) fn scale_of(self, syn: &Segment) -> u8 {
        let (_, scale) = window(syn);
        scale.filter(|_| self.window_scale).unwrap_or(0).min(14)
    }

    pub(super) fn of(syn_ack: &Segment) -> Self {
        let mut found = Self::default();
        each_option(tcp(syn_ack), |kind, _| match kind {
            WINDOW_SCALE => found.window_scale = true,
            SACK_PERMITTED => found.sack = true,
            TIMESTAMPS => found.timestamps = true,
            _ => {}
        });
        found
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

/// The translation from the captured server's numbers to those of the stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Translation {
    /// Number to add to sequence numbers of the server.
    pub(super) shift: u32,
    /// The timestamp that the stack sent last.
    pub(super) echo: u32,
    /// The options that the captured server agreed to.
    pub(super) negotiated: Negotiated,
    /// The client's and the server's address.
    pub(super) addresses: (IpAddr, IpAddr),
}

impl Translation {
    /// Returns the packet to deliver to the stack.
    pub(super) fn apply(&self, segment: &Segment) -> Vec<u8> {
        let mut ip = segment.ip.clone();
        readdress(&mut ip, self.addresses);
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
            if segment.syn && self.negotiated.declined(kind) {
                header[at..at + len].fill(NOP);
            } else if kind == SACK {
                for edge in (at + 2..at + len).step_by(4) {
                    add(header, edge, self.shift);
                }
            } else if kind == TIMESTAMPS && segment.has_ack && len == 10 {
                header[at + 6..at + 10].copy_from_slice(&self.echo.to_be_bytes());
            }
        }
        finish(&mut ip, segment.tcp_at);
        ip
    }
}

impl Translation {
    /// As [`Translation::apply`], without payload, flags and SACK: an acknowledgement up to `number`, in
    /// the stack's own numbers, with the same right edge of the window as `like`, which acknowledges
    /// `ahead` bytes more. `scale` is the client's window scale.
    pub(super) fn pure_ack(&self, like: &Segment, number: u32, ahead: u64, scale: u8) -> Vec<u8> {
        let mut ip = like.ip.clone();
        let header = tcp(like)
            .get(12)
            .map_or(FIXED, |byte| usize::from(byte >> 4) * 4);
        ip.truncate(like.tcp_at + header);
        let len = ip.len();
        match ip.first().map(|first| first >> 4) {
            Some(4) => ip[2..4].copy_from_slice(&(len as u16).to_be_bytes()),
            Some(6) => ip[4..6].copy_from_slice(&((len - 40) as u16).to_be_bytes()),
            _ => return ip,
        }
        let Some(tcp) = ip.get_mut(like.tcp_at..) else {
            return ip;
        };
        if tcp.len() < FIXED {
            return ip;
        }
        tcp[8..12].copy_from_slice(&number.wrapping_sub(self.shift).to_be_bytes());
        tcp[13] = ACK;
        let (shown, _) = window(like);
        let wider = u64::from(shown) + ahead.div_ceil(1 << scale);
        let wider = u16::try_from(wider).unwrap_or(u16::MAX);
        tcp[14..16].copy_from_slice(&wider.to_be_bytes());
        let mut blocks = Vec::new();
        each_option(tcp, |kind, at| {
            if kind == SACK {
                blocks.push(at);
            }
        });
        for at in blocks {
            let end = at + usize::from(tcp[at + 1]);
            tcp[at..end].fill(NOP);
        }
        let ack = Segment {
            ip,
            syn: false,
            has_ack: true,
            fin: false,
            payload: Vec::new(),
            ..like.clone()
        };
        self.apply(&ack)
    }
}

/// Returns the maximum segment size of a SYN; without the option, the default of RFC 9293 section
/// 3.7.1.
pub(super) fn mss(syn: &Segment) -> u16 {
    let header = tcp(syn);
    let mut found = if syn.tcp_at == 20 { 536 } else { 1220 };
    each_option(header, |kind, at| {
        if kind == MSS
            && let Some(pair) = header.get(at + 2..at + 4)
        {
            found = u16::from_be_bytes([pair[0], pair[1]]);
        }
    });
    found
}

/// Returns the window of a segment and, for a SYN, its window scale.
pub(super) fn window(segment: &Segment) -> (u32, Option<u8>) {
    let header = tcp(segment);
    let raw = header
        .get(14..16)
        .map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]));
    let mut scale = None;
    each_option(header, |kind, at| {
        if kind == WINDOW_SCALE {
            scale = header.get(at + 2).copied();
        }
    });
    (u32::from(raw), scale)
}

fn tcp(segment: &Segment) -> &[u8] {
    segment.ip.get(segment.tcp_at..).unwrap_or_default()
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

fn add(bytes: &mut [u8], at: usize, shift: u32) {
    if let Some(four) = bytes.get_mut(at..at + 4) {
        let old = u32::from_be_bytes([four[0], four[1], four[2], four[3]]);
        four.copy_from_slice(&old.wrapping_add(shift).to_be_bytes());
    }
}

/// Writes the addresses, and the header checksum of IPv4.
fn readdress(ip: &mut [u8], addresses: (IpAddr, IpAddr)) {
    match addresses {
        (IpAddr::V4(from), IpAddr::V4(to)) if ip.len() >= 20 => {
            ip[12..16].copy_from_slice(&from.octets());
            ip[16..20].copy_from_slice(&to.octets());
            if let Ok((header, _)) = Ipv4Header::from_slice(ip) {
                let sum = header.calc_header_checksum();
                ip[10..12].copy_from_slice(&sum.to_be_bytes());
            }
        }
        (IpAddr::V6(from), IpAddr::V6(to)) if ip.len() >= 40 => {
            ip[8..24].copy_from_slice(&from.octets());
            ip[24..40].copy_from_slice(&to.octets());
        }
        _ => {}
    }
}

/// Writes the TCP checksum.
fn finish(ip: &mut [u8], tcp_at: usize) {
    let v4 = ip.get(12..20).and_then(|both| both.split_at_checked(4));
    let v6 = ip.get(8..40).and_then(|both| both.split_at_checked(16));
    let Some(Ok(tcp)) = ip.get(tcp_at..).map(TcpSlice::from_slice) else {
        return;
    };
    let sum = match (ip.first().map(|first| first >> 4), v4, v6) {
        (Some(4), Some((src, dst)), _) => match (src.try_into(), dst.try_into()) {
            (Ok(src), Ok(dst)) => tcp.calc_checksum_ipv4(src, dst).ok(),
            _ => None,
        },
        (Some(6), _, Some((src, dst))) => match (src.try_into(), dst.try_into()) {
            (Ok(src), Ok(dst)) => tcp.calc_checksum_ipv6(src, dst).ok(),
            _ => None,
        },
        _ => None,
    };
    if let Some(sum) = sum
        && let Some(field) = ip.get_mut(tcp_at + 16..tcp_at + 18)
    {
        field.copy_from_slice(&sum.to_be_bytes());
    }
}
