//! The scripts of this project, each against its stack, and `pktscript` as a program.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tools::pktscript::report::{Options, report};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/scripts")
}

fn scripts() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for directory in fs::read_dir(root()).expect("tests/scripts") {
        let directory = directory.expect("an entry").path();
        for file in fs::read_dir(&directory).expect("a directory of an RFC") {
            found.push(file.expect("an entry").path());
        }
    }
    found.sort();
    found
}

#[test]
fn every_script_of_ours_passes() {
    let scripts = scripts();
    assert!(scripts.len() >= 200, "{} scripts", scripts.len());
    let options = Options {
        seed: 1,
        ..Options::default()
    };
    let mut failed = Vec::new();
    for script in &scripts {
        let text = fs::read_to_string(script).expect("a script");
        let name = script.display().to_string();
        let report = report(&name, &text, &options);
        // A setting that is not applied would make a pass say less than the script does.
        let is_whole = !report.notes.iter().any(|note| note.starts_with("without"));
        if report.verdict != "pass" || !is_whole {
            failed.push(report.text(true));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn every_script_of_ours_passes_whatever_the_seed() {
    for seed in 2..6 {
        let options = Options {
            seed,
            ..Options::default()
        };
        for script in scripts() {
            let text = fs::read_to_string(&script).expect("a script");
            let report = report(&script.display().to_string(), &text, &options);
            assert_eq!(report.verdict, "pass", "seed {seed}: {}", report.text(true));
        }
    }
}

#[test]
fn every_script_says_which_section_it_is_about() {
    for script in scripts() {
        let text = fs::read_to_string(&script).expect("a script");
        let rfc = script
            .parent()
            .and_then(Path::file_name)
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_prefix("rfc"))
            .expect("a directory rfcNNNN");
        let name = script.file_name().and_then(|name| name.to_str()).unwrap();
        let (section, _) = name.split_once('-').expect("SECTION-behaviour.pkt");
        let begins = format!("// RFC {rfc} section {section}: ");
        assert!(text.starts_with(&begins), "{}: {begins}", script.display());
    }
}

fn pktscript(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pktscript"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("pktscript starts");
    // A program that has seen enough closes its end.
    let _ = child.stdin.take().expect("stdin").write_all(input);
    child.wait_with_output().expect("pktscript ends")
}

fn run(input: &str) -> (i32, String) {
    let output = pktscript(&["run", "-"], input.as_bytes());
    let text = String::from_utf8(output.stdout).expect("text");
    (output.status.code().expect("a code"), text)
}

const PASSES: &str = "0 < S 0:0(0) win 1\n+0 > R. 0:0(0)! ack 1 win 0\n";

#[test]
fn the_exit_code_tells_the_worst_verdict() {
    assert_eq!(run(PASSES).0, 0);
    let (code, text) = run("0 < S 0:0(0) win 1\n+0 > R. 0:0(0)! ack 2 win 0\n");
    assert_eq!(code, 1);
    assert!(text.starts_with("fail        -:2: expected > R."), "{text}");
    assert!(text.contains("\n    ack: expected 2, got 1\n"), "{text}");
    assert!(text.ends_with("1 scripts: 0 passed, 1 failed, 0 not supported, 0 unreadable\n"));
    assert_eq!(run("0 nonsense").0, 2);
    let (code, text) = run("0 splice(3) = 0");
    assert_eq!(code, 3);
    assert!(
        text.starts_with("unsupported -:1: the call splice\n"),
        "{text}"
    );
}

#[test]
fn files_that_are_no_scripts_get_a_sentence() {
    for (input, sentence) in [
        (&b""[..], "the script has no event"),
        (b"\xff\xfe\x00", "this is no text, so it is no script"),
        (
            b"0 > S 0:0(0) <mss",
            "expected a number, found the end of the script",
        ),
        (b"\xd4\xc3\xb2\xa1", "this is no text"),
    ] {
        let output = pktscript(&["run", "-"], input);
        let text = String::from_utf8(output.stdout).expect("text");
        assert!(text.contains(sentence), "{text}");
        assert_eq!(output.status.code(), Some(2));
    }
    let endless = vec![b'x'; 5 << 20];
    let output = pktscript(&["run", "-"], &endless);
    assert!(String::from_utf8_lossy(&output.stdout).contains("the most is 4194304"));
    let output = pktscript(&["run", "/no/such/file"], b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stdout).contains("No such file"));
}

#[test]
fn json_has_one_object_a_line_and_a_summary() {
    let output = pktscript(&["run", "--json", "-"], PASSES.as_bytes());
    let text = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let [report, summary] = &lines[..] else {
        panic!("{text}");
    };
    assert_eq!(report["verdict"], "pass");
    assert_eq!(report["log"].as_array().map(Vec::len), Some(2));
    assert_eq!(summary["summary"]["passed"], 1);
}

#[test]
fn buffers_of_an_open_connection_are_set_and_read() {
    for option in ["SO_SNDBUF", "SO_RCVBUF"] {
        let text = format!(
            "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n\
             +0 bind(3, ..., ...) = 0\n\
             +0 listen(3, 1) = 0\n\
             +0 < S 0:0(0) win 65535 <mss 1460,nop,wscale 7>\n\
             +0 > S. 0:0(0) ack 1 <...>\n\
             +0 < . 1:1(0) ack 1 win 65535\n\
             +0 accept(3, ..., ...) = 4\n\
             +0 setsockopt(4, SOL_SOCKET, {option}, [200000], 4) = 0\n"
        );
        let read =
            |value: u32| format!("+0 getsockopt(4, SOL_SOCKET, {option}, [{value}], [4]) = 0\n");
        let (code, report) = run(&(text.clone() + &read(200_000)));
        assert_eq!(code, 0, "{report}");
        let (code, report) = run(&(text + &read(100_000)));
        assert_eq!(code, 1, "{report}");
    }
}

#[test]
fn symbols_can_be_defined() {
    let text = "#ifdef LONG\n0 < S 0:0(0) win 1\n+0 > R. 0:0(0)! ack N win 0\n#endif\n";
    let defined = pktscript(&["run", "-DLONG", "-D", "N=1", "-"], text.as_bytes());
    assert_eq!(defined.status.code(), Some(0));
    assert_eq!(
        pktscript(&["run", "-"], text.as_bytes()).status.code(),
        Some(2)
    );
}

#[test]
fn a_directory_stands_for_its_scripts() {
    let directory = root().join("rfc768");
    let output = pktscript(&["check", directory.to_str().unwrap()], b"");
    let text = String::from_utf8(output.stdout).expect("text");
    let scripts = fs::read_dir(&directory).unwrap().count();
    assert!(
        text.contains(&format!("{scripts} scripts: {scripts} passed")),
        "{text}"
    );
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let scripts = root();
    let pipe = format!(
        "{} run -v {} | head -n 1; echo ${{PIPESTATUS[0]}}",
        env!("CARGO_BIN_EXE_pktscript"),
        scripts.display()
    );
    let output = Command::new("bash")
        .arg("-c")
        .arg(pipe)
        .output()
        .expect("bash");
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("141\n"));
}
