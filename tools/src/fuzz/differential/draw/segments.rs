//! Segments of an open connection, and the calls of its application.

use std::net::IpAddr;

use packet::RxChecksum;
use packet::tcp::TcpView;

use super::super::step::{Body, Call, Edit, Opt, Packet, Port, Segment, Seq, Step};
use super::Draw;
use super::datagrams;
use crate::pktscript::wire::show;

pub(super) const FIN: u8 = 0x01;
pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const PSH: u8 = 0x08;
pub(super) const ACK: u8 = 0x10;
const URG: u8 = 0x20;
const TCP: u8 = 6;

/// Combinations of control bits that segments of a connection may have.
const FLAGS: [u8; 24] = [
    ACK,
    ACK,
    ACK,
    ACK,
    ACK | PSH,
    ACK | PSH,
    ACK | PSH,
    ACK | FIN,
    ACK | FIN,
    ACK | FIN | PSH,
    RST,
    RST | ACK,
    SYN,
    SYN | ACK,
    SYN | FIN,
    SYN | RST,
    FIN,
    0,
    PSH,
    ACK | URG,
    ACK | URG | PSH,
    FIN | PSH | URG,
    0x3f,
    0xff,
];

/// Returns a segment of the peer at `from` in the right place.
pub(super) fn segment(from: u16, to: Port, flags: u8) -> Segment {
    Segment {
        from,
        to,
        flags,
        seq: Seq::Next(0),
        ack: 0,
        window: 8_000,
        urgent: 0,
        options: Vec::new(),
        len: 0,
        twist: 0,
        advances: false,
    }
}

/// Returns a segment as a packet with a label that says all of it.
pub(super) fn packet(what: &str, segment: Segment) -> Packet {
    let mut label = format!(
        "{what} {} seq {:?} ack {:+} len {} window {}",
        show::flags(segment.flags.into()),
        segment.seq,
        segment.ack,
        segment.len,
        segment.window
    );
    if segment.urgent != 0 {
        label = format!("{label} urgent {}", segment.urgent);
    }
    for option in &segment.options {
        label = format!("{label} {option:?}");
    }
    if is_malformed(&segment.options) {
        label.push_str(" malformed");
    }
    if segment.flags & RST != 0 {
        label.push_str(" with RST");
    }
    if segment.flags & ACK == 0 {
        label.push_str(" without ACK");
    }
    if segment.twist != 0 {
        label.push_str(" other bytes");
    }
    Packet::new(label, Body::Tcp(segment))
}

/// Returns true for options that cannot be read to their end.
fn is_malformed(options: &[Opt]) -> bool {
    let raw = options.iter().filter_map(|option| match option {
        Opt::Raw(raw) => Some(raw.as_slice()),
        _ => None,
    });
    let raw = raw.collect::<Vec<_>>().concat();
    let mut segment = vec![0; 20];
    segment[12] = ((20 + raw.len().next_multiple_of(4)) << 2) as u8;
    segment.extend(&raw);
    segment.resize(segment.len().next_multiple_of(4), 0);
    let any = IpAddr::from([0; 4]);
    TcpView::parse(any, any, &segment, RxChecksum::Vouched).is_err()
}

/// Draws the options of a SYN: whether it has timestamps, and the options.
pub(super) fn syn_options(draw: &mut Draw) -> (bool, Vec<Opt>) {
    let mut options = vec![Opt::Raw(vec![2, 4, 5, 180])];
    let stamps = draw.rarely(2);
    if stamps {
        options.push(Opt::Stamps(0, 0));
    }
    if draw.rarely(2) {
        options.push(Opt::Raw(vec![1, 3, 3, 2]));
    }
    if draw.rarely(2) {
        options.push(Opt::Raw(vec![1, 1, 4, 2]));
    }
    (stamps, options)
}

/// Draws the life of a connection.
pub(super) fn steps(draw: &mut Draw) -> Vec<Step> {
    let from = draw.port();
    let (stamps, options) = syn_options(draw);
    let mut syn = segment(from, Port::Open, SYN);
    syn.options = options;
    syn.advances = true;
    let mut ack = segment(from, Port::Open, ACK);
    ack.options = usual(stamps);
    let mut steps = vec![
        Step::Packet(packet("handshake", syn)),
        Step::Packet(packet("handshake", ack)),
        Step::from(Call::Accept),
    ];
    steps.extend(life(draw, from, Port::Open, stamps));
    steps
}

/// Draws what happens to a connection that is open.
pub(super) fn life(draw: &mut Draw, from: u16, to: Port, stamps: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    for _ in 0..2 + draw.below(9) {
        if draw.rarely(3) {
            steps.push(Step::from(call(draw)));
        } else {
            let arrives = arrival(draw, from, to, stamps);
            let is_last = arrives.is_malformed();
            steps.push(Step::Packet(arrives));
            if is_last {
                return steps;
            }
            if draw.ends_ahead {
                break;
            }
        }
    }
    steps.extend([Call::Read(100_000), Call::Read(10), Call::Error].map(Step::from));
    // Tells what the host expects and what it has sent.
    let mut last = segment(from, to, ACK);
    last.seq = Seq::Next(-1);
    last.options = usual(stamps);
    steps.push(Step::Packet(packet("probe", last)));
    steps
}

fn call(draw: &mut Draw) -> Call {
    match draw.below(10) {
        0..=2 => Call::Read(draw.pick(&[1, 100, 100_000])),
        3..=6 => Call::Write(draw.pick(&[1, 100, 1_400, 3_000])),
        7 => Call::ShutdownWrite,
        8 => Call::Error,
        _ => Call::Close,
    }
}

/// Returns the options that segments have with and without timestamps.
pub(super) fn usual(stamps: bool) -> Vec<Opt> {
    if stamps {
        vec![Opt::Stamps(0, 0)]
    } else {
        Vec::new()
    }
}

/// Draws a packet that arrives for a connection.
fn arrival(draw: &mut Draw, from: u16, to: Port, stamps: bool) -> Packet {
    if draw.rarely(15) {
        return datagrams::error(draw, TCP);
    }
    let mut drawn = segment(from, to, draw.pick(&[ACK, ACK | PSH]));
    drawn.options = usual(stamps);
    drawn.window = draw.pick(&[8_000, 8_000, 8_000, 65_535, 0]);
    drawn.len = draw.pick(&[0, 0, 1, 100, 100, 536, 1_400]);
    if draw.rarely(3) {
        drawn.advances = true;
        return packet("in order", drawn);
    }
    drawn.flags = draw.pick(&FLAGS);
    drawn.seq = match draw.below(10) {
        0..=3 => Seq::Next(0),
        4 => Seq::Next(draw.pick(&[-1, -50, -100, -2_000])),
        5 | 6 => Seq::Next(draw.pick(&[1, 50, 100, 500, 3_000])),
        7 => Seq::Edge(draw.pick(&[2_000, 5_000, 100_000])),
        8 => Seq::Edge(-(drawn.len as i32)),
        _ => Seq::Next(draw.pick(&[-2_000_000_000, 2_000_000_000, -70_000_000, 70_000_000])),
    };
    drawn.ack = match draw.below(8) {
        0..=4 => 0,
        5 => draw.pick(&[-1, -50, -100, -1_500]),
        6 => draw.pick(&[1, 100, 70_000]),
        _ => draw.pick(&[-2_000_000_000, 2_000_000_000, -70_000_000, 70_000_000]),
    };
    draw.urgent |= drawn.flags & URG != 0;
    if drawn.ack < 0 {
        // The kernel drops the data if nothing had been sent, which would show much later.
        drawn.len = 0;
    }
    // Nothing comes behind the end of a stream.
    if draw.is_ahead || drawn.ack < 0 {
        drawn.flags &= !FIN;
    }
    draw.is_ahead |= !matches!(drawn.seq, Seq::Next(at) if at <= 0);
    if drawn.flags & FIN != 0 {
        let is_next = matches!(drawn.seq, Seq::Next(0));
        drawn.advances = is_next && drawn.ack == 0;
        draw.ends_ahead |= !is_next;
    }
    if drawn.flags & URG != 0 || draw.rarely(20) {
        drawn.urgent = draw.pick(&[0, 1, 2, 50, 100, 2_000, 65_535]);
    }
    if draw.rarely(4) {
        drawn.options = garbage(draw, stamps);
    }
    drawn.twist = u8::from(draw.rarely(20));
    let mut made = packet("segment", drawn);
    if draw.rarely(20) {
        let what = broken(draw, &mut made);
        made.label = format!("{}, {what}", made.label);
    }
    made
}

/// Draws options that are wrong, or in the wrong place.
pub(super) fn garbage(draw: &mut Draw, stamps: bool) -> Vec<Opt> {
    let odd = match draw.below(12) {
        0 => return usual(stamps),
        1 => Opt::Stamps(draw.pick(&[-1, -1_000, -400_000, i32::MIN]), 0),
        2 => Opt::Stamps(0, draw.pick(&[-1, 1, 1_000_000, i32::MIN])),
        3 => Opt::Stamps(1, 0),
        4 => Opt::Sack(
            draw.pick(&[-100, -50, 0, 1_000]),
            draw.pick(&[-50, 0, 100, 2_000]),
        ),
        5 => Opt::Raw(vec![2, 4, 0, draw.pick(&[0, 1, 48, 200])]),
        6 => Opt::Raw(vec![3, 3, draw.pick(&[0, 7, 15, 255]), 1]),
        7 => Opt::Raw(vec![4, 2, 1, 1]),
        8 => Opt::Raw(vec![8, draw.pick(&[0, 1, 2, 9, 11, 40]), 0, 0]),
        9 => Opt::Raw(vec![draw.pick(&[28, 34, 99, 253, 254]), 4, 0, 0]),
        10 => Opt::Raw(vec![0, 8, 10, 1]),
        _ => {
            let len = 4 * (1 + draw.below(4));
            Opt::Raw(draw.bytes(len))
        }
    };
    let mut options = vec![odd];
    if stamps && !matches!(options[0], Opt::Stamps(..)) {
        options.push(Opt::Stamps(0, 0));
    }
    options
}

/// Breaks a segment itself.
pub(super) fn broken(draw: &mut Draw, packet: &mut Packet) -> String {
    match draw.below(4) {
        0 | 1 => {
            packet
                .faults
                .push(Edit::Flip(draw.pick(&[16, 17, 13, 4]), 0x20));
            "checksum".to_owned()
        }
        2 => {
            let words = draw.pick(&[0, 4, 15]);
            packet.edits.push(Edit::Transport(12, vec![words << 4]));
            format!("header of {words} words")
        }
        _ => {
            let bits = draw.pick(&[1, 2, 14]);
            let at = 12;
            packet.edits.push(Edit::Flip(at, bits));
            format!("reserved bits {bits}")
        }
    }
}
