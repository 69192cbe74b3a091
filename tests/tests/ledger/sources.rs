//! The declarations of the workspace: which names there are, within what, and which are tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Packages whose sources the ledger may name.
const PACKAGES: &[&str] = &[
    "packet",
    "netstack",
    "tools",
    "tests",
    "benches",
    "lockorder",
];
/// The folders that a path in the ledger may begin at, beside the workspace itself.
const BASES: &[&str] = &[
    "",
    "netstack/src/",
    "netstack/src/tcp/",
    "packet/src/",
    "packet/tests/",
    "tests/tests/",
    "docs/",
    "docs/rfc/",
];
/// The keywords that declare the name behind them.
const KEYWORDS: &[&str] = &[
    "fn", "struct", "enum", "union", "trait", "type", "const", "static", "mod",
];

/// Every name that is declared, every test, every file.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// For each name, the sets of names that a declaration of it lies within: its crate and modules,
    /// its type, trait or function.
    names: BTreeMap<String, Vec<BTreeSet<String>>>,
    tests: BTreeSet<String>,
    files: BTreeSet<String>,
}

/// Returns the paths of all Rust files, relative to `root`.
pub(crate) fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for package in PACKAGES {
        collect(root, package, &mut found);
    }
    found.retain(|path| path.ends_with(".rs"));
    found
}

fn collect(root: &Path, folder: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(root.join(folder)).unwrap_or_else(|e| panic!("{folder}: {e}")) {
        let entry = entry.expect("a directory entry");
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.file_type().expect("a file type").is_dir() {
            if !matches!(entry.file_name().to_str(), Some("target" | "corpus" | "ui")) {
                collect(root, &path, found);
            }
        } else {
            found.push(path);
        }
    }
}

impl Sources {
    /// Reads the workspace at `root`.
    ///
    /// # Panics
    ///
    /// When a source cannot be read or is not Rust.
    pub(crate) fn read(root: &Path) -> Self {
        let mut sources = Self::default();
        for path in files(root) {
            let text =
                fs::read_to_string(root.join(&path)).unwrap_or_else(|e| panic!("{path}: {e}"));
            sources.add_file(&path, &text);
        }
        // Documents and scripts have names, and no code.
        let mut others = Vec::new();
        collect(root, "docs", &mut others);
        collect(root, "tests/scripts", &mut others);
        sources.files.extend(others);
        sources
    }

    /// Adds the declarations of one file.
    ///
    /// # Panics
    ///
    /// When `text` is not Rust.
    pub(crate) fn add_file(&mut self, path: &str, text: &str) {
        let tokens: TokenStream = text.parse().unwrap_or_else(|e| panic!("{path}: {e}"));
        self.files.insert(path.to_owned());
        let mut within: Vec<String> = Vec::new();
        for part in path.trim_end_matches(".rs").split('/') {
            if !matches!(part, "src" | "mod" | "lib" | "main") {
                self.declare(part, &within);
                within.push(part.to_owned());
            }
        }
        self.walk(tokens, &mut within);
    }

    /// Returns whether the last name of `path` is declared within all the others.
    pub(crate) fn has_path(&self, path: &[&str]) -> bool {
        let Some((last, within)) = path.split_last() else {
            return false;
        };
        let within: Vec<&&str> = within.iter().filter(|part| **part != "crate").collect();
        let mut places = self.names.iter().filter(|(name, _)| matches(last, name));
        places.any(|(_, places)| {
            let holds = |place: &BTreeSet<String>| within.iter().all(|part| place.contains(**part));
            places.iter().any(holds)
        })
    }

    /// Returns whether there is a test of that name: a function, or a file of them.
    pub(crate) fn has_test(&self, pattern: &str) -> bool {
        let is_file = |file: &String| file.ends_with(&format!("/tests/{pattern}.rs"));
        self.tests.iter().any(|test| matches(pattern, test)) || self.files.iter().any(is_file)
    }

    /// Returns whether there is a package of that name.
    pub(crate) fn has_package(&self, name: &str) -> bool {
        PACKAGES.contains(&name)
    }

    /// Returns whether there is a file or folder of that path.
    pub(crate) fn has_file(&self, pattern: &str) -> bool {
        let pattern = pattern.trim_end_matches('/');
        BASES.iter().any(|base| {
            let wanted = format!("{base}{pattern}");
            let folder = format!("{wanted}/");
            let mut files = self.files.iter();
            files.any(|file| matches(&wanted, file) || file.starts_with(&folder))
        })
    }

    fn declare(&mut self, name: &str, within: &[String]) {
        let places = self.names.entry(name.to_owned()).or_default();
        places.push(within.iter().cloned().collect());
    }

    fn walk(&mut self, tokens: TokenStream, within: &mut Vec<String>) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        // The names that the next group in braces lies within, and whether it holds fields or variants.
        let (mut owners, mut members): (Vec<String>, bool) = (Vec::new(), false);
        let mut is_test = false;
        for (at, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
                    is_test |= is_test_attribute(group.stream());
                }
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                    let depth = within.len();
                    within.append(&mut owners);
                    if members {
                        self.declare_members(group.stream(), within);
                    }
                    self.walk(group.stream(), within);
                    within.truncate(depth);
                    members = false;
                }
                TokenTree::Group(group) => self.walk(group.stream(), within),
                TokenTree::Punct(punct) if punct.as_char() == ';' => {
                    owners.clear();
                    members = false;
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
                TokenTree::Ident(word) => {
                    let next = tokens.get(at + 1);
                    if let (true, Some(TokenTree::Ident(name))) =
                        (KEYWORDS.contains(&word.to_string().as_str()), next)
                    {
                        let name = name.to_string();
                        self.declare(&name, within);
                        if word == "fn" && is_test {
                            self.tests.insert(name.clone());
                        }
                        is_test = false;
                        members = word == "struct" || word == "enum";
                        owners = vec![name];
                    } else if word == "impl" && owners.is_empty() {
                        owners = header(&tokens[at + 1..]);
                    } else if let Some(TokenTree::Punct(bang)) = next
                        && bang.as_char() == '!'
                    {
                        self.declare_made_by_macro(&tokens[at + 2..], within);
                    }
                }
            }
        }
    }

    /// Declares the fields or variants of a type.
    fn declare_members(&mut self, tokens: TokenStream, within: &[String]) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for member in tokens.split(|token| is_punct(token, ',')) {
            // Attributes are `#` and a group, `pub(crate)` is a word and a group.
            let mut rest = member;
            while let [first, others @ ..] = rest
                && !matches!(first, TokenTree::Ident(word) if word != "pub")
            {
                rest = others;
            }
            let name = match rest {
                // The rest of a type with a comma in it, `Map<A, B>`, has no colon behind its first word.
                [TokenTree::Ident(name)] => Some(name),
                [TokenTree::Ident(name), next, ..] => {
                    let ends = matches!(next, TokenTree::Group(_));
                    (ends || is_punct(next, ':') || is_punct(next, '=')).then_some(name)
                }
                _ => None,
            };
            if let Some(name) = name {
                self.declare(&name.to_string(), within);
            }
        }
    }

    /// Declares the names in a macro's call of the form `macro! { … Type { Variant => …, } }`.
    fn declare_made_by_macro(&mut self, tokens: &[TokenTree], within: &[String]) {
        let Some(TokenTree::Group(call)) = tokens.first() else {
            return;
        };
        let call: Vec<TokenTree> = call.stream().into_iter().collect();
        for pair in call.windows(2) {
            if let [TokenTree::Ident(name), TokenTree::Group(group)] = pair
                && group.delimiter() == Delimiter::Brace
                && name.to_string().starts_with(char::is_uppercase)
            {
                let mut inner = within.to_vec();
                inner.push(name.to_string());
                self.declare(&name.to_string(), within);
                self.declare_members(group.stream(), &inner);
            }
        }
    }
}

fn is_punct(token: &TokenTree, c: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == c)
}

/// Returns the names between `impl` and its braces: the type, and the trait if there is one.
fn header(tokens: &[TokenTree]) -> Vec<String> {
    let mut names = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => break,
            TokenTree::Ident(name) => names.push(name.to_string()),
            _ => {}
        }
    }
    names
}

fn is_test_attribute(tokens: TokenStream) -> bool {
    let words: Vec<String> = tokens.into_iter().map(|token| token.to_string()).collect();
    words.first().is_some_and(|word| word == "test")
        || words.len() > 3 && words[..4] == ["tokio", ":", ":", "test"]
}

/// Returns whether `name` is `pattern`, in which each `*` stands for any characters.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => {
            let Some(rest) = name.strip_prefix(before) else {
                return false;
            };
            (0..=rest.len())
                .filter(|&at| rest.is_char_boundary(at))
                .any(|at| matches(after, &rest[at..]))
        }
    }
}
