//! The verdict: the meaning of the differences between a capture and its replay.

use super::plan::Plan;
use super::report::{Difference, Report};
use super::seen::{Seen, Shape};
use crate::capture::{Checksum, Direction, Segment, Stream};

/// Compares a TCP session.
pub(super) fn tcp(report: &mut Report, plan: &Plan, seen: &Seen, received: &[u8], peer_isn: u32) {
    let sent = seen.stream.as_ref().map_or_else(Vec::new, Stream::bytes);
    let [ours, theirs] = plan.role.names();
    // What came before a reset and was not acknowledged may have been read or refused.
    let whole = plan.peer_bytes.len();
    let delivered = match plan.must_reset {
        true => received.len().clamp(
            acknowledged(plan, peer_isn).min(whole as u64) as usize,
            whole,
        ),
        false => whole,
    };
    let peer_bytes = plan.peer_bytes.get(..delivered).unwrap_or(&plan.peer_bytes);
    for (side, captured, replayed) in [
        (theirs, peer_bytes, received),
        (ours, &plan.our_bytes[..], &sent[..]),
    ] {
        if captured != replayed {
            let same = captured.iter().zip(replayed).take_while(|(a, b)| a == b);
            report.differences.push(Difference::Bytes {
                side,
                offset: same.count() as u64,
                captured: captured.len() as u64,
                replayed: replayed.len() as u64,
            });
        }
    }
    ends(report, plan, seen);
    options(report, plan, seen);
    acknowledgments(report, plan, seen, peer_isn);
    windows(report, plan, seen);
    report.captured_out = captured(plan).count();
}

/// Returns the captured segments of the host.
fn captured(plan: &Plan) -> impl Iterator<Item = &Segment> {
    let ours = plan.ours();
    let segments = plan.session.segments.iter();
    segments.filter(move |segment| segment.direction == ours)
}

fn ends(report: &mut Report, plan: &Plan, seen: &Seen) {
    let closed = seen.stream.as_ref().and_then(Stream::end).is_some();
    // Data that was refused with a reset can take the place of the FIN.
    if plan.session.ended_by(plan.ours()) && !closed && !seen.reset {
        report.differences.push(Difference::NotClosed);
    }
    if seen.reset && !plan.must_reset {
        let resets = captured(plan).filter(|segment| segment.rst).count();
        // After both sides have closed, a stray segment may be answered with a reset.
        let over = plan.session.ended_by(Direction::FromClient)
            && plan.session.ended_by(Direction::FromServer)
            && closed;
        if over && resets > 0 {
            report.notes.push("both reset after the end".to_owned());
        } else {
            report.differences.push(Difference::Reset);
        }
    }
    if plan.must_reset && !seen.reset {
        report.differences.push(Difference::NotReset);
    }
}

fn options(report: &mut Report, plan: &Plan, seen: &Seen) {
    let syn = captured(plan).find(|segment| segment.syn);
    let (Some(syn), Some(replayed)) = (syn, &seen.options) else {
        return;
    };
    let captured = &syn.options;
    let mut more = Vec::new();
    for (name, had, has) in [
        ("MSS", captured.mss.is_some(), replayed.mss.is_some()),
        (
            "window scale",
            captured.window_scale.is_some(),
            replayed.window_scale.is_some(),
        ),
        (
            "SACK permitted",
            captured.sack_permitted,
            replayed.sack_permitted,
        ),
        (
            "time stamps",
            captured.timestamps.is_some(),
            replayed.timestamps.is_some(),
        ),
    ] {
        match (had, has) {
            (true, false) => report.differences.push(Difference::Option { name }),
            (false, true) => more.push(name),
            _ => {}
        }
    }
    if !more.is_empty() {
        let names = more.join(", ");
        report.notes.push(format!(
            "the stack's SYN has options that the captured one has not: {names}"
        ));
    }
    if let (Some(before), Some(now)) = (captured.mss, replayed.mss)
        && before != now
    {
        report
            .notes
            .push(format!("MSS {before} captured, {now} replayed"));
    }
}

/// Returns the offset in the peer's bytes up to which a side has acknowledged.
fn offset(ack: u32, peer_isn: u32) -> u64 {
    u64::from(ack.wrapping_sub(peer_isn).wrapping_sub(1))
}

/// Returns how much the captured host acknowledged.
fn acknowledged(plan: &Plan, peer_isn: u32) -> u64 {
    captured(plan)
        .filter(|segment| segment.has_ack && !segment.rst && segment.checksum == Checksum::Right)
        .map(|segment| offset(segment.ack, peer_isn))
        .filter(|offset| *offset <= plan.peer_bytes.len() as u64 + 1)
        .max()
        .unwrap_or(0)
}

fn acknowledgments(report: &mut Report, plan: &Plan, seen: &Seen, peer_isn: u32) {
    let captured = acknowledged(plan, peer_isn);
    let replayed = seen.acked.map_or(0, |ack| offset(ack, peer_isn));
    if replayed < captured && !seen.reset {
        report
            .differences
            .push(Difference::NotAcknowledged { captured, replayed });
    }
}

fn windows(report: &mut Report, plan: &Plan, seen: &Seen) {
    let before = captured(plan).any(|segment| segment.window == 0 && !segment.rst);
    match (before, seen.zero_window) {
        (true, false) => report
            .notes
            .push("the captured host closed its window for a time, the stack did not".to_owned()),
        (false, true) => report
            .notes
            .push("the stack closed its window for a time, the captured host did not".to_owned()),
        _ => {}
    }
    if seen.shrunk {
        report
            .notes
            .push("the stack moved the right edge of its window back".to_owned());
    }
}

/// Compares segment by segment: flags, numbers, lengths. Notes count as differences.
pub(super) fn strict(report: &mut Report, plan: &Plan, seen: &Seen, peer_isn: u32) {
    let our_isn = plan.our_isn.unwrap_or(0);
    let expected: Vec<Shape> = captured(plan)
        .map(|segment| Shape::of(segment, our_isn, peer_isn))
        .collect();
    let shown = |shape: Option<&Shape>| shape.map_or_else(|| "none".to_owned(), Shape::to_string);
    let longest = expected.len().max(seen.segments.len());
    let first = (0..longest).find(|at| expected.get(*at) != seen.segments.get(*at));
    if let Some(at) = first {
        report.differences.push(Difference::Segment {
            number: at + 1,
            captured: shown(expected.get(at)),
            replayed: shown(seen.segments.get(at)),
        });
    }
}
