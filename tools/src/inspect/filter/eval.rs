//! The evaluation of a filter on a packet.

use super::{Behind, Expr, Layer, Operator, Relation, Test, Value, Which};
use crate::capture::Frame;
use crate::capture::link::{ARP, IPV4, IPV6, Network, VLAN, be16};
use crate::capture::packet::{ICMPV6, Packet, TCP, UDP};

const RARP: u16 = 0x8035;
const SCTP: u8 = 132;
const IPV6_FRAGMENT: u8 = 44;
const PPPOE: u16 = 0x8864;
const MPLS: [u16; 2] = [0x8847, 0x8848];

/// A packet, as a filter sees it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The frame.
    pub frame: &'a Frame<'a>,
    /// Where its network packet is, behind all tags.
    pub network: Option<&'a Network>,
    /// Its outermost IP packet.
    pub packet: Option<&'a Packet<'a>>,
}

/// Returns whether the packet passes; `None` if it is read behind its end, which selects nothing.
pub(super) fn eval(expr: &Expr, view: &View<'_>) -> Option<bool> {
    match expr {
        Expr::And(left, right) => Some(eval(left, view)? && eval(right, view)?),
        Expr::Or(left, right) => Some(eval(left, view)? || eval(right, view)?),
        Expr::Not(inner) => Some(!eval(inner, view)?),
        Expr::Is(test, behind) => test_passes(test, view, *behind),
    }
}

impl View<'_> {
    /// Returns ethertype and offset behind the tags that the expression has named, if they are there.
    fn at(&self, behind: Behind) -> Option<(u16, usize)> {
        let frame = self.frame.data;
        let (mut ethertype, mut at) = self.frame.link.outer(frame)?;
        for _ in 0..behind.vlan {
            if !VLAN.contains(&ethertype) {
                return None;
            }
            (ethertype, at) = (be16(frame, at + 2)?, at + 4);
        }
        for _ in 0..behind.pppoe {
            if ethertype != PPPOE {
                return None;
            }
            let protocol = be16(frame, at + 6)?;
            ethertype = match protocol {
                0x21 => IPV4,
                0x57 => IPV6,
                other => other,
            };
            at += 8;
        }
        for _ in 0..behind.mpls {
            if !MPLS.contains(&ethertype) {
                return None;
            }
            let bottom = frame.get(at + 2)? & 1 != 0;
            at += 4;
            if bottom {
                ethertype = self.network.map_or(0, |network| network.ethertype);
            }
        }
        Some((ethertype, at))
    }

    fn ethertype(&self, behind: Behind) -> Option<u16> {
        self.at(behind).map(|(ethertype, _)| ethertype)
    }

    /// Returns the IP packet behind the tags that the expression has named.
    fn packet(&self, behind: Behind) -> Option<&Packet<'_>> {
        let (_, at) = self.at(behind)?;
        self.packet
            .filter(|_| self.network.is_some_and(|network| network.at == at))
    }

    /// Returns the protocol that the IP header names, or the fragment header behind it.
    fn protocol(&self, network: Option<u16>, behind: Behind) -> Option<u8> {
        let packet = self.packet(behind)?;
        let v4 = packet.source.is_ipv4();
        let wanted = match network {
            None => true,
            Some(ethertype) => (ethertype == IPV4) == v4,
        };
        if !wanted {
            return None;
        }
        if v4 {
            return packet.ip.get(9).copied();
        }
        match packet.ip.get(6).copied()? {
            IPV6_FRAGMENT => packet.ip.get(40).copied(),
            next => Some(next),
        }
    }

    /// Returns the transport header right behind the IP header; not that of a later fragment.
    fn transport_at(&self, behind: Behind) -> Option<(u8, &[u8])> {
        let packet = self.packet(behind)?;
        if packet.source.is_ipv6() {
            return Some((packet.ip.get(6).copied()?, packet.ip.get(40..)?));
        }
        if packet.fragment.is_some_and(|fragment| fragment.offset > 0) {
            return None;
        }
        let header = usize::from(packet.ip.first()? & 0xf) * 4;
        Some((packet.ip.get(9).copied()?, packet.ip.get(header..)?))
    }
}

fn test_passes(test: &Test, view: &View<'_>, behind: Behind) -> Option<bool> {
    Some(match test {
        Test::Ethertype(ethertype) => view.ethertype(behind) == Some(*ethertype),
        Test::Protocol(network, protocol) => view.protocol(*network, behind) == Some(*protocol),
        Test::Chain(network, protocol) => {
            view.protocol(*network, behind).is_some()
                && view
                    .packet(behind)
                    .is_some_and(|packet| packet.protocol == *protocol)
        }
        Test::Net4(network, which, address, mask) => {
            let wanted = u32::from(*address);
            addresses4(view, *network, behind).is_some_and(|(from, to)| {
                either(*which, from & mask == wanted, to & mask == wanted)
            })
        }
        Test::Net6(which, address, mask) => {
            let wanted = u128::from(*address);
            addresses6(view, behind).is_some_and(|(from, to)| {
                either(*which, from & mask == wanted, to & mask == wanted)
            })
        }
        Test::Ports(protocol, which, from, to) => {
            ports(view, *protocol, behind).is_some_and(|(a, b)| {
                either(
                    *which,
                    (*from..=*to).contains(&a),
                    (*from..=*to).contains(&b),
                )
            })
        }
        Test::Ether(which, address) => {
            let frame = view.frame.data;
            view.frame.link.kind == 1
                && either(
                    *which,
                    frame.get(6..12)? == address,
                    frame.get(..6)? == address,
                )
        }
        Test::EtherMulticast => view.frame.link.kind == 1 && view.frame.data.first()? & 1 == 1,
        Test::Ip4Broadcast => {
            addresses4(view, Some(IPV4), behind).is_some_and(|(_, to)| to == 0 || to == u32::MAX)
        }
        Test::Ip4Multicast => {
            addresses4(view, Some(IPV4), behind).is_some_and(|(_, to)| to >> 24 >= 224)
        }
        Test::Ip6Multicast => addresses6(view, behind).is_some_and(|(_, to)| to >> 120 == 0xff),
        Test::Vlan(_) | Test::Mpls(_) | Test::Pppoe(_) => tag_passes(test, view, behind)?,
        Test::Compare(left, relation, right) => compare(left, *relation, right, view, behind)?,
    })
}

/// Returns whether a tag is there, with the wanted number.
fn tag_passes(test: &Test, view: &View<'_>, behind: Behind) -> Option<bool> {
    Some(match test {
        Test::Vlan(id) => match view.at(behind) {
            Some((ethertype, at)) if VLAN.contains(&ethertype) => match id {
                Some(id) => be16(view.frame.data, at)? & 0xfff == *id,
                None => true,
            },
            _ => false,
        },
        Test::Mpls(label) => match view.at(behind) {
            Some((ethertype, at)) if MPLS.contains(&ethertype) => match label {
                Some(label) => {
                    let top = u32::from(be16(view.frame.data, at)?) << 4;
                    top | u32::from(view.frame.data.get(at + 2)? >> 4) == *label
                }
                None => true,
            },
            _ => false,
        },
        Test::Pppoe(id) => match view.at(behind) {
            Some((PPPOE, at)) => match id {
                Some(id) => be16(view.frame.data, at + 2)? == *id,
                None => true,
            },
            _ => false,
        },
        _ => false,
    })
}

fn either(which: Which, source: bool, destination: bool) -> bool {
    match which {
        Which::Source => source,
        Which::Destination => destination,
        Which::Either => source || destination,
        Which::Both => source && destination,
    }
}

/// Returns source and destination of an IPv4 packet, or of an ARP message.
fn addresses4(view: &View<'_>, network: Option<u16>, behind: Behind) -> Option<(u32, u32)> {
    let (ethertype, at) = view.at(behind)?;
    if network.is_some_and(|network| network != ethertype) {
        return None;
    }
    let (from, to) = match ethertype {
        IPV4 => (12, 16),
        ARP | RARP => (14, 24),
        _ => return None,
    };
    let word = |offset: usize| {
        let four = view.frame.data.get(at + offset..at + offset + 4)?;
        four.try_into().ok().map(u32::from_be_bytes)
    };
    Some((word(from)?, word(to)?))
}

fn addresses6(view: &View<'_>, behind: Behind) -> Option<(u128, u128)> {
    let (ethertype, at) = view.at(behind)?;
    if ethertype != IPV6 {
        return None;
    }
    let word = |offset: usize| {
        let sixteen = view.frame.data.get(at + offset..at + offset + 16)?;
        sixteen.try_into().ok().map(u128::from_be_bytes)
    };
    Some((word(8)?, word(24)?))
}

fn ports(view: &View<'_>, protocol: Option<u8>, behind: Behind) -> Option<(u16, u16)> {
    let (found, header) = view.transport_at(behind)?;
    let wanted = match protocol {
        Some(protocol) => found == protocol,
        None => matches!(found, TCP | UDP | SCTP),
    };
    if !wanted {
        return None;
    }
    Some((be16(header, 0)?, be16(header, 2)?))
}

/// The outcome of arithmetic.
enum Outcome {
    Number(u32),
    /// The header is not there, so that the comparison fails.
    Absent,
}

fn compare(
    left: &Value,
    relation: Relation,
    right: &Value,
    view: &View<'_>,
    behind: Behind,
) -> Option<bool> {
    let (Outcome::Number(a), Outcome::Number(b)) =
        (number(left, view, behind)?, number(right, view, behind)?)
    else {
        return Some(false);
    };
    Some(match relation {
        Relation::Equal => a == b,
        Relation::Unequal => a != b,
        Relation::Less => a < b,
        Relation::LessOrEqual => a <= b,
        Relation::Greater => a > b,
        Relation::GreaterOrEqual => a >= b,
    })
}

/// Returns `None` for a read behind the end of the packet, or a division by zero.
fn number(value: &Value, view: &View<'_>, behind: Behind) -> Option<Outcome> {
    Some(Outcome::Number(match value {
        Value::Number(number) => *number,
        Value::Length => view.frame.wire_len,
        Value::Negative(inner) => match number(inner, view, behind)? {
            Outcome::Number(inner) => inner.wrapping_neg(),
            Outcome::Absent => return Some(Outcome::Absent),
        },
        Value::Load(layer, offset, size) => {
            let Outcome::Number(offset) = number(offset, view, behind)? else {
                return Some(Outcome::Absent);
            };
            let Some(header) = header(*layer, view, behind) else {
                return Some(Outcome::Absent);
            };
            let bytes = header.get(offset as usize..)?.get(..usize::from(*size))?;
            bytes
                .iter()
                .fold(0, |sum, byte| (sum << 8) | u32::from(*byte))
        }
        Value::Binary(left, operator, right) => {
            let (Outcome::Number(a), Outcome::Number(b)) =
                (number(left, view, behind)?, number(right, view, behind)?)
            else {
                return Some(Outcome::Absent);
            };
            match operator {
                Operator::Add => a.wrapping_add(b),
                Operator::Subtract => a.wrapping_sub(b),
                Operator::Multiply => a.wrapping_mul(b),
                Operator::Divide => a.checked_div(b)?,
                Operator::Remainder => a.checked_rem(b)?,
                Operator::And => a & b,
                Operator::Or => a | b,
                Operator::Xor => a ^ b,
                Operator::ShiftLeft => a.checked_shl(b).unwrap_or(0),
                Operator::ShiftRight => a.checked_shr(b).unwrap_or(0),
            }
        }
    }))
}

/// Returns the bytes of a frame from a header on; `None` if it has no such header.
fn header<'a>(layer: Layer, view: &'a View<'_>, behind: Behind) -> Option<&'a [u8]> {
    let frame = view.frame.data;
    match layer {
        Layer::Link => Some(frame),
        Layer::Network(wanted) => {
            let (ethertype, at) = view.at(behind)?;
            (ethertype == wanted).then(|| frame.get(at..))?
        }
        Layer::Transport(wanted) => {
            let packet = view.packet(behind)?;
            let (protocol, header) = view.transport_at(behind)?;
            (packet.source.is_ipv4() && protocol == wanted).then_some(header)
        }
        Layer::Icmp6 => {
            let packet = view.packet(behind)?;
            let (protocol, header) = view.transport_at(behind)?;
            (packet.source.is_ipv6() && protocol == ICMPV6).then_some(header)
        }
    }
}
