//! Capture files of arbitrary bytes, inspected and replayed as the tools do it.

use std::io::{Cursor, sink};
use std::time::Duration;

use crate::capture::{Input, Reader, read_from};
use crate::inspect::Inspector;
use crate::inspect::filter::Filter;
use crate::inspect::line::{Lines, TimeFormat, json};
use crate::replay::{Found, Ours, Record, Which, prepare, run_all};

/// Most flows that an inspection keeps: few, so that a capture can have more.
const FLOWS_MAX: usize = 8;
/// Most sessions that are replayed.
const SESSIONS_MAX: usize = 4;
/// Bytes at the end that are a filter's text, if there are so many.
const FILTER_BYTES: usize = 24;

/// Inspects `data` as a capture, with the end of it as a filter, and replays the sessions that it has.
///
/// # Panics
/// Panics if one of the tools does: that is its purpose.
pub fn fuzz_capture(data: &[u8]) {
    inspect(data, None);
    if let Some((rest, text)) = data.split_last_chunk::<FILTER_BYTES>()
        && let Ok(text) = str::from_utf8(text)
        && let Ok(filter) = Filter::compile(text)
    {
        inspect(rest, filter);
    }
    for which in [Which::Servers, Which::Clients] {
        replay(data, which);
    }
}

fn inspect(data: &[u8], filter: Option<Filter>) {
    let source = Cursor::new(data.to_vec());
    let Ok(input) = Input::new("input", source) else {
        return;
    };
    let Ok(mut reader) = Reader::new(input) else {
        return;
    };
    let mut inspector = Inspector::new(FLOWS_MAX, filter);
    let mut lines = Lines::new(TimeFormat::Relative, true);
    while let Ok(Some(frame)) = reader.next_frame() {
        if let Some(seen) = inspector.take(&frame) {
            let line = lines.line(&seen, &inspector.table);
            assert!(!line.contains('\n'), "a packet is one line: {line}");
            let _ = json(&seen, &inspector.table);
        }
    }
    assert!(
        !reader
            .warnings()
            .sentences("input")
            .iter()
            .any(String::is_empty)
    );
}

fn replay(data: &[u8], which: Which) {
    let source = Cursor::new(data.to_vec());
    let Ok((packets, _)) = read_from(source, "input") else {
        return;
    };
    let found = prepare(&packets, which).into_iter();
    let parts: Vec<_> = found
        .filter_map(|Found { part, .. }| part.ok())
        .take(SESSIONS_MAX)
        .collect();
    let Ok(mut host) = Ours::new(1, 0) else {
        return;
    };
    let count = parts.len();
    let mut record = Record::new(sink(), Duration::ZERO).ok();
    let reports = run_all(parts, &mut host, true, record.as_mut());
    assert_eq!(
        reports.map(|reports| reports.len()).ok(),
        Some(count),
        "a report for each session"
    );
}
