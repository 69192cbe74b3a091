//! The parts of packages: manual pages, completions, the files that the package's description names.

use std::fs;
use std::path::Path;
use std::process::Command;

use tests::program;
use tests::world::Scratch;

use super::{output, sentence};

/// Returns the commands that `--help` lists under a command.
fn commands_of(words: &[&str]) -> Vec<String> {
    let help = output(Command::new(program!()).args(words).arg("--help"));
    let text = String::from_utf8(help.stdout).expect("text");
    let Some((_, list)) = text.split_once("Commands:\n") else {
        return Vec::new();
    };
    let lines = list.lines().take_while(|line| !line.is_empty());
    let first = lines.filter_map(|line| line.split_whitespace().next());
    first.map(str::to_owned).collect()
}

#[test]
fn every_command_has_a_manual_page() {
    let scratch = Scratch::new("manual");
    let directory = scratch.path("man");
    let written = output(Command::new(program!()).arg("man").arg(&directory));
    assert!(written.status.success(), "{written:?}");
    let mut names = vec!["netstackd".to_owned()];
    for command in commands_of(&[]) {
        let below = commands_of(&[&command]);
        names.extend(below.iter().map(|one| format!("netstackd-{command}-{one}")));
        names.push(format!("netstackd-{command}"));
    }
    assert!(names.len() > 15, "{names:?}");
    let mut pages: Vec<String> = fs::read_dir(&directory)
        .expect("the directory is there")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let mut expected: Vec<String> = names.iter().map(|name| format!("{name}.8")).collect();
    pages.sort();
    expected.sort();
    assert_eq!(pages, expected);
    let page = |name: &str| fs::read_to_string(directory.join(name)).expect("a page");
    let run = page("netstackd-run.8");
    for part in [
        ".TH netstackd-run 8",
        "\\-\\-user",
        "\\-\\-sandbox",
        "Exit codes",
    ] {
        assert!(run.contains(part), "{part}: {run}");
    }
    assert!(!run.contains("exit\\-with\\-parent"), "hidden");
    assert!(page("netstackd.8").contains("netstackd\\-proxy(8)"));
    let text = sentence(
        &output(Command::new(program!()).args(["man", "/dev/null/x"])),
        2,
    );
    assert!(text.contains("cannot be written to /dev/null/x"), "{text}");
}

#[test]
fn shells_complete_every_command() {
    let scratch = Scratch::new("completions");
    for shell in ["bash", "zsh", "fish"] {
        let printed = output(Command::new(program!()).args(["completions", shell]));
        let script = String::from_utf8(printed.stdout).expect("text");
        for word in commands_of(&[])
            .iter()
            .map(String::as_str)
            .chain(["tun-fd", "sandbox"])
        {
            assert!(script.contains(word), "{shell}: {word}");
        }
        if shell == "bash" {
            let file = scratch.write("netstackd.bash", &script);
            let complete = "source \"$0\"; COMP_WORDS=(netstackd pr); COMP_CWORD=1; _netstackd netstackd pr netstackd; echo ${COMPREPLY[@]}";
            let completed = output(Command::new("bash").args(["-c", complete, &file]));
            let text = String::from_utf8_lossy(&completed.stdout).into_owned();
            assert_eq!(text.trim(), "proxy", "{completed:?}");
        }
    }
    let text = sentence(
        &output(Command::new(program!()).args(["completions", "csh"])),
        2,
    );
    assert!(text.contains("'csh'") && text.contains("fish"), "{text}");
}

#[test]
fn the_package_names_files_that_are_there() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../netstack/daemon");
    let manifest = fs::read_to_string(package.join("Cargo.toml")).expect("the manifest");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let deb = &manifest["package"]["metadata"]["deb"];
    let assets = deb["assets"].as_array().expect("a list");
    let source = |asset: &toml::Value| asset[0].as_str().expect("a path").to_owned();
    let is_made = |path: &String| path.starts_with("target/") || path.contains("/generated/");
    let kept: Vec<String> = assets
        .iter()
        .map(source)
        .filter(|path| !is_made(path))
        .collect();
    assert!(kept.len() >= 5, "{kept:?}");
    for path in kept {
        assert!(package.join(&path).is_file(), "{path}");
    }
    let log = fs::read_to_string(package.join("packaging/changelog")).expect("a changelog");
    let version = format!("netstackd ({}-1) ", env!("CARGO_PKG_VERSION"));
    assert!(
        log.starts_with(&version),
        "the newest entry is for {version}: {log}"
    );
    // What the unit and the container run is what the program understands.
    let config = package.join("netstackd.example.toml").display().to_string();
    for file in ["netstackd.service", "Containerfile"] {
        let text = fs::read_to_string(package.join("packaging").join(file)).expect("a file");
        assert!(text.contains("/etc/netstackd/netstackd.toml"), "{file}");
    }
    let checked = output(Command::new(program!()).args(["check", "--config", &config]));
    assert!(checked.status.success(), "{checked:?}");
}
