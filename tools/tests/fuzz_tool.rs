//! The command that runs the fuzz targets: a short run of each, and its words for what is wrong.

use std::path::Path;
use std::process::Command;

use tools::fuzz::dictionary::words;
use tools::fuzz::targets;

fn fuzz(args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fuzz"));
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus");
    let dictionaries = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/dictionaries");
    // Prints what it is called with, in the place of cargo.
    command.env("FUZZ_CARGO", "echo");
    command.args(["--dictionaries", dictionaries]);
    let output = command.args(["--corpus", corpus, "--out", env!("CARGO_TARGET_TMPDIR")]);
    let output = output.args(args).output().expect("fuzz");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[test]
fn every_target_runs_its_corpus_and_more() {
    let (code, text) = fuzz(&["--seconds", "3"]);
    assert_eq!(code, Some(0), "{text}");
    for target in targets() {
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{}: ", target.name)));
        let line = line.unwrap_or_else(|| panic!("{} is missing in {text}", target.name));
        assert!(!line.contains(": 0 inputs"), "{line}");
    }
    assert!(text.contains(", 0 failed, seed 1"), "{text}");
}

#[test]
fn every_target_has_a_dictionary_of_many_words() {
    for target in targets() {
        let file = format!("fuzz/dictionaries/{}.dict", target.dictionary);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let text = std::fs::read_to_string(&path).expect("a dictionary");
        let words = words(&text).expect("a dictionary");
        assert!(words.len() >= 15, "{}: {} words", target.name, words.len());
    }
}

#[test]
fn cargo_fuzz_gets_the_corpus_and_the_dictionary_of_each_target() {
    let (code, text) = fuzz(&["--libfuzzer", "--seconds", "60", "udp", "capture"]);
    assert_eq!(code, Some(0), "{text}");
    for (target, dictionary) in [("udp", "udp"), ("capture", "capture")] {
        let line = text
            .lines()
            .find(|line| line.contains(&format!("tools/fuzz {target} ")));
        let line = line.unwrap_or_else(|| panic!("{target} is missing in {text}"));
        assert!(
            line.starts_with("+nightly fuzz run --fuzz-dir tools/fuzz"),
            "{line}"
        );
        assert!(
            line.contains(&format!("/fuzz/corpus/{target} -- ")),
            "{line}"
        );
        assert!(
            line.contains(&format!("/dictionaries/{dictionary}.dict")),
            "{line}"
        );
        assert!(line.contains("-max_total_time=30 "), "{line}");
    }
    assert!(text.contains("2 targets, 0 failed"), "{text}");
}

#[test]
fn targets_are_known_by_name_and_the_rest_is_refused() {
    let (code, text) = fuzz(&["--list"]);
    assert_eq!((code, text.lines().count()), (Some(0), targets().len()));
    let (code, text) = fuzz(&["nothing"]);
    assert_eq!(code, Some(2));
    assert!(
        text.contains("there is no target 'nothing': use ip, tcp"),
        "{text}"
    );
    let (code, text) = fuzz(&["ip", "--input", "/nowhere/at/all"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("/nowhere/at/all: No such file"), "{text}");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let (code, text) = fuzz(&["pktscript", "ip", "--input", file]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("2 targets, 0 failed"), "{text}");
}
