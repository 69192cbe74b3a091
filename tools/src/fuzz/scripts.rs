//! The parser of `pktscript` on arbitrary text.

use crate::pktscript::parser::parse;

/// Parses `data` as a script.
///
/// # Panics
/// Panics if the parser does, or if an error points to a line that the text does not have.
pub fn fuzz_script(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Err(error) = parse(&text) {
        let lines = text.split('\n').count() + 1;
        assert!(
            (1..=lines).contains(&error.at.line),
            "an error in line {} of {lines}: {error}",
            error.at.line
        );
    }
}
