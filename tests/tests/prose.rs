//! Documentation comments say what an item is or does. They do not open with a question word.

use std::fs;
use std::path::{Path, PathBuf};

/// Openings that make a reader wait for the subject.
const OPENINGS: [&str; 4] = ["What ", "Who ", "Whose ", "Whether "];

/// Returns the documentation comments of `text` that open with a question word, with their line numbers.
fn questions(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_comment = false;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_start();
        let doc = line
            .strip_prefix("/// ")
            .or_else(|| line.strip_prefix("//! "));
        let opens = doc.is_some_and(|doc| OPENINGS.iter().any(|word| doc.starts_with(word)));
        if opens && !in_comment {
            found.push((number, line));
        }
        in_comment = line.starts_with("///") || line.starts_with("//!");
    }
    found
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

#[test]
fn no_documentation_comment_opens_with_a_question_word() {
    let mut files = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join(".."),
        &mut files,
    );
    assert!(files.len() > 500, "{} files", files.len());
    let mut wrong = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).expect("a source file");
        for (number, line) in questions(&text) {
            wrong.push(format!("{}:{number}: {line}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn planted_questions_are_found() {
    let text = "/// What it does.\nfn a() {}\n    /// Returns it.\n    /// What follows is fine.\n//! Whether it is.\n";
    let lines: Vec<_> = questions(text)
        .into_iter()
        .map(|(number, _)| number)
        .collect();
    assert_eq!(lines, [1]);
}
