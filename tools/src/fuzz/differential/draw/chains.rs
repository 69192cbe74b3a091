//! Options of IPv4, and extension headers of IPv6.

use super::Draw;
use super::faults::plain;
use crate::fuzz::differential::step::Packet;

/// Draws a packet with options or extension headers.
pub(super) fn packet(draw: &mut Draw) -> Packet {
    let mut packet = plain(draw);
    let mut names = Vec::new();
    if draw.v6 {
        for _ in 0..1 + draw.below(3) {
            let (name, kind, data) = header(draw);
            names.push(name);
            packet.chain.push((kind, data));
        }
    } else {
        for _ in 0..1 + draw.below(2) {
            let (name, bytes) = option(draw);
            names.push(name);
            packet.options.extend(bytes);
        }
        packet.options.truncate(40);
        let len = packet.options.len().next_multiple_of(4);
        packet.options.resize(len, 0);
    }
    packet.label = format!("{}, {}", packet.label, names.join(", "));
    packet
}

/// Draws an option of IPv4.
fn option(draw: &mut Draw) -> (String, Vec<u8>) {
    let address = [10, 1, 1, 1];
    let (name, bytes) = match draw.below(12) {
        0 => ("no operation", vec![1; 1 + draw.below(4)]),
        1 => ("end of list and more", vec![0, 7, 99, 1]),
        2 => ("record route", route(7, 4, 2)),
        3 => ("full record route", route(7, 12, 2)),
        4 => {
            let pointer = draw.pick(&[0, 1, 3, 5, 11, 200]);
            return (
                format!("record route pointer {pointer}"),
                route(7, pointer, 2),
            );
        }
        5 => {
            let kind = draw.pick(&[131, 137]);
            let mut bytes = route(kind, draw.pick(&[4, 8]), 1);
            bytes[3..7].copy_from_slice(&address);
            return (format!("source route {kind}"), bytes);
        }
        6 => {
            let flag = draw.pick(&[0, 1, 3]);
            let len = if flag == 0 { 12 } else { 20 };
            let mut bytes = vec![0; usize::from(len)];
            bytes[..4].copy_from_slice(&[68, len, 5, flag]);
            return (format!("timestamp {flag}"), bytes);
        }
        7 => ("router alert", vec![148, 4, 0, 0]),
        8 => {
            let kind = draw.pick(&[30, 94, 130, 134, 158, 205, 222]);
            return (format!("option {kind}"), vec![kind, 4, 1, 2]);
        }
        9 => {
            let len = draw.pick(&[0, 1]);
            return (format!("option of length {len}"), vec![94, len, 0, 0]);
        }
        10 => ("option behind the end", vec![94, 40, 0, 0]),
        _ => ("option without a length", vec![1, 1, 1, 94]),
    };
    (name.to_owned(), bytes)
}

/// Returns an option with room for `count` addresses.
fn route(kind: u8, pointer: u8, count: u8) -> Vec<u8> {
    let mut bytes = vec![kind, 3 + 4 * count, pointer];
    bytes.resize(usize::from(3 + 4 * count), 0);
    bytes
}

/// Draws an extension header: its name, its type, and what follows the byte of the next header.
fn header(draw: &mut Draw) -> (String, u8, Vec<u8>) {
    match draw.below(8) {
        0..=2 => options(draw, 60, "destination options"),
        3 => options(draw, 0, "hop-by-hop options"),
        4 => {
            let (kind, left) = (draw.pick(&[0, 2, 3, 4, 253]), draw.pick(&[0, 0, 1, 200]));
            let mut data = vec![2, kind, left];
            data.resize(23, 0);
            (format!("routing {kind} left {left}"), 43, data)
        }
        5 => {
            let reserved = draw.pick(&[0, 0, 2, 6]);
            let data = vec![0, 0, reserved, 0, 0, 0, 9];
            (format!("atomic fragment {reserved}"), 44, data)
        }
        6 => {
            let units = draw.pick(&[100, 255]);
            let kind = draw.pick(&[0, 43, 60]);
            let data = vec![units, 1, 4, 0, 0, 0, 0];
            (format!("header {kind} behind the end"), kind, data)
        }
        _ => ("no next header".to_owned(), 59, vec![0, 1, 4, 0, 0, 0, 0]),
    }
}

/// Draws a header of options.
fn options(draw: &mut Draw, kind: u8, name: &str) -> (String, u8, Vec<u8>) {
    let (what, option): (String, Vec<u8>) = match draw.below(9) {
        0 => ("padding".to_owned(), vec![1, 4, 0, 0, 0, 0]),
        1 => ("single padding".to_owned(), vec![0, 0, 0, 0, 0, 0]),
        2 => ("padding with data".to_owned(), vec![1, 4, 1, 2, 3, 4]),
        3 => ("router alert".to_owned(), vec![5, 2, 0, 0, 1, 0]),
        4 => ("jumbo payload".to_owned(), vec![0xc2, 4, 0, 1, 0, 0]),
        5 => (
            "option behind the end".to_owned(),
            vec![0x1e, 40, 0, 0, 0, 0],
        ),
        6 => (
            "option without a length".to_owned(),
            vec![1, 3, 0, 0, 0, 0x1e],
        ),
        7 => ("home address".to_owned(), vec![0xc9, 4, 0, 0, 0, 0]),
        _ => {
            let option = draw.pick(&[0x1e, 0x3e, 0x5e, 0x9e, 0xde]);
            (format!("option 0x{option:x}"), vec![option, 4, 0, 0, 0, 0])
        }
    };
    (format!("{name} {what}"), kind, [vec![0], option].concat())
}
