//! Lines that count only if a symbol is defined: `#ifdef`, `#ifndef`, `#else`, `#endif`.

use std::borrow::Cow;

use super::{Parsed, SyntaxError};
use crate::pktscript::ast::Position;

/// Replaces lines that do not count, and the directives, by empty ones.
pub(super) fn apply<'a>(text: &'a str, symbols: &[(String, String)]) -> Parsed<Cow<'a, str>> {
    if !text.lines().any(is_directive) {
        return Ok(Cow::Borrowed(text));
    }
    let mut kept = String::with_capacity(text.len());
    // For each condition that is open: its line, and whether its lines count.
    let mut open: Vec<(usize, bool)> = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        let is_directive = is_directive(content);
        if is_directive {
            directive(line, content, symbols, &mut open)?;
        }
        if !is_directive && open.iter().all(|(_, counts)| *counts) {
            kept.push_str(content);
        }
        kept.push('\n');
    }
    if !text.ends_with('\n') {
        kept.pop();
    }
    match open.first() {
        Some((line, _)) => Err(error(
            *line,
            "this condition does not end: add `#endif`".to_owned(),
        )),
        None => Ok(Cow::Owned(kept)),
    }
}

/// Returns true for the lines that this file is about. Commands and code have comments that begin with `#`.
fn is_directive(line: &str) -> bool {
    let word = line.split_whitespace().next();
    matches!(word, Some("#ifdef" | "#ifndef" | "#else" | "#endif")) && line.starts_with('#')
}

fn directive(
    line: usize,
    content: &str,
    symbols: &[(String, String)],
    open: &mut Vec<(usize, bool)>,
) -> Parsed<()> {
    let mut words = content.split_whitespace();
    let name = words.next().unwrap_or_default();
    let symbol = words.next();
    let is_defined = |symbol: &str| symbols.iter().any(|(defined, _)| defined == symbol);
    match (name, symbol) {
        ("#ifdef", Some(symbol)) => open.push((line, is_defined(symbol))),
        ("#ifndef", Some(symbol)) => open.push((line, !is_defined(symbol))),
        ("#ifdef" | "#ifndef", None) => {
            return Err(error(line, format!("`{name}` needs a name")));
        }
        ("#else", _) => match open.last_mut() {
            Some((_, counts)) => *counts = !*counts,
            None => return Err(error(line, "`#else` without `#ifdef`".to_owned())),
        },
        ("#endif", _) if open.pop().is_none() => {
            return Err(error(line, "`#endif` without `#ifdef`".to_owned()));
        }
        _ => {}
    }
    Ok(())
}

fn error(line: usize, what: String) -> SyntaxError {
    let at = Position { line, column: 1 };
    SyntaxError { at, what }
}
