//! Packets, super-packets and wires for the tests.

use std::time::Duration;

use impair::{Checksum, Frame, Wire};
use packet::ip::Outline;

pub(crate) const SEED: u64 = 20_261_129;

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn us(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

/// An IPv4 packet of `len` bytes, ECN-capable if `ecn` is 1 or 2.
pub(crate) fn packet(len: usize, ecn: u8) -> Frame {
    let mut bytes = vec![0; len];
    bytes[0] = 0x45;
    bytes[1] = ecn;
    bytes[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    bytes[6] = 0x40;
    bytes[8] = 64;
    bytes[9] = 253;
    bytes[12..20].copy_from_slice(&[10, 77, 0, 1, 10, 77, 0, 2]);
    let sum = packet::checksum::of(&bytes[..20]);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    Frame::bare(bytes)
}

/// A TCP super-packet with `payload` bytes that count up, with a partial checksum as the kernel hands it over.
pub(crate) fn super_packet(ipv6: bool, payload: usize, size: u16) -> Frame {
    let ip = if ipv6 { 40 } else { 20 };
    let mut bytes = vec![0; ip + 32 + payload];
    let tcp_len = (32 + payload) as u16;
    if ipv6 {
        bytes[0] = 0x60;
        bytes[4..6].copy_from_slice(&tcp_len.to_be_bytes());
        (bytes[6], bytes[7]) = (6, 64);
        (bytes[8], bytes[23]) = (0xfd, 1);
        (bytes[24], bytes[39]) = (0xfd, 2);
    } else {
        bytes[0] = 0x45;
        bytes[2..4].copy_from_slice(&(20 + tcp_len).to_be_bytes());
        bytes[4..6].copy_from_slice(&0xfffe_u16.to_be_bytes());
        (bytes[6], bytes[8], bytes[9]) = (0x40, 64, 6);
        bytes[12..20].copy_from_slice(&[10, 77, 0, 1, 10, 77, 0, 2]);
        let sum = packet::checksum::of(&bytes[..20]);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    let tcp = &mut bytes[ip..];
    tcp[..4].copy_from_slice(&[0x12, 0x34, 0, 80]);
    tcp[4..8].copy_from_slice(&0xffff_f000_u32.to_be_bytes());
    // 32 bytes of header; CWR, ACK, PSH, FIN.
    (tcp[12], tcp[13]) = (0x80, 0x99);
    tcp[20..32].copy_from_slice(&[1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 7]);
    for (at, byte) in tcp[32..].iter_mut().enumerate() {
        *byte = at as u8;
    }
    let outline = Outline::read(&bytes).expect("a packet");
    let sum = packet::checksum::pseudo_header(
        outline.src,
        outline.dst,
        outline.proto,
        u32::from(tcp_len),
    );
    bytes[ip + 16..ip + 18].copy_from_slice(&sum.partial().to_be_bytes());
    let checksum = Checksum::Partial {
        start: ip as u16,
        offset: 16,
    };
    Frame::new(bytes, checksum, size)
}

pub(crate) fn wire(settings: &str) -> Wire {
    Wire::new(settings.parse().expect(settings), SEED)
}

/// Everything that arrives until nothing is under way, with its time.
pub(crate) fn drain(wire: &mut Wire) -> Vec<(Duration, Frame)> {
    let mut arrived = Vec::new();
    while let Some(at) = wire.next() {
        while let Some(frame) = wire.pop(at) {
            arrived.push((at, frame));
        }
    }
    arrived
}

/// Sends `count` packets of 1,000 bytes, one each millisecond, and returns which of them arrive.
pub(crate) fn survivors(settings: &str, count: u64) -> (Vec<u64>, Wire) {
    let mut wire = wire(settings);
    let mut arrived = Vec::new();
    for at in 0..count {
        wire.push(packet(1_000, 0), ms(at));
        while wire.pop(ms(at)).is_some() {
            arrived.push(at);
        }
    }
    (arrived, wire)
}
