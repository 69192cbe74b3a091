//! Without the feature `tun` the library depends on no particular operating system.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns the lines of `cargo tree` for the library without default features.
fn tree(arguments: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(workspace())
        .args(["tree", "-p", "netstack", "--no-default-features"])
        .args(["--edges", "normal", "--prefix", "none", "--locked"])
        .args(arguments)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(str::to_owned).collect()
}

/// Returns the names of the packages in lines of `cargo tree`.
fn names(lines: &[String]) -> Vec<&str> {
    lines
        .iter()
        .filter_map(|line| line.split(' ').next())
        .collect()
}

#[test]
fn no_crate_of_one_system_is_used_without_tun() {
    let lines = tree(&[]);
    let names = names(&lines);
    assert!(names.contains(&"netstack") && names.contains(&"lockorder"));
    for crate_of_linux in [
        "rustix",
        "nix",
        "mio",
        "socket2",
        "tun-rs",
        "tun-tap",
        "netlink-sys",
        "netlink-packet-core",
        "netlink-packet-route",
        "getrandom",
    ] {
        assert!(!names.contains(&crate_of_linux), "{crate_of_linux}");
    }
    // With it they are there: the names above are right.
    let with = tree(&["--features", "tun"]);
    let with: Vec<&str> = with
        .iter()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(with.contains(&"rustix") && with.contains(&"tun-rs") && with.contains(&"mio"));
}

#[test]
fn libc_comes_only_with_crates_that_run_on_other_systems_too() {
    let lines = tree(&["--invert", "libc", "--depth", "1"]);
    let mut users = names(&lines);
    users.sort_unstable();
    users.dedup();
    assert_eq!(users, ["libc", "memmap2", "parking_lot_core"]);
}

/// Appends the Rust files below `folder` to `files`.
fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn code_for_one_system_is_in_one_folder() {
    let (mut files, mut in_folder) = (Vec::new(), 0);
    for crate_dir in ["netstack/src", "packet/src"] {
        rust_files(&workspace().join(crate_dir), &mut files);
    }
    let folder = workspace().join("netstack/src/device/tun");
    for file in files {
        let text = fs::read_to_string(&file).expect("readable");
        let of_one_system = ["std::os::", "rustix::", "libc::", "mio::", "netlink_"]
            .iter()
            .any(|word| text.contains(word));
        if file.starts_with(&folder) {
            in_folder += usize::from(of_one_system);
        } else {
            assert!(!of_one_system, "{}", file.display());
        }
    }
    assert!(in_folder >= 5, "{in_folder}");
}
