//! Segments to ports without a connection, and handshakes in both directions.

use super::super::step::{Call, PEER_SERVER, Packet, Port, Segment, Seq, Step};
use super::segments::{
    ACK, FIN, PSH, RST, SYN, broken, garbage, life, packet, segment, syn_options, usual,
};
use super::{Draw, STEPS_MAX, datagrams};

const FLAGS: [u8; 16] = [
    0,
    FIN,
    SYN,
    SYN,
    RST,
    ACK,
    ACK | PSH,
    ACK | FIN,
    RST | ACK,
    SYN | ACK,
    SYN | FIN,
    SYN | RST,
    SYN | PSH,
    FIN | RST,
    0x3f,
    0xff,
];

/// Draws segments of flows that do not exist, to a listener and to a closed port.
pub(super) fn strangers(draw: &mut Draw) -> Vec<Step> {
    let mut steps = Vec::new();
    for _ in 0..1 + draw.rng.below(STEPS_MAX) {
        let to = draw.pick(&[Port::Open, Port::Closed]);
        let mut drawn = segment(draw.port(), to, draw.pick(&FLAGS));
        drawn.ack = draw.pick(&[0, 0, 1, 1_000_000]);
        drawn.len = draw.pick(&[0, 0, 0, 1, 100]);
        drawn.window = draw.pick(&[8_000, 0, 65_535]);
        if draw.rarely(3) {
            drawn.options = garbage(draw, false);
        }
        if draw.rarely(10) {
            drawn.urgent = 1;
        }
        let what = if to == Port::Open {
            "to listener"
        } else {
            "to closed"
        };
        let mut made = packet(what, drawn);
        if draw.rarely(6) {
            let fault = broken(draw, &mut made);
            made.label = format!("{}, {fault}", made.label);
        }
        steps.push(Step::Packet(made));
    }
    steps.push(Step::from(Call::Accept));
    steps
}

/// Draws a handshake with a listener that does not go as it should.
pub(super) fn passive(draw: &mut Draw) -> Vec<Step> {
    let from = draw.port();
    let (stamps, options) = syn_options(draw);
    let mut syn = segment(from, Port::Open, SYN);
    syn.options = if draw.rarely(3) {
        garbage(draw, false)
    } else {
        options.clone()
    };
    let stamps = stamps && syn.options.len() == options.len();
    syn.len = draw.pick(&[0, 0, 0, 10]);
    syn.window = draw.pick(&[8_000, 0, 65_535]);
    syn.advances = true;
    let mut steps = Vec::new();
    let len = syn.len;
    let first = packet("half open", syn);
    steps.push(Step::Packet(first.clone()));
    if first.is_malformed() {
        return steps;
    }
    for _ in 0..1 + draw.below(5) {
        let packet = match draw.below(7) {
            0 => first.clone(),
            _ => {
                let mut drawn = segment(from, Port::Open, draw.pick(&FLAGS));
                drawn.seq = Seq::Next(draw.pick(&[0, 0, 0, -1, 1, 100, 70_000_000]) - len as i32);
                drawn.ack = draw.pick(&[0, 0, 0, -1, 1, 70_000_000]);
                drawn.len = draw.pick(&[0, 0, 1, 100]);
                if drawn.flags & (SYN | ACK) == SYN | ACK
                    && matches!(drawn.seq, Seq::Next(at) if at < 0)
                {
                    // At the number of the SYN it might be a simultaneous open.
                    drawn.flags = ACK;
                }
                odd_options(draw, &mut drawn, stamps);
                packet("half open", drawn)
            }
        };
        let is_last = packet.is_malformed();
        steps.push(Step::Packet(packet));
        if is_last {
            return steps;
        }
        if draw.rarely(2) {
            steps.push(Step::from(Call::Accept));
        }
    }
    steps.extend([Call::Accept, Call::Read(1_000), Call::Error].map(Step::from));
    steps
}

fn odd_options(draw: &mut Draw, drawn: &mut Segment, stamps: bool) {
    drawn.options = if draw.rarely(6) {
        garbage(draw, stamps)
    } else {
        usual(stamps)
    };
}

/// Draws the answers to a SYN of the host, and what follows.
pub(super) fn active(draw: &mut Draw) -> Vec<Step> {
    let mut steps = vec![Step::from(Call::Connect)];
    let (stamps, options) = syn_options(draw);
    for _ in 0..draw.below(4) {
        let packet = if draw.rarely(4) {
            let error = datagrams::error(draw, 6);
            // Tells whether it ended the attempt.
            steps.extend([Step::Packet(error), Step::from(Call::Error)]);
            continue;
        } else {
            let mut drawn = segment(PEER_SERVER, Port::Own, draw.pick(&FLAGS));
            drawn.ack = draw.pick(&[0, 0, -1, 1, 70_000_000]);
            drawn.len = draw.pick(&[0, 0, 10]);
            if draw.rarely(2) {
                drawn.options = if draw.rarely(3) {
                    garbage(draw, false)
                } else {
                    options.clone()
                };
            }
            packet("syn sent", drawn)
        };
        let is_last = packet.is_malformed();
        steps.push(Step::Packet(packet));
        if is_last {
            return steps;
        }
        if draw.rarely(3) {
            steps.push(Step::from(Call::Error));
        }
    }
    steps.push(Step::Packet(answer(options)));
    steps.extend(life(draw, PEER_SERVER, Port::Own, stamps));
    steps
}

/// Returns the right answer to a SYN.
fn answer(options: Vec<super::super::step::Opt>) -> Packet {
    let mut answer = segment(PEER_SERVER, Port::Own, SYN | ACK);
    answer.options = options;
    answer.advances = true;
    packet("syn sent", answer)
}
