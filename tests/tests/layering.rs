//! The import rule: a layer imports nothing above it.

use std::path::Path;

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
