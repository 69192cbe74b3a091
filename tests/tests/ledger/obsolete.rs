//! Citations of RFCs that a newer RFC replaced.

use std::collections::BTreeSet;

use crate::names::Fault;

/// Replaced RFCs, each with the one that says the same today.
const REPLACED: &[(u32, u32)] = &[
    (793, 9293),
    (879, 9293),
    (1063, 1191),
    (1323, 7323),
    (1716, 1812),
    (1883, 8200),
    (1885, 4443),
    (1948, 9293),
    (1981, 8201),
    (2001, 5681),
    (2373, 4291),
    (2460, 8200),
    (2463, 4443),
    (2581, 5681),
    (2582, 6582),
    (2988, 6298),
    (3376, 9776),
    (3484, 6724),
    (3513, 4291),
    (3517, 6675),
    (3697, 6437),
    (3782, 6582),
    (3810, 9777),
    (4138, 5682),
    (4294, 8504),
    (5735, 6890),
    (6093, 9293),
    (6429, 9293),
    (6434, 8504),
    (6528, 9293),
    (6555, 8305),
    (6691, 9293),
    (6937, 9937),
    (8312, 9438),
];

/// Finds the citations of replaced RFCs in documents (path and text) that cite the newer one, too.
/// A line with the word "obsoleted" or "history" may cite an old one.
pub(crate) fn check(documents: &[(String, String)]) -> Vec<Fault> {
    let mut cited = BTreeSet::new();
    let mut lines = Vec::new();
    for (file, text) in documents {
        let mut in_list = false;
        for (index, line) in text.lines().enumerate() {
            // A column "RFCs" is a list of numbers without the word before each.
            in_list = line.starts_with('|') && (in_list || line.contains("| RFCs |"));
            let found = if in_list {
                numbers(line)
            } else {
                citations(line)
            };
            cited.extend(found.iter().copied());
            lines.push((file, index + 1, line, found));
        }
    }
    let mut faults = Vec::new();
    for (file, number, line, found) in lines {
        if line.contains("obsoleted") || line.contains("history") {
            continue;
        }
        for &(old, new) in REPLACED {
            if found.contains(&old) && cited.contains(&new) {
                faults.push(Fault {
                    file: file.clone(),
                    line: number,
                    what: format!("RFC {old} is obsoleted by RFC {new}: cite that one"),
                });
            }
        }
    }
    faults
}

/// Returns the numbers of the RFCs that `line` cites: `RFC 1`, `RFC 1 2.3, 4`, `RFCs 1, 2 and 3`.
fn citations(line: &str) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut pieces = line.split("RFC");
    pieces.next();
    for piece in pieces {
        let mut expected = true;
        for word in piece.trim_start_matches('s').split_whitespace() {
            let bare = word.trim_matches(|c: char| "(),;:.'`".contains(c));
            let number = bare.parse().ok().filter(|number| *number >= 100);
            match number {
                Some(number) if expected => {
                    found.insert(number);
                }
                // Between the numbers of a list stand sections and "and", nothing else.
                None if bare == "and" || bare.starts_with(|c: char| c.is_ascii_digit()) => {}
                _ => break,
            }
            expected = word.ends_with(',') || bare == "and";
            if word.ends_with([')', ';', ':']) {
                break;
            }
        }
    }
    found
}

/// Returns every number of three to five digits in `line`.
fn numbers(line: &str) -> BTreeSet<u32> {
    line.split(|c: char| !c.is_alphanumeric())
        .filter(|word| (3..=5).contains(&word.len()))
        .filter_map(|word| word.parse().ok())
        .collect()
}
