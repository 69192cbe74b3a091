//! Ranges of seeds, as the command lines have them.

use std::ops::Range;

/// Reads `FIRST..END`.
///
/// # Errors
/// The text is something else, or there is no seed in the range.
pub fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let bounds = text
        .split_once("..")
        .and_then(|(first, end)| Some(first.parse().ok()?..end.parse().ok()?));
    match bounds {
        Some(range) if range.start < range.end => Ok(range),
        _ => Err(format!(
            "'{text}' is no range of seeds: write FIRST..END, such as 0..1000"
        )),
    }
}
