//! A packet that the stack sent beside the one that the script expects, field by field.

use std::collections::BTreeSet;

use super::icmp::{names, numbers};
use super::read::{Seen, SeenBody};
use super::show;
use crate::pktscript::ast::{Body, Ecn, Packet, Tcp, TcpOpt};

/// A field that is not as the script expects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// The field.
    pub field: &'static str,
    /// The value that the script names.
    pub expected: String,
    /// The value in the packet.
    pub seen: String,
}

impl Difference {
    /// Creates a difference.
    pub fn new(field: &'static str, expected: impl ToString, seen: impl ToString) -> Self {
        Self {
            field,
            expected: expected.to_string(),
            seen: seen.to_string(),
        }
    }
}

/// How closely packets are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rules {
    /// Options may come in another order, with other padding.
    pub any_option_order: bool,
    /// A window may fall short by less than this many bytes: silly window avoidance keeps its edge until a
    /// segment fits (RFC 9293 section 3.8.6.2.2).
    pub window_slack: u16,
    /// Most that a timestamp may differ, in its ticks; `None`: it is not compared.
    pub timestamp_ticks: Option<u32>,
}

/// The result of a comparison.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Comparison {
    /// The differences.
    pub differences: Vec<Difference>,
    /// The differences that were let pass, because of the [`Rules`].
    pub tolerated: BTreeSet<&'static str>,
}

/// Compares a packet with the expected one. `segment` is the seen one's header in the script's numbers.
pub fn packets(expected: &Packet, seen: &Seen, segment: Option<&Tcp>, rules: Rules) -> Comparison {
    let mut result = Comparison::default();
    match (&expected.body, &seen.body) {
        (Body::Tcp(wanted), SeenBody::Tcp { header, .. }) => {
            tcp(wanted, segment.unwrap_or(header), rules, &mut result);
        }
        (Body::Udp(len), SeenBody::Udp { payload, .. }) => {
            check(&mut result, "length", *len, payload.len() as u16);
        }
        (Body::Icmp(message), SeenBody::Icmp { kind, code }) => {
            let v6 = seen.src.is_ipv6();
            match numbers(message, v6) {
                Ok(wanted) if wanted == (*kind, *code) => {}
                _ => result.differences.push(Difference::new(
                    "ICMP type",
                    format!(
                        "{} {}",
                        message.kind,
                        message.code.as_deref().unwrap_or_default()
                    ),
                    names(*kind, *code, v6),
                )),
            }
        }
        _ => result.differences.push(Difference::new(
            "packet",
            show::packet(expected),
            show::seen(seen, segment),
        )),
    }
    ip(expected, seen, &mut result);
    result
}

fn check<T: PartialEq + ToString>(
    result: &mut Comparison,
    field: &'static str,
    expected: T,
    seen: T,
) {
    if expected != seen {
        result
            .differences
            .push(Difference::new(field, expected, seen));
    }
}

fn ip(expected: &Packet, seen: &Seen, result: &mut Comparison) {
    let info = &expected.ip;
    match info.ecn {
        Some(Ecn::Bits(bits)) => check(result, "ECN", show::ecn(bits), show::ecn(seen.tos)),
        Some(Ecn::AnyEct) if !matches!(seen.tos & 3, 1 | 2) => {
            result
                .differences
                .push(Difference::new("ECN", "ect01", show::ecn(seen.tos)));
        }
        _ => {}
    }
    if let Some(tos) = info.tos {
        check(
            result,
            "type of service",
            format!("0x{tos:x}"),
            format!("0x{:x}", seen.tos),
        );
    }
    if let Some(ttl) = info.ttl {
        check(result, "TTL", ttl, seen.ttl);
    }
    if let Some((from, to)) = expected.ports {
        check(result, "source port", from, seen.source().port());
        check(result, "destination port", to, seen.destination().port());
    }
}

fn tcp(expected: &Tcp, seen: &Tcp, rules: Rules, result: &mut Comparison) {
    check(
        result,
        "flags",
        show::flags(expected.flags),
        show::flags(seen.flags),
    );
    if !expected.is_any_seq {
        check(result, "sequence number", expected.seq, seen.seq);
    }
    check(result, "payload bytes", expected.len, seen.len);
    check(
        result,
        "ack",
        expected.ack.unwrap_or(0),
        seen.ack.unwrap_or(0),
    );
    if let (Some(wanted), Some(window)) = (expected.window, seen.window) {
        let short = wanted.checked_sub(window);
        if short.is_some_and(|short| short > 0 && short < rules.window_slack) {
            result
                .tolerated
                .insert("windows that fall short by less than a segment");
        } else {
            check(result, "window", wanted, window);
        }
    }
    check(
        result,
        "urgent pointer",
        expected.urgent.unwrap_or(0),
        seen.urgent.unwrap_or(0),
    );
    if let (Some(wanted), Some(found)) = (&expected.options, &seen.options) {
        options(wanted, found, rules, result);
    }
}

/// Returns true if both are the same, timestamps within the tolerance.
fn is_same(wanted: &TcpOpt, found: &TcpOpt, rules: Rules) -> bool {
    match (wanted, found) {
        (
            TcpOpt::Timestamps { val, ecr },
            TcpOpt::Timestamps {
                val: seen_val,
                ecr: seen_ecr,
            },
        ) => {
            let off = val.wrapping_sub(*seen_val) as i32;
            let is_near = rules
                .timestamp_ticks
                .is_none_or(|ticks| off.unsigned_abs() <= ticks);
            is_near && ecr == seen_ecr
        }
        _ => wanted == found,
    }
}

fn options(wanted: &[TcpOpt], found: &[TcpOpt], rules: Rules, result: &mut Comparison) {
    let same = |wanted: &[&TcpOpt], found: &[&TcpOpt]| {
        wanted.len() == found.len()
            && wanted
                .iter()
                .zip(found)
                .all(|(wanted, found)| is_same(wanted, found, rules))
    };
    if same(
        &wanted.iter().collect::<Vec<_>>(),
        &found.iter().collect::<Vec<_>>(),
    ) {
        return;
    }
    if rules.any_option_order && same(&in_order(wanted), &in_order(found)) {
        result
            .tolerated
            .insert("options in another order or with other padding");
        return;
    }
    result.differences.push(Difference::new(
        "options",
        show::options(Some(wanted)),
        show::options(Some(found)),
    ));
}

/// Returns the options without padding, by kind.
fn in_order(options: &[TcpOpt]) -> Vec<&TcpOpt> {
    let mut list: Vec<&TcpOpt> = options
        .iter()
        .filter(|option| !matches!(option, TcpOpt::Nop | TcpOpt::Eol))
        .collect();
    list.sort_by_key(|option| rank(option));
    list
}

fn rank(option: &TcpOpt) -> u8 {
    match option {
        TcpOpt::Eol => 0,
        TcpOpt::Nop => 1,
        TcpOpt::Mss(_) => 2,
        TcpOpt::WindowScale(_) => 3,
        TcpOpt::SackOk => 4,
        TcpOpt::Sack(_) => 5,
        TcpOpt::Timestamps { .. } => 8,
        TcpOpt::Md5(_) => 19,
        TcpOpt::FastOpen(_) => 34,
        TcpOpt::AccEcn { .. } => 172,
        TcpOpt::FastOpenExperimental(_) => 254,
        TcpOpt::Other { kind, .. } => *kind,
    }
}
