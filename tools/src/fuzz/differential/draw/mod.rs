//! Cases drawn from seeds.

mod chains;
mod datagrams;
mod faults;
mod fragments;
mod handshakes;
mod segments;

use netstack::base::Rng;

use super::step::{Call, Packet, Step};

/// Steps that a case draws, at most.
const STEPS_MAX: u32 = 10;

/// A case: what happens to a host.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) steps: Vec<Step>,
}

/// The source of the choices of a case, and what was chosen.
pub(super) struct Draw {
    rng: Rng,
    v6: bool,
    /// Ports of the peer that were used.
    ports: u16,
    /// Fragments cover a part of what others cover.
    overlaps: bool,
    /// The peer has sent urgent data.
    urgent: bool,
    /// The peer has sent data ahead of a gap.
    is_ahead: bool,
    /// The end of the peer's stream is not where the stream is.
    ends_ahead: bool,
}

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.rng.below(bound as u32) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let at = self.below(from.len());
        from[at]
    }

    /// Returns true once in `one_in`.
    fn rarely(&mut self, one_in: u32) -> bool {
        self.rng.below(one_in) == 0
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.rng.fill(&mut bytes);
        bytes
    }

    /// Returns a port of the peer that no flow of this case has.
    fn port(&mut self) -> u16 {
        self.ports += 1;
        3_000 + self.ports
    }
}

/// Returns the case of a seed.
pub(super) fn case(seed: u64, v6: bool) -> Case {
    let mut draw = Draw {
        rng: Rng::from_u64(seed),
        v6,
        ports: 0,
        overlaps: false,
        urgent: false,
        is_ahead: false,
        ends_ahead: false,
    };
    let draw = &mut draw;
    let (name, steps) = match draw.below(12) {
        0 => ("headers", many(draw, faults::packet)),
        1 => ("options and extension headers", many(draw, chains::packet)),
        2 => ("fragments", fragments::steps(draw)),
        3 => ("ICMP", datagrams::icmp(draw)),
        4 => ("UDP", datagrams::udp(draw)),
        5 => ("ports without a connection", handshakes::strangers(draw)),
        6 => ("passive opens", handshakes::passive(draw)),
        7 => ("active opens", handshakes::active(draw)),
        _ => ("connections", segments::steps(draw)),
    };
    let more = match (draw.overlaps, draw.urgent) {
        (true, _) => ", overlapping",
        (_, true) => ", urgent",
        _ => "",
    };
    let name = format!("{name}{more}");
    Case { name, steps }
}

/// Draws packets that have nothing to do with each other, and reads what they brought.
fn many(draw: &mut Draw, mut packet: impl FnMut(&mut Draw) -> Packet) -> Vec<Step> {
    let mut steps = Vec::new();
    for _ in 0..1 + draw.rng.below(STEPS_MAX) {
        let packet = packet(draw);
        let after = format!("after {}", packet.label);
        steps.push(Step::Packet(packet));
        steps.push(Step::Call(Call::UdpRead, after));
    }
    steps
}
