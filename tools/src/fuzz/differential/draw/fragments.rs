//! Datagrams in fragments: in any order, twice, overlapping, cut, and with parts missing.

use super::super::step::{Body, Call, Edit, PEER_UDP, Packet, Part, Port, Step};
use super::Draw;

/// Draws the fragments of one to three datagrams.
pub(super) fn steps(draw: &mut Draw) -> Vec<Step> {
    let mut steps = Vec::new();
    for number in 0..1 + draw.below(3) {
        let len = 1 + draw.below(900);
        let (name, body) = match draw.below(4) {
            0 => ("echo", Body::Echo(9, len)),
            1 => ("udp closed", Body::Udp(PEER_UDP, Port::Closed, len)),
            _ => ("udp open", Body::Udp(PEER_UDP, Port::Open, len)),
        };
        let mut parts = cut(draw, &body, 100 + number as u16, len + 8);
        disturb(draw, &mut parts, len + 8);
        for part in parts {
            let label = format!(
                "{name} {} in fragments, {}..{}{}{}",
                len + 8,
                part.from,
                part.to,
                if part.more { " more" } else { "" },
                if part.twist == 0 { "" } else { " other bytes" }
            );
            let mut packet = Packet::new(label, Body::Fragment(Box::new(part)));
            if draw.rarely(30) {
                fault(draw, &mut packet);
            }
            steps.push(Step::Packet(packet));
        }
        steps.push(Step::from(Call::UdpRead));
    }
    steps
}

/// Cuts a payload of `len` bytes.
fn cut(draw: &mut Draw, body: &Body, id: u16, len: usize) -> Vec<Part> {
    let size = (8 * (1 + draw.below(40))).max(len.div_ceil(8).next_multiple_of(8));
    let starts = (0..len).step_by(size);
    let part = |from: usize| Part {
        of: body.clone(),
        id,
        from,
        to: len.min(from + size),
        more: from + size < len,
        twist: 0,
    };
    starts.map(part).collect()
}

/// Changes the order of fragments and what they cover.
fn disturb(draw: &mut Draw, parts: &mut Vec<Part>, len: usize) {
    match draw.below(4) {
        0 => parts.reverse(),
        1 => {
            for at in (1..parts.len()).rev() {
                let other = draw.below(at + 1);
                parts.swap(at, other);
            }
        }
        _ => {}
    }
    if draw.rarely(2) {
        return;
    }
    let at = draw.below(parts.len());
    let mut copy = parts[at].clone();
    let place = draw.below(parts.len() + 1);
    let what = draw.below(8);
    draw.overlaps |= (1..=4).contains(&what);
    match what {
        // The same again, or the same place with other bytes.
        0 => parts.insert(place, copy),
        1 => {
            copy.twist = 1;
            parts.insert(place, copy);
        }
        // Overlaps at either end.
        2 => {
            copy.from = copy.from.saturating_sub(8);
            copy.twist = draw.pick(&[0, 1]);
            parts.insert(place, copy);
        }
        3 => {
            copy.to = (copy.to + 8).min(len);
            copy.more = true;
            copy.twist = draw.pick(&[0, 1]);
            parts.insert(place, copy);
        }
        4 => {
            copy.to = copy.from + (copy.to - copy.from) / 2 / 8 * 8;
            copy.more = true;
            parts.insert(place, copy);
        }
        // One is missing, one ends early, one says that it is the last.
        5 => drop(parts.remove(at)),
        6 => parts[at].to = parts[at].to.saturating_sub(3).max(parts[at].from),
        _ => parts[at].more = !parts[at].more,
    }
}

fn fault(draw: &mut Draw, packet: &mut Packet) {
    let what = match draw.below(4) {
        0 => {
            packet.faults.push(Edit::Length(-1));
            "length -1"
        }
        1 => {
            packet.faults.push(Edit::Pad(8));
            "padding"
        }
        2 if draw.v6 => {
            // The offset of the fragment header: the end is behind the longest packet.
            packet.faults.push(Edit::Ip(42, vec![0xff, 0xf9]));
            "offset 65528 more"
        }
        2 => {
            packet.edits.push(Edit::Ip(6, vec![0x3f, 0xff]));
            "offset 65528 more"
        }
        _ if draw.v6 => {
            packet
                .faults
                .push(Edit::Ip(40, vec![draw.pick(&[0, 6, 58, 59, 200])]));
            "other next header"
        }
        _ => {
            packet
                .edits
                .push(Edit::Ip(9, vec![draw.pick(&[1, 6, 200])]));
            "other protocol"
        }
    };
    packet.label = format!("{}, {what}", packet.label);
}
