//! ICMP and UDP.

use super::super::step::{Body, Call, Edit, PEER_UDP, Packet, Port, Quoted, Step};
use super::Draw;

const UDP: u8 = 17;

/// Types and codes of ICMP errors.
const ERRORS_V4: [(u8, u8); 23] = [
    (3, 0),
    (3, 1),
    (3, 2),
    (3, 3),
    (3, 4),
    (3, 5),
    (3, 6),
    (3, 7),
    (3, 8),
    (3, 9),
    (3, 10),
    (3, 11),
    (3, 12),
    (3, 13),
    (3, 14),
    (3, 15),
    (3, 16),
    (4, 0),
    (5, 1),
    (11, 0),
    (11, 1),
    (12, 0),
    (12, 1),
];

/// Types and codes of ICMPv6 errors.
const ERRORS_V6: [(u8, u8); 15] = [
    (1, 0),
    (1, 1),
    (1, 2),
    (1, 3),
    (1, 4),
    (1, 5),
    (1, 6),
    (1, 9),
    (2, 0),
    (3, 0),
    (3, 1),
    (4, 0),
    (4, 1),
    (4, 2),
    (4, 5),
];

/// Draws messages of ICMP.
pub(super) fn icmp(draw: &mut Draw) -> Vec<Step> {
    let mut steps = Vec::new();
    if draw.rarely(2) {
        steps.extend([Call::UdpConnect, Call::UdpWrite(30)].map(Step::from));
    }
    for _ in 0..1 + draw.below(8) {
        let packet = match draw.below(6) {
            0 | 1 => echo(draw),
            2 => any(draw),
            _ => error(draw, UDP),
        };
        let after = format!("after {}", packet.label);
        steps.push(Step::Packet(packet));
        let call = draw.pick(&[Call::UdpRead, Call::UdpWrite(20)]);
        steps.extend([Call::UdpRead, call].map(|call| Step::Call(call, after.clone())));
    }
    steps
}

fn echo(draw: &mut Draw) -> Packet {
    let len = draw.pick(&[0, 1, 56, 1_000, 1_452, 1_472]);
    let mut packet = Packet::new("echo", Body::Echo(3, len));
    let what = match draw.below(5) {
        0 => {
            packet.faults.push(Edit::Flip(2, 0x10));
            "checksum".to_owned()
        }
        1 => {
            let code = draw.pick(&[1, 9]);
            packet.edits.push(Edit::Transport(1, vec![code]));
            format!("code {code}")
        }
        2 => {
            let to = draw.pick(&[1, 4, 7]);
            packet.edits.push(Edit::Length(to - len as i32 - 8));
            format!("{to} bytes")
        }
        _ => format!("{} bytes", len + 8),
    };
    packet.label = format!("echo, {what}");
    packet
}

/// Draws a message that is no error.
fn any(draw: &mut Draw) -> Packet {
    let kind = if draw.v6 {
        draw.pick(&[0, 5, 100, 101, 127, 129, 138, 144, 200, 255])
    } else {
        draw.pick(&[
            0, 1, 2, 4, 6, 9, 10, 13, 14, 15, 16, 17, 18, 30, 37, 40, 42, 255,
        ])
    };
    let (code, len) = (draw.pick(&[0, 0, 1]), draw.pick(&[0, 4, 12, 60]));
    let body = draw.bytes(len);
    Packet::new(
        format!("icmp {kind}/{code}, {len} bytes"),
        Body::Icmp(kind, code, [0, 1, 0, 2], body),
    )
}

/// Draws an error about what the host sent last over a protocol.
pub(super) fn error(draw: &mut Draw, proto: u8) -> Packet {
    let (kind, code) = if draw.v6 {
        draw.pick(&ERRORS_V6)
    } else {
        draw.pick(&ERRORS_V4)
    };
    let mtu: u16 = draw.pick(&[0, 68, 296, 1_280, 1_400, 1_500, 9_000]);
    let rest = if draw.v6 {
        u32::from(mtu).to_be_bytes()
    } else {
        let [high, low] = mtu.to_be_bytes();
        [0, 0, high, low]
    };
    let headers = if draw.v6 { 40 } else { 20 };
    let quoted = Quoted {
        proto,
        len: headers + draw.pick(&[0, 4, 8, 8, 8, 20, 500]),
        off_by: draw.pick(&[0, 0, 0, 0, 1, 0x4000_0000]),
    };
    let mut label = format!("icmp error {kind}/{code}, {quoted:?}");
    if (kind, code) == (3, 4) || (draw.v6 && kind == 2) {
        label = format!("{label}, mtu {mtu}");
    }
    Packet::new(label, Body::IcmpError(kind, code, rest, quoted))
}

/// Draws datagrams with and without faults.
pub(super) fn udp(draw: &mut Draw) -> Vec<Step> {
    let mut steps = Vec::new();
    if draw.rarely(3) {
        steps.push(Step::from(Call::UdpConnect));
    }
    for _ in 0..1 + draw.below(8) {
        let (to, name) = draw.pick(&[(Port::Open, "udp open"), (Port::Closed, "udp closed")]);
        let from = draw.pick(&[PEER_UDP, PEER_UDP, PEER_UDP, 0, 7]);
        let len = draw.pick(&[0, 1, 2, 33, 500, 1_452]);
        let mut packet = Packet::new("", Body::Udp(from, to, len));
        let what = datagram(draw, &mut packet);
        packet.label = format!("{name}, from {from}, {len} bytes, {what}");
        let after = format!("after {}", packet.label);
        steps.push(Step::Packet(packet));
        steps.push(Step::Call(Call::UdpRead, after));
        if draw.rarely(4) {
            let len = draw.pick(&[0, 1, 500]);
            steps.push(Step::from(Call::UdpWrite(len)));
        }
    }
    steps
}

fn datagram(draw: &mut Draw, packet: &mut Packet) -> String {
    match draw.below(9) {
        0 => {
            packet.faults.push(Edit::Flip(draw.pick(&[6, 7]), 0x40));
            "checksum".to_owned()
        }
        1 => {
            packet.faults.push(Edit::Transport(6, vec![0, 0]));
            "checksum 0".to_owned()
        }
        2 | 3 => {
            let by = draw.pick(&[-500, -9, -8, -1, 1, 8, 100]);
            packet.edits.push(Edit::UdpLength(by));
            format!("length {by:+}")
        }
        4 => {
            let length = draw.pick(&[0, 1, 7, 8]);
            packet.edits.push(Edit::Transport(4, vec![0, length]));
            format!("length {length}")
        }
        5 => {
            packet.edits.push(Edit::Transport(2, vec![0, 0]));
            "to port 0".to_owned()
        }
        6 => {
            let by = draw.pick(&[4, 7, 12]);
            let len = if let Body::Udp(_, _, len) = packet.body {
                len
            } else {
                0
            };
            packet.edits.push(Edit::Length(by - 8 - len as i32));
            format!("{by} bytes in IP")
        }
        _ => "right".to_owned(),
    }
}
