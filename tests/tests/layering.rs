//! The import rule: a layer imports nothing above it.

use std::path::{Path, PathBuf};

use tests::file_graph::FileGraph;
use tests::layers::{check, check_text};

#[test]
fn no_layer_imports_one_above_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace");
    let (violations, files, paths) = check(root);
    println!("{files} files, {paths} paths read");
    assert!(files > 20 && paths > 100, "the sources were not found");
    for violation in &violations {
        println!(
            "{}: {}: {}",
            violation.file.display(),
            violation.path,
            violation.why
        );
    }
    assert!(
        violations.is_empty(),
        "{} imports go upward",
        violations.len()
    );
}

#[test]
fn planted_violations_are_found() {
    for (module, source) in [
        ("netstack::ip::route", "use crate::tcp::SeqNum;"),
        (
            "netstack::ip::route",
            "use crate::{base::Instant, icmp::limiter};",
        ),
        ("netstack::tcp::rack", "use super::super::ip::Routes;"),
        (
            "netstack::tcp::rack",
            "fn f() -> usize { crate::stack::SIZE }",
        ),
        (
            "netstack::tcp",
            "mod inner { use super::super::udp::Socket; }",
        ),
        (
            "netstack::tcp",
            "#[cfg(test)] mod tests { use crate::engine::Wheel; }",
        ),
        (
            "netstack::tcp",
            "macro_rules! m { () => { $crate::net::Stack }; }",
        ),
        ("netstack::device::pcap", "pub use crate::engine;"),
        ("netstack::stack", "use crate::net::TcpStream as _;"),
        ("netstack::udp", "use lockorder::Mutex;"),
        ("netstack::udp", "fn f() { std::io::stdout(); }"),
        ("netstack::base::time", "use std::{fmt, thread::sleep};"),
        ("netstack::base", "use ::tokio::io::AsyncRead;"),
        ("netstack::novelty", "use crate::base::Rng;"),
        ("packet::ip", "use lockorder::Key;"),
        ("lockorder::key", "use packet::Payload;"),
        ("netstack::engine", "use netstackd::cli;"),
        ("netstackd::run", "use tools::replay;"),
        ("tools", "use tests::layers;"),
    ] {
        let violations = check_text(module, source);
        assert_eq!(violations.len(), 1, "{module}: {source}: {violations:?}");
    }
}

#[test]
fn imports_downward_are_not_reported() {
    for (module, source) in [
        (
            "netstack::net",
            "use crate::{engine, stack::{self, Levels}};",
        ),
        (
            "netstack::stack::ip::inbound",
            "use super::super::tcp::Tcp; use lockorder::Mutex;",
        ),
        (
            "netstack::tcp::rack",
            "use super::seq::SeqNum; use crate::base::Instant;",
        ),
        (
            "netstack::tcp",
            "// use crate::stack::X;\n/// crate::net::Y\nconst S: &str = \"crate::net::Z\";",
        ),
        (
            "netstack::tcp::tests::chaos",
            "fn seed() { std::env::var(\"SEED\"); }",
        ),
        (
            "netstack::ip",
            "use std::net::IpAddr; use core::fmt; use packet::ip::Ipv4;",
        ),
        (
            "netstackd::run",
            "use netstack::net::Stack; fn f(x: u8) { match x { _ => () } }",
        ),
    ] {
        assert_eq!(check_text(module, source), [], "{module}: {source}");
    }
}

/// The folders of the library in which no file may use one that uses it.
const WITHOUT_CIRCLES: [&str; 3] = ["stack", "engine", "net"];

#[test]
fn no_file_of_the_locked_stack_uses_one_that_uses_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("../netstack/src");
    let graph = FileGraph::read(&src, &WITHOUT_CIRCLES);
    println!("{} files, {} arrows", graph.files(), graph.arrows());
    assert!(
        graph.files() > 30 && graph.arrows() > 60,
        "sources not found"
    );
    assert_eq!(graph.circles(), Vec::<Vec<&Path>>::new());
}

#[test]
fn planted_circles_are_found() {
    let sources = |files: &[(&str, &str)]| {
        let owned = files
            .iter()
            .map(|&(file, text)| (PathBuf::from(file), text.to_owned()));
        FileGraph::of(&owned.collect())
    };
    // By an import, by a path in an expression, by a module that was imported and then renamed.
    for back in [
        "use crate::stack::a::A;",
        "use super::a::A;",
        "fn f() { crate::stack::a::f(); }",
        "use super::a; fn f() { a::f(); }",
        "fn f() { other::f(); } use super::a::{self as other};",
        "mod inner { use super::super::a::A; }",
    ] {
        let graph = sources(&[
            ("stack/mod.rs", "mod a; mod b;"),
            ("stack/a.rs", "use super::b::B;"),
            ("stack/b.rs", back),
        ]);
        let circle = [Path::new("stack/a.rs"), Path::new("stack/b.rs")];
        assert_eq!(graph.circles(), [circle.to_vec()], "{back}");
    }
    // Who may use an item is no use of it.
    let graph = sources(&[
        ("stack/mod.rs", "mod a; mod b; pub use b::B;"),
        ("stack/a.rs", "pub(in crate::stack) struct A;"),
        ("stack/b.rs", "use super::a::A;"),
    ]);
    assert_eq!(graph.circles(), Vec::<Vec<&Path>>::new());
    // Through a folder, and of three files.
    let graph = sources(&[
        ("stack/mod.rs", "mod host; pub use host::Host;"),
        ("stack/host.rs", "use super::tcp::table::Table;"),
        ("stack/tcp/mod.rs", "pub mod table;"),
        ("stack/tcp/table.rs", "use super::super::Host;"),
    ]);
    assert_eq!(graph.circles()[0].len(), 3, "{:?}", graph.circles());
    // Tests and declarations make no arrow.
    let graph = sources(&[
        ("stack/mod.rs", "mod a; mod b;"),
        ("stack/a.rs", "use super::b::B;"),
        (
            "stack/b.rs",
            "#[cfg(test)] mod tests { use crate::stack::a::A; }",
        ),
    ]);
    assert_eq!((graph.circles().len(), graph.arrows()), (0, 1));
}
