//! The resolver inside: the stack passes queries for names on to the machine's resolver or answers itself.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use nix::mount::{MsFlags, mount};

use super::network::STACK_V4;
use crate::failure::Failure;

const FILE: &str = "/etc/resolv.conf";
const DNS: u16 = 53;
/// Largest part of the file that is read, in bytes.
const READ_MAX: usize = 64 << 10;

/// Returns the machine's first resolver.
pub(super) fn of_machine() -> Option<SocketAddr> {
    first_server(&fs::read_to_string(FILE).ok()?)
}

fn first_server(text: &str) -> Option<SocketAddr> {
    let text = text.get(..text.len().min(READ_MAX)).unwrap_or_default();
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let address = words.by_ref().next().filter(|word| *word == "nameserver")?;
        let _ = address;
        // An address with a scope is of one interface only.
        let address: IpAddr = words.next()?.parse().ok()?;
        Some(SocketAddr::new(address, DNS))
    })
}

/// Keeps what is mounted from now on away from other processes.
pub(super) fn keep_mounts_here() -> Result<(), Failure> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(|errno| {
        Failure::Privilege(format!(
            "the mounts of the command cannot be kept apart ({}): allow mount namespaces",
            errno.desc().to_lowercase()
        ))
    })
}

/// Puts a file that names the stack in the place of the machine's.
///
/// # Errors
/// The file cannot be mounted.
pub(super) fn replace() -> Result<(), Failure> {
    // Without such a file programs ask 127.0.0.1, where nobody is.
    if !Path::new(FILE).exists() {
        return Ok(());
    }
    let old = fs::read_to_string(FILE).unwrap_or_default();
    let path = std::env::temp_dir().join(format!("netstackd-resolv-{}", std::process::id()));
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, new_text(&old).as_bytes()));
    let none = None::<&str>;
    let mounted = written.map_err(|error| error.to_string()).and_then(|()| {
        mount(Some(&path), FILE, none, MsFlags::MS_BIND, none)
            .map_err(|errno| errno.desc().to_lowercase())
    });
    // The mount keeps the file alive.
    let _ = fs::remove_file(&path);
    mounted.map_err(|why| {
        Failure::Device(format!(
            "{FILE} cannot be replaced inside ({why}): make the directory for temporary files writable"
        ))
    })
}

/// Returns the old text with the stack as the only resolver.
fn new_text(old: &str) -> String {
    let mut text = format!("nameserver {STACK_V4}\n");
    for line in old.lines() {
        let key = line.split_whitespace().next();
        if matches!(key, Some("search" | "domain" | "options")) {
            text += line;
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_resolver_is_found_and_replaced() {
        let text = "# mine\nsearch example.org\nnameserver fe80::1%eth0\nnameserver 192.0.2.53\noptions edns0\n";
        let server: SocketAddr = "192.0.2.53:53".parse().expect("an address");
        assert_eq!(first_server(text), Some(server));
        assert_eq!(first_server("nameserver\nnameserver x\n"), None);
        let new = new_text(text);
        assert_eq!(
            new,
            "nameserver 10.77.0.2\nsearch example.org\noptions edns0\n"
        );
    }
}
