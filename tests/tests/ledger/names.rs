//! The names in the "Where" and "Test" columns of Markdown tables, each looked up in the sources.

use std::fmt;

use crate::sources::Sources;

/// Names of the standard library and of the language that the ledger may use.
const NOT_OURS: &[&str] = &["Ord", "u8"];

/// One thing that is wrong in a document.
#[derive(Debug)]
pub(crate) struct Fault {
    /// The file, relative to the workspace.
    pub(crate) file: String,
    /// The line's number, from 1.
    pub(crate) line: usize,
    /// The name or citation, and what is wrong with it.
    pub(crate) what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// The meaning of a column, by its heading.
#[derive(Clone, Copy, PartialEq)]
enum Column {
    /// Functions, types, modules, files.
    Where,
    /// Tests, packages, files; and helpers by their path.
    Test,
    /// Prose.
    Other,
}

/// Looks up every name in the tables of `text`. Returns what is wrong, and how many names there were.
pub(crate) fn check_tables(file: &str, text: &str, sources: &Sources) -> (Vec<Fault>, usize) {
    let (mut faults, mut count) = (Vec::new(), 0);
    let mut columns: Vec<Column> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut fault = |what: String| {
            faults.push(Fault {
                file: file.to_owned(),
                line: index + 1,
                what,
            });
        };
        let Some(cells) = cells(line) else {
            columns.clear();
            continue;
        };
        if columns.is_empty() {
            columns = cells.iter().map(|cell| column(cell)).collect();
            continue;
        }
        if cells.len() != columns.len() {
            let (here, above) = (cells.len(), columns.len());
            fault(format!(
                "a row of {here} cells in a table of {above} columns"
            ));
            continue;
        }
        for (cell, column) in cells.iter().zip(&columns) {
            for name in in_backticks(cell).filter(|_| *column != Column::Other) {
                count += 1;
                if let Some(why) = judge(name, *column, sources) {
                    fault(format!("`{name}` {why}"));
                }
            }
        }
    }
    (faults, count)
}

/// Returns the cells of a table's row; `None` for a line that is no row.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

fn column(heading: &str) -> Column {
    match heading.split_whitespace().next() {
        Some("Where") => Column::Where,
        Some("Test") => Column::Test,
        _ => Column::Other,
    }
}

fn in_backticks(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// Returns why `name` may not stand in `column`; `None` if it may.
fn judge(name: &str, column: Column, sources: &Sources) -> Option<&'static str> {
    let pattern = name.replace('…', "*");
    if pattern.contains('/') || pattern.ends_with(".rs") || pattern.ends_with(".md") {
        let found = sources.has_file(&pattern);
        return (!found).then_some("is no file of the workspace");
    }
    let is_word = |c: char| c.is_alphanumeric() || "_*:{}(), ".contains(c);
    let has_path = pattern.contains("::") || pattern.contains(char::is_uppercase);
    if !pattern.chars().all(is_word) || (pattern.contains(' ') && !has_path) {
        return Some("is neither a name nor a file: leave the backticks out");
    }
    if column == Column::Test && !has_path {
        let found = sources.has_test(&pattern) || sources.has_package(&pattern);
        return (!found).then_some("is no test");
    }
    let found = paths(&pattern)
        .iter()
        .all(|path| NOT_OURS.contains(&path[0]) || sources.has_path(path));
    (!found).then_some("is not declared in the sources")
}

/// Splits `A::{b, c}` and `A::B(c)` into the paths that they stand for.
fn paths(pattern: &str) -> Vec<Vec<&str>> {
    let cut = pattern.find(['{', '(']).unwrap_or(pattern.len());
    let (prefix, rest) = pattern.split_at(cut);
    let prefix: Vec<&str> = words(prefix, "::");
    let inner = rest.trim_matches(['{', '}', '(', ')']);
    if inner.is_empty() {
        return vec![prefix];
    }
    if rest.starts_with('{') {
        let with = |last| prefix.iter().copied().chain([last]).collect();
        return words(inner, ",").into_iter().map(with).collect();
    }
    let arguments = words(inner, ",").into_iter().map(|word| words(word, "::"));
    arguments.chain([prefix]).collect()
}

fn words<'a>(text: &'a str, separator: &str) -> Vec<&'a str> {
    let words = text.split(separator).map(str::trim);
    words.filter(|word| !word.is_empty()).collect()
}
