//! Reads the sources and says where a layer imports one above it.
//!
//! Two levels: packages (their `Cargo.toml`, and every path in their sources that starts with a
//! workspace crate), and inside `netstack` its modules (`crate::x`, `super::x`, in groups, in macro
//! bodies, in tests). It works on tokens, so comments and strings cannot fool it.

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The workspace crates that each crate's library may import. A crate that is not listed is an error.
const CRATES: &[(&str, &[&str])] = &[
    ("lockorder_macros", &[]),
    ("lockorder", &["lockorder_macros"]),
    ("packet", &[]),
    ("netstack", &["lockorder", "packet"]),
    ("impair", &["packet"]),
    ("netstackd", &["netstack", "packet", "impair"]),
    ("tools", &["lockorder", "packet", "netstack", "impair"]),
    (
        "benches",
        &["lockorder", "packet", "netstack", "netstackd", "tools"],
    ),
    (
        "tests",
        &["lockorder", "packet", "netstack", "netstackd", "tools"],
    ),
    ("ecosystem", &["netstack", "tests"]),
];

/// The modules that each module of `netstack` may import.
const MODULES: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("ip", &["base"]),
    ("icmp", &["base", "ip"]),
    ("demux", &["base", "ip", "icmp"]),
    ("udp", &["base", "ip", "icmp", "demux"]),
    ("tcp", &["base"]),
    ("ao", &["base", "ip"]),
    (
        "stack",
        &["base", "ip", "icmp", "demux", "udp", "tcp", "ao"],
    ),
    ("device", &["base"]),
    (
        "engine",
        &[
            "base", "ip", "icmp", "demux", "udp", "tcp", "ao", "stack", "device",
        ],
    ),
    (
        "net",
        &[
            "base", "ip", "icmp", "demux", "udp", "tcp", "ao", "stack", "device", "engine",
        ],
    ),
];

/// The pure modules: no lock, no I/O, no thread.
const PURE: &[&str] = &["base", "ip", "icmp", "demux", "udp", "tcp", "ao"];

/// Crates and modules that a pure module must not name at the start of a path.
const IMPURE: &[&str] = &[
    "lockorder",
    "parking_lot",
    "tokio",
    "mio",
    "rustix",
    "libc",
    "nix",
    "socket2",
    "tun_rs",
    "tun_tap",
    "pcap_file",
    "std::fs",
    "std::io",
    "std::thread",
    "std::process",
    "std::env",
    "std::os",
];

/// A path in a source file, as its segments, with `self`, `super` and `crate` resolved: the first
/// segment is a crate's name.
type Segments = Vec<String>;

/// One import that the rule forbids.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// The file, relative to the workspace.
    pub file: PathBuf,
    /// The path that it names.
    pub path: String,
    /// The rule that forbids it.
    pub why: String,
}

/// Every violation in the workspace at `root`, sorted; and how many files and paths were read, so
/// that a test can tell "nothing wrong" from "nothing seen".
///
/// # Panics
///
/// When a source or manifest cannot be read or is not Rust or TOML.
pub fn check(root: &Path) -> (Vec<Violation>, usize, usize) {
    let (mut violations, mut files, mut paths) = (Vec::new(), 0, 0);
    for package in packages(root) {
        let manifest = read_manifest(&root.join(&package).join("Cargo.toml"));
        let name = package_name(&manifest).replace('-', "_");
        violations.extend(check_manifest(
            &package.join("Cargo.toml"),
            &name,
            &manifest,
        ));
        for file in sources(&root.join(&package).join("src")) {
            let relative = file.strip_prefix(root).unwrap_or(&file).to_owned();
            let inside = file
                .strip_prefix(root.join(&package).join("src"))
                .unwrap_or(&file);
            let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{file:?}: {e}"));
            let found = paths_in(&text, &module_path(&name, inside));
            files += 1;
            paths += found.len();
            violations.extend(judge(&relative, &module_path(&name, inside), &found));
        }
    }
    violations.sort();
    violations.dedup();
    (violations, files, paths)
}

/// Returns the violations in `text`, read as if it were the module `module` (`netstack::ip::route`).
pub fn check_text(module: &str, text: &str) -> Vec<Violation> {
    let module: Segments = module.split("::").map(str::to_owned).collect();
    judge(Path::new("planted.rs"), &module, &paths_in(text, &module))
}

fn read_manifest(path: &Path) -> toml::Table {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    text.parse().unwrap_or_else(|e| panic!("{path:?}: {e}"))
}

fn packages(root: &Path) -> Vec<PathBuf> {
    let manifest = read_manifest(&root.join("Cargo.toml"));
    let members = manifest["workspace"]["members"]
        .as_array()
        .expect("members");
    members
        .iter()
        .map(|member| PathBuf::from(member.as_str().expect("a path")))
        .collect()
}

fn package_name(manifest: &toml::Table) -> String {
    manifest["package"]["name"]
        .as_str()
        .expect("a name")
        .to_owned()
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("{dir:?}: {e}")) {
        let path = entry.expect("a directory entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// `netstack`, `ip/route.rs` → `netstack::ip::route`.
fn module_path(krate: &str, inside: &Path) -> Segments {
    let mut module = vec![krate.to_owned()];
    for part in inside.with_extension("").components() {
        module.push(part.as_os_str().to_string_lossy().into_owned());
    }
    let last = module.last().map(String::as_str);
    // A file of `src/bin` is a crate of its own, but its imports are judged as its package's.
    if matches!(last, Some("mod" | "lib" | "main")) {
        module.pop();
    }
    module
}

fn check_manifest(file: &Path, name: &str, manifest: &toml::Table) -> Vec<Violation> {
    let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
    let names = dependencies.into_iter().flat_map(toml::Table::keys);
    names
        .map(|dependency| dependency.replace('-', "_"))
        .filter_map(|dependency| forbidden_crate(name, &dependency).map(|why| (dependency, why)))
        .map(|(path, why)| Violation {
            file: file.to_owned(),
            path,
            why,
        })
        .collect()
}

/// Returns the rule that forbids the crate `from` to import `to`; `None` if it may, or if `to` is not of
/// the workspace.
fn forbidden_crate(from: &str, to: &str) -> Option<String> {
    if from == to || !CRATES.iter().any(|&(name, _)| name == to) {
        return None;
    }
    match CRATES.iter().find(|&&(name, _)| name == from) {
        Some((_, allowed)) if allowed.contains(&to) => None,
        Some(_) => Some(format!("{to} is not below {from}")),
        None => Some(format!("{from} is in no layer: give it one")),
    }
}

/// Returns the rule that forbids the module `from` of netstack to import the module `to`.
fn forbidden_module(from: &str, to: &str) -> Option<String> {
    if from == to || !MODULES.iter().any(|&(name, _)| name == to) {
        return None;
    }
    match MODULES.iter().find(|&&(name, _)| name == from) {
        Some((_, allowed)) if allowed.contains(&to) => None,
        Some(_) => Some(format!("netstack::{to} is not below netstack::{from}")),
        None => Some(format!("netstack::{from} is in no layer: give it one")),
    }
}

fn judge(file: &Path, module: &[String], paths: &[Segments]) -> Vec<Violation> {
    let krate = module[0].as_str();
    let inner = module
        .get(1)
        .filter(|_| krate == "netstack")
        .map(String::as_str);
    let mut violations = Vec::new();
    for path in paths {
        let text = path.join("::");
        let mut why = forbidden_crate(krate, &path[0]);
        if let (Some(from), "netstack", Some(to)) = (inner, path[0].as_str(), path.get(1)) {
            why = why.or_else(|| forbidden_module(from, to));
        }
        // Tests may ask the environment for a seed; the direction of imports binds them, too.
        let is_test = module.iter().any(|segment| segment == "tests");
        if let Some(from) = inner.filter(|from| PURE.contains(from) && !is_test) {
            let named = IMPURE.iter().find(|&&impure| {
                text == impure
                    || text
                        .strip_prefix(impure)
                        .is_some_and(|t| t.starts_with("::"))
            });
            why = why.or(named.map(|name| format!("netstack::{from} is pure, {name} is not")));
        }
        violations.extend(why.map(|why| Violation {
            file: file.to_owned(),
            path: text,
            why,
        }));
    }
    violations
}

/// Every path of two or more segments in `text`, resolved as seen from `module`.
fn paths_in(text: &str, module: &[String]) -> Vec<Segments> {
    let tokens: TokenStream = text.parse().unwrap_or_else(|e| panic!("{module:?}: {e}"));
    let mut found = Vec::new();
    walk(tokens, module, &mut found);
    found
}

fn walk(tokens: TokenStream, module: &[String], found: &mut Vec<Segments>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Group(group) => {
                // `mod name { … }` is one level deeper.
                let name = (at >= 2 && is_ident(&tokens[at - 2], "mod"))
                    .then(|| ident(&tokens[at - 1]))
                    .flatten();
                let deeper: Segments = module.iter().cloned().chain(name).collect();
                walk(group.stream(), &deeper, found);
                at += 1;
            }
            TokenTree::Ident(_) if is_name(&tokens[at]) && !follows_path(&tokens, at) => {
                at += path_at(&tokens[at..], &Vec::new(), module, found).max(1);
            }
            _ => at += 1,
        }
    }
}

fn ident(token: &TokenTree) -> Option<String> {
    match token {
        TokenTree::Ident(ident) => Some(ident.to_string().trim_start_matches("r#").to_owned()),
        _ => None,
    }
}

fn is_ident(token: &TokenTree, name: &str) -> bool {
    ident(token).is_some_and(|ident| ident == name)
}

/// True for an identifier that can be a path's segment (a leading `::` may follow any other).
fn is_name(token: &TokenTree) -> bool {
    const KEYWORDS: [&str; 12] = [
        "use", "as", "dyn", "impl", "in", "for", "return", "where", "mut", "ref", "match", "else",
    ];
    ident(token).is_some_and(|name| !KEYWORDS.contains(&name.as_str()))
}

fn is_colons(tokens: &[TokenTree]) -> bool {
    let colon =
        |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == ':');
    colon(0) && colon(1)
}

/// Returns true if the token at `at` continues a path (`… :: name`); a leading `::name` does not.
fn follows_path(tokens: &[TokenTree], at: usize) -> bool {
    at >= 3 && is_colons(&tokens[at - 2..]) && is_name(&tokens[at - 3])
}

/// Reads the path (or use tree) at the start of `tokens`, below `prefix`; returns its length.
fn path_at(
    tokens: &[TokenTree],
    prefix: &Segments,
    module: &[String],
    found: &mut Vec<Segments>,
) -> usize {
    let mut path = prefix.clone();
    let mut at = 0;
    while let Some(name) = tokens.get(at).and_then(ident) {
        path.push(name);
        at += 1;
        if !is_colons(&tokens[at..]) {
            break;
        }
        at += 2;
        if let Some(TokenTree::Group(group)) = tokens.get(at)
            && group.delimiter() == Delimiter::Brace
        {
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            for tree in inner.split(|t| matches!(t, TokenTree::Punct(p) if p.as_char() == ',')) {
                path_at(tree, &path, module, found);
            }
            return at + 1;
        }
    }
    if path.len() >= 2 {
        found.extend(resolve(path, module));
    }
    at
}

/// `crate`, `self` and `super` replaced; `None` if nothing is left to judge.
fn resolve(path: Segments, module: &[String]) -> Option<Segments> {
    let mut rest = path.as_slice();
    let mut resolved: Segments = match rest.first()?.as_str() {
        "crate" => {
            rest = &rest[1..];
            vec![module[0].clone()]
        }
        "self" => {
            rest = &rest[1..];
            module.to_vec()
        }
        "super" => module.to_vec(),
        _ => Vec::new(),
    };
    while rest.first().is_some_and(|segment| segment == "super") {
        resolved.pop();
        rest = &rest[1..];
    }
    resolved.extend(rest.iter().cloned());
    (!resolved.is_empty()).then_some(resolved)
}
