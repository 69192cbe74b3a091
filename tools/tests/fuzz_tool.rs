//! The command that runs the fuzz targets: a short run of each, and its words for what is wrong.

use std::os::unix::fs::PermissionsExt as _;
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
    let grown = concat!(env!("CARGO_TARGET_TMPDIR"), "/grown");
    command.args(["--grown", grown]);
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

/// Bytes that the corpus of a target may have: it is read by every run of the tests.
const CORPUS_MAX: u64 = 100_000;

#[test]
fn every_target_has_a_small_corpus_and_a_program_for_cargo_fuzz() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).expect("a manifest");
    let mut names: Vec<_> = targets().iter().map(|target| target.name).collect();
    for name in &names {
        let corpus = fuzz.join("corpus").join(name);
        let files = std::fs::read_dir(&corpus);
        let files = files.unwrap_or_else(|_| panic!("{name} has no corpus: see docs/HACKING.md"));
        let lens = files.map(|file| file.and_then(|file| file.metadata()).expect("a file").len());
        let lens: Vec<u64> = lens.collect();
        let bytes: u64 = lens.iter().sum();
        assert!(lens.len() >= 3, "{name}: {} inputs", lens.len());
        assert!(bytes <= CORPUS_MAX, "{name}: {bytes} bytes");
        assert!(manifest.contains(&format!("name = \"{name}\"\n")), "{name}");
        let program = fuzz.join(format!("fuzz_targets/{name}.rs"));
        assert!(program.exists(), "{}", program.display());
    }
    let directories = std::fs::read_dir(fuzz.join("corpus")).expect("the corpora");
    let mut directories: Vec<_> = directories
        .map(|entry| entry.expect("a corpus").file_name())
        .collect();
    directories.sort();
    names.sort_unstable();
    assert_eq!(directories, names, "a corpus that no target reads");
}

/// Writes a program that takes the place of cargo, and returns its path.
fn cargo(name: &str, script: &str) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a script");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    path.display().to_string()
}

#[test]
fn what_cargo_fuzz_finds_is_named_and_a_run_that_cannot_be_is_no_success() {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("found");
    // It is made.
    let _ = std::fs::remove_dir_all(&out);
    let out = out.display().to_string();
    let finds = cargo("finds", &format!("echo harmless > {out}/crash-1; exit 77"));
    let run = |cargo: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fuzz"));
        command.env("FUZZ_CARGO", cargo);
        command.args(["--libfuzzer", "udp", "--seconds", "1", "--out", &out]);
        command.args(["--grown", &format!("{out}-grown")]);
        let output = command.output().expect("fuzz");
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    };
    // The second time its file is there already.
    for _ in 0..2 {
        let (code, text) = run(&finds);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("udp: 1 inputs failed"), "{text}");
        assert!(text.contains("found/crash-1 does not fail here"), "{text}");
    }
    let (code, text) = run(&cargo("fails", "exit 101"));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("cargo-fuzz could not run 'udp'"), "{text}");
}

#[test]
fn a_directory_that_cannot_be_made_is_told_before_anything_runs() {
    for mode in [&["--seconds", "1"][..], &["--libfuzzer"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fuzz"));
        command.env("FUZZ_CARGO", cargo("never", "echo ran"));
        command.args(["udp", "--out", "/dev/null/finds"]).args(mode);
        let output = command.output().expect("fuzz");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains("/dev/null/finds: "), "{text}");
        assert!(output.stdout.is_empty(), "it ran");
    }
}

#[test]
fn cargo_fuzz_gets_the_corpus_and_the_dictionary_of_each_target() {
    let (code, text) = fuzz(&["--libfuzzer", "--seconds", "60", "udp", "capture"]);
    assert_eq!(code, Some(0), "{text}");
    for (target, dictionary) in [("udp", "udp"), ("capture", "capture")] {
        let line = text
            .lines()
            .find(|line| line.contains(&format!("address {target} ")));
        let line = line.unwrap_or_else(|| panic!("{target} is missing in {text}"));
        assert!(
            line.starts_with("+nightly fuzz run --fuzz-dir tools/fuzz --sanitizer address "),
            "{line}"
        );
        // libFuzzer writes into the first directory: not into the corpus.
        let grown = format!("/grown/{target} ");
        let corpus = format!("/fuzz/corpus/{target} -- ");
        let (grown, corpus) = (line.find(&grown), line.find(&corpus));
        assert!(grown.is_some() && grown < corpus, "{line}");
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
