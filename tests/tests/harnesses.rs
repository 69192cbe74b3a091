//! A program whose tests are not run has none: `test = false` in a manifest saves a build, and hides no test.

use std::fs;
use std::path::{Path, PathBuf};

/// Returns the source files of a program: its main file, and what lies beside it if the program has a folder of its own.
fn files_of(main: &Path) -> Vec<PathBuf> {
    let folder = main.parent().expect("a folder");
    let is_alone = !main.ends_with("main.rs") || folder.ends_with("src");
    if is_alone {
        return vec![main.to_owned()];
    }
    let entries = fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

#[test]
fn a_program_without_a_harness_has_no_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        text.parse::<toml::Table>().expect("a manifest")
    };
    let workspace = read(root.join("Cargo.toml"));
    let members = workspace["workspace"]["members"]
        .as_array()
        .expect("members");
    let mut programs = 0;
    for member in members {
        let package = root.join(member.as_str().expect("a path"));
        let manifest = read(package.join("Cargo.toml"));
        let bins = manifest.get("bin").and_then(|bins| bins.as_array());
        for bin in bins.into_iter().flatten() {
            if bin.get("test").and_then(toml::Value::as_bool) != Some(false) {
                continue;
            }
            programs += 1;
            let main = package.join(bin["path"].as_str().expect("a path"));
            for file in files_of(&main) {
                let text = fs::read_to_string(&file).expect("a source");
                assert!(!text.contains("#[test]"), "{file:?} has tests: none is run");
            }
        }
    }
    assert!(programs > 10, "{programs} programs");
}
