//! Checks the ledger of RFC requirements, `docs/RFC.md` and `docs/rfc/*.md`, against the sources: every
//! function, type, file and test that it names exists, and no RFC is cited that a newer one replaced.

mod names;
mod obsolete;
mod sources;

use std::fs;
use std::path::{Path, PathBuf};

use names::{Fault, check_tables};
use sources::Sources;

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the workspace").to_owned()
}

/// Returns the documents of the ledger: their paths relative to the workspace, and their texts.
fn ledger() -> Vec<(String, String)> {
    let mut paths = vec!["docs/RFC.md".to_owned()];
    for entry in fs::read_dir(root().join("docs/rfc")).expect("docs/rfc") {
        let name = entry.expect("a directory entry").file_name();
        paths.push(format!("docs/rfc/{}", name.to_string_lossy()));
    }
    paths.sort();
    paths.into_iter().map(read).collect()
}

fn read(path: String) -> (String, String) {
    let text = fs::read_to_string(root().join(&path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    (path, text)
}

fn report(faults: &[Fault]) {
    for fault in faults {
        println!("{fault}");
    }
    assert!(faults.is_empty(), "{} faults, listed above", faults.len());
}

#[test]
fn every_name_in_the_ledger_exists() {
    let sources = Sources::read(&root());
    let (mut faults, mut names) = (Vec::new(), 0);
    for (path, text) in ledger() {
        let (found, count) = check_tables(&path, &text, &sources);
        println!("{path}: {count} names");
        assert!(count > 10, "{path}: the tables were not found");
        faults.extend(found);
        names += count;
    }
    assert!(names > 300, "only {names} names were read");
    report(&faults);
}

#[test]
fn no_document_cites_a_replaced_rfc() {
    let mut documents = ledger();
    for path in ["README.md", "CHANGELOG.md", "packet/README.md"] {
        documents.push(read(path.to_owned()));
    }
    for name in ["ARCHITECTURE", "BENCHMARKS", "HACKING"] {
        documents.push(read(format!("docs/{name}.md")));
    }
    report(&obsolete::check(&documents));
}

#[test]
fn no_source_cites_a_replaced_rfc() {
    let sources = sources::files(&root());
    assert!(sources.len() > 200, "the sources were not found");
    // This test's own table has to name the old numbers.
    let others = sources
        .into_iter()
        .filter(|path| !path.contains("/ledger/"));
    report(&obsolete::check(&others.map(read).collect::<Vec<_>>()));
}

/// Returns a small workspace: one type, one module, one enum that a macro makes, two tests, a file of tests.
fn planted() -> Sources {
    let mut sources = Sources::default();
    sources.add_file(
        "netstack/src/ip/routes.rs",
        "pub struct Routes { default: u8 }
         impl Routes { pub fn lookup(&self) {} }
         counters! { Reason { TooBig => \"too_big\", } }
         impl Clone for Routes { fn clone(&self) -> Self { loop {} } }
         fn helper() {}
         #[cfg(test)] mod tests {
             #[test] fn longest_prefix_wins() {}
             proptest! { #[test] fn equal_to_a_scan(x in 0..9) {} }
         }",
    );
    sources.add_file("packet/tests/differential.rs", "fn helper() {}");
    sources
}

fn faults(line: &str) -> Vec<String> {
    let text = format!("| Requirement | Where | Test |\n|---|---|---|\n{line}\n");
    let (faults, _) = check_tables("planted.md", &text, &planted());
    faults.into_iter().map(|fault| fault.what).collect()
}

#[test]
fn right_names_pass() {
    for line in [
        "| Forwarding | **no**: a host | |",
        "| A package, a file of tests | `Routes` | in `packet`, `differential` |",
        "| A `Nonsense` requirement is not looked at | `Routes` | same |",
        "| Longest prefix | `ip::routes`, `Routes::lookup` (by length) | `longest_prefix_wins` |",
        "| Longest prefix | `Routes::default`, `Routes::{lookup, default}` | `equal_to_*`, `…_wins` |",
        "| Counted | `Reason::TooBig`, `Reason(TooBig)` | as above, `netstack/src/ip` |",
        "| In files | `netstack/src/ip/routes.rs`, `ip/routes.rs`, `ip/rou*.rs` | `Routes::clone` |",
    ] {
        assert_eq!(faults(line), [""; 0], "{line}");
    }
}

#[test]
fn wrong_names_are_found() {
    for (line, wrong) in [
        ("| X | `Rutes` | |", "Rutes"),
        ("| X | `ip::rutes` | |", "ip::rutes"),
        ("| X | `Routes::remove` | |", "Routes::remove"),
        (
            "| X | `Routes::{lookup, remove}` | |",
            "Routes::{lookup, remove}",
        ),
        // Each exists, but not within the other.
        ("| X | `Reason::lookup` | |", "Reason::lookup"),
        ("| X | `Reason::TooSmall` | |", "Reason::TooSmall"),
        ("| X | `ip/rutes.rs` | |", "ip/rutes.rs"),
        ("| X | `ip/rut*.rs` | |", "ip/rut*.rs"),
        (
            "| X | `Routes` | `shortest_prefix_wins` |",
            "shortest_prefix_wins",
        ),
        ("| X | `Routes` | `shortest_*` |", "shortest_*"),
        // A function that is no test.
        ("| X | `Routes` | `helper` |", "helper"),
        ("| X | `a b + c` | |", "a b + c"),
    ] {
        let found = faults(line);
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert!(found[0].contains(wrong), "{line}: {found:?}");
    }
    assert_eq!(faults("| one cell too few | `Routes` |").len(), 1);
}

#[test]
fn replaced_rfcs_are_found() {
    let check = |text: &str| {
        let documents = [("planted.md".to_owned(), text.to_owned())];
        obsolete::check(&documents).len()
    };
    for (text, count) in [
        ("TCP (RFC 9293) and RFC 793", 1),
        ("(RFC 9293 3.10, 793)\nRFCs 9438 and 8312", 2),
        ("(RFC 5681, 9438, 8312)", 1),
        (
            "| ledger | RFCs |\n|---|---|\n| TCP | TCP: 9293, and 793 |",
            1,
        ),
        // What replaced it is not cited, so that this is the RFC that was read.
        ("CUBIC (RFC 8312)", 0),
        ("RFC 9293 (RFC 793 is obsoleted by it)", 0),
        ("RFC 9293; for its history see RFC 793", 0),
        ("RFC 9293 takes 793 bytes, RFC 9293 section 3.7.93", 0),
        ("RFC 9293: 793 of them", 0),
    ] {
        assert_eq!(check(text), count, "{text}");
    }
}
