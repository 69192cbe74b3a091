//! Faults of IP headers.

use std::net::{IpAddr, Ipv6Addr};

use super::Draw;
use crate::fuzz::differential::step::{Body, Edit, Opt, PEER_UDP, Packet, Port, Segment, Seq};

/// Addresses of IPv4 that a packet from the peer to the host does not have.
const ODD_V4: [[u8; 4]; 13] = [
    [0, 0, 0, 0],
    [0, 0, 0, 1],
    [127, 0, 0, 1],
    [255, 255, 255, 255],
    [224, 0, 0, 1],
    [239, 1, 2, 3],
    [192, 168, 0, 1],
    [192, 168, 255, 255],
    [192, 168, 0, 0],
    [192, 168, 0, 9],
    [240, 0, 0, 1],
    [169, 254, 1, 1],
    [10, 1, 2, 3],
];

/// The same of IPv6.
const ODD_V6: [&str; 14] = [
    "::",
    "::1",
    "::2",
    "::ffff:10.0.0.1",
    "ff02::1",
    "ff02::2",
    "ff01::1",
    "ff05::1:3",
    "ff0e::1",
    "fe80::1",
    "fd3d:fa7b:d17d::1",
    "fd3d:fa7b:d17d::",
    "fd3d:fa7b:d17d::9",
    "2001:4860::1",
];

/// Draws a packet that a host answers or takes if its headers are right.
pub(super) fn plain(draw: &mut Draw) -> Packet {
    match draw.below(4) {
        0 => Packet::new("echo", Body::Echo(7, draw.below(80))),
        1 => Packet::new("udp open", Body::Udp(PEER_UDP, Port::Open, draw.below(80))),
        2 => Packet::new(
            "udp closed",
            Body::Udp(PEER_UDP, Port::Closed, draw.below(80)),
        ),
        _ => {
            let segment = Segment {
                from: draw.port(),
                to: Port::Open,
                flags: 0x02,
                seq: Seq::Next(0),
                ack: 0,
                window: 1_000,
                urgent: 0,
                options: vec![Opt::Raw(vec![2, 4, 5, 180])],
                len: 0,
                twist: 0,
                advances: true,
            };
            Packet::new("tcp syn", Body::Tcp(segment))
        }
    }
}

/// Draws a packet with at most one fault in its header of IP.
pub(super) fn packet(draw: &mut Draw) -> Packet {
    let mut packet = plain(draw);
    let what = if draw.v6 {
        v6(draw, &mut packet)
    } else {
        v4(draw, &mut packet)
    };
    packet.label = format!("{}, {what}", packet.label);
    packet
}

fn v4(draw: &mut Draw, packet: &mut Packet) -> String {
    let mut edit = |at: usize, value: Vec<u8>| packet.edits.push(Edit::Ip(at, value));
    match draw.below(13) {
        0 => "right".to_owned(),
        1 => {
            let value = draw.pick(&[0x05, 0x15, 0x55, 0x65, 0xf5]);
            edit(0, vec![value]);
            format!("version {}", value >> 4)
        }
        2 => {
            let words = draw.pick(&[0, 1, 4, 6, 8, 14, 15]);
            edit(0, vec![0x40 | words]);
            format!("header length {}", words * 4)
        }
        3 => {
            let by = draw.pick(&[-60, -20, -9, -8, -1, 1, 8, 200]);
            packet.edits.push(Edit::Length(by));
            format!("total length {by:+}")
        }
        4 => {
            let at = draw.pick(&[10, 11]);
            packet
                .faults
                .push(Edit::Ip(at, vec![draw.pick(&[0, 0xff, 0x5a])]));
            "header checksum".to_owned()
        }
        5 => {
            let ttl = draw.pick(&[0, 1, 255]);
            edit(8, vec![ttl]);
            format!("ttl {ttl}")
        }
        6 => {
            let proto = draw.pick(&[99, 200, 253, 254, 255]);
            edit(9, vec![proto]);
            format!("protocol {proto}")
        }
        7 => {
            let flags = draw.pick(&[0x80, 0x40, 0xc0]);
            edit(6, vec![flags]);
            format!("flags 0x{flags:x}")
        }
        8 => {
            let tos = draw.pick(&[0x01, 0x02, 0x03, 0x10, 0xb8, 0xc0, 0xff]);
            edit(1, vec![tos]);
            format!("tos 0x{tos:x}")
        }
        9 | 10 => {
            let is_source = draw.rarely(2);
            let odd = draw.pick(&ODD_V4);
            edit(if is_source { 12 } else { 16 }, odd.to_vec());
            addressed(is_source, IpAddr::from(odd))
        }
        11 => {
            let len = draw.below(40);
            packet.faults.push(Edit::Cut(len));
            format!("cut at {len}")
        }
        _ => {
            packet.faults.push(Edit::Pad(1 + draw.below(40)));
            "padding".to_owned()
        }
    }
}

fn addressed(is_source: bool, address: IpAddr) -> String {
    let end = if is_source { "from" } else { "to" };
    format!("{end} {address}")
}

fn v6(draw: &mut Draw, packet: &mut Packet) -> String {
    let mut edit = |at: usize, value: Vec<u8>| packet.edits.push(Edit::Ip(at, value));
    match draw.below(12) {
        0 => "right".to_owned(),
        1 => {
            let value = draw.pick(&[0x00, 0x40, 0x45, 0x50, 0x70, 0xf0]);
            edit(0, vec![value]);
            format!("version {}", value >> 4)
        }
        2 | 3 => {
            let by = draw.pick(&[-60, -20, -9, -8, -1, 1, 8, 200]);
            packet.edits.push(Edit::Length(by));
            format!("payload length {by:+}")
        }
        4 => {
            let hops = draw.pick(&[0, 1, 255]);
            edit(7, vec![hops]);
            format!("hop limit {hops}")
        }
        5 => {
            let next = draw.pick(&[1, 4, 99, 200, 253, 254, 255]);
            edit(6, vec![next]);
            format!("next header {next}")
        }
        6 => {
            let class = draw.pick(&[0x10, 0x20, 0x30, 0xb0, 0xc0, 0xf0]);
            edit(0, vec![0x60 | class >> 4, (class & 15) << 4]);
            format!("traffic class 0x{class:x}")
        }
        7..=9 => {
            let is_source = draw.rarely(2);
            let odd = draw.pick(&ODD_V6);
            let odd: Ipv6Addr = odd.parse().unwrap_or(Ipv6Addr::UNSPECIFIED);
            edit(if is_source { 8 } else { 24 }, odd.octets().to_vec());
            addressed(is_source, odd.into())
        }
        10 => {
            let len = draw.below(70);
            packet.faults.push(Edit::Cut(len));
            format!("cut at {len}")
        }
        _ => {
            packet.faults.push(Edit::Pad(1 + draw.below(40)));
            "padding".to_owned()
        }
    }
}
