//! A TCP endpoint by hand, and what it hears.

use std::net::IpAddr;

use super::Lab;
use crate::forge;

/// Flags of the TCP header.
pub mod flag {
    /// No more data.
    pub const FIN: u8 = 1;
    /// Synchronise.
    pub const SYN: u8 = 2;
    /// Reset.
    pub const RST: u8 = 4;
    /// Acknowledgment.
    pub const ACK: u8 = 16;
    /// ECE and CWR, with which a SYN offers explicit congestion notification.
    pub const ECN: u8 = 0xc0;
}

/// A segment that the stack sent.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Port of the stack.
    pub from: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// Flags.
    pub flags: u8,
    /// Window, unscaled.
    pub window: u16,
    /// Options, as bytes.
    pub options: Vec<u8>,
    /// Payload.
    pub data: Vec<u8>,
}

/// Returns the option for a maximum segment size.
pub fn mss(bytes: u16) -> Vec<u8> {
    let [high, low] = bytes.to_be_bytes();
    vec![2, 4, high, low]
}

/// Returns a number that differs from that of other addresses.
fn bits(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(v4) => v4.to_bits(),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u32 ^ v6.to_bits() as u32,
    }
}

/// A TCP endpoint by hand: it sends what a test says and keeps count.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// The stack's port.
    pub to: u16,
    /// Its initial sequence number.
    pub iss: u32,
    /// Its next sequence number.
    pub next: u32,
    /// The stack's next sequence number, as far as it was received in order.
    pub rcv: u32,
    /// The last acknowledgment of the stack.
    pub una: u32,
    /// The window that the stack offered last.
    pub window: u16,
    /// The window that this side offers.
    pub offer: u16,
}

impl Peer {
    /// Creates a closed endpoint.
    pub fn new(address: IpAddr, port: u16, to: u16) -> Self {
        let iss = u32::from(port).wrapping_mul(0x9E37_79B9) ^ bits(address);
        Self {
            address,
            port,
            to,
            iss,
            next: iss.wrapping_add(1),
            rcv: 0,
            una: iss,
            window: 0,
            offer: u16::MAX,
        }
    }

    /// Opens a connection; true if the stack answered.
    pub fn open(&mut self, lab: &mut Lab, options: &[u8]) -> bool {
        self.syn(lab, options);
        while let Some(segment) = lab.heard((self.address, self.port)) {
            if segment.flags & (flag::SYN | flag::ACK) == flag::SYN | flag::ACK {
                self.on_syn_ack(&segment);
                self.ack(lab);
                return true;
            }
        }
        false
    }

    /// Returns how many of `len` bytes after the SYN the stack acknowledged.
    pub(super) fn acked(&self, len: usize) -> usize {
        let acked = self.una.wrapping_sub(self.iss.wrapping_add(1)) as usize;
        if acked <= len { acked } else { 0 }
    }

    /// Sends a SYN with these options, a multiple of four bytes.
    pub fn syn(&self, lab: &mut Lab, options: &[u8]) {
        lab.send(self.segment(self.iss, 0, flag::SYN, options, &[]));
    }

    /// Notes the answer to the SYN.
    pub fn on_syn_ack(&mut self, segment: &Heard) {
        self.rcv = segment.seq.wrapping_add(1);
        self.una = segment.ack;
        self.window = segment.window;
    }

    /// Acknowledges what was received in order.
    pub fn ack(&self, lab: &mut Lab) {
        lab.send(self.segment(self.next, self.rcv, flag::ACK, &[], &[]));
    }

    /// Sends data that is next.
    pub fn data(&mut self, lab: &mut Lab, data: &[u8]) {
        let seq = self.next;
        self.next = self.next.wrapping_add(data.len() as u32);
        self.send_at(lab, seq, data);
    }

    /// Sends data at a sequence number.
    pub fn send_at(&self, lab: &mut Lab, seq: u32, data: &[u8]) {
        lab.send(self.segment(seq, self.rcv, flag::ACK, &[], data));
    }

    /// Resets the connection.
    pub fn reset(&self, lab: &mut Lab) {
        // Where the stack expects it, so that it needs no challenge.
        let seq = if self.una == self.iss {
            self.next
        } else {
            self.una
        };
        lab.send(self.segment(seq, self.rcv, flag::RST | flag::ACK, &[], &[]));
    }

    /// Builds a segment of this endpoint; `options` is a multiple of four bytes.
    pub fn segment(&self, seq: u32, ack: u32, flags: u8, options: &[u8], data: &[u8]) -> Vec<u8> {
        let mut bytes = forge::tcp(self.port, self.to, seq, ack, flags, &[]);
        bytes[14..16].copy_from_slice(&self.offer.to_be_bytes());
        bytes[12] = (5 + options.len() as u8 / 4) << 4;
        bytes.extend_from_slice(options);
        bytes.extend_from_slice(data);
        forge::sealed(forge::packet(self.address, forge::TCP, &bytes))
    }

    /// Takes everything that the stack sent to this endpoint, notes acknowledgment and window, and returns
    /// the segments.
    pub fn listen(&mut self, lab: &mut Lab) -> Vec<Heard> {
        let mut all = Vec::new();
        while let Some(segment) = lab.heard((self.address, self.port)) {
            if segment.flags & flag::ACK != 0 {
                self.una = segment.ack;
                self.window = segment.window;
            }
            all.push(segment);
        }
        all
    }
}
