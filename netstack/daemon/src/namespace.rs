//! Network namespaces for the demo, so that it does not touch the host's network.
//!
//! Owns one decision: whether a network namespace needs a user namespace, too. Root with
//! `CAP_SYS_ADMIN` needs none; any other user becomes root of a new one, in which no other user exists.

use std::fs;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid};

use crate::failure::Failure;

/// Moves this process into a new network namespace, and into a new user namespace if it needs one.
///
/// Call it before the first thread is started: only a process with a single thread can enter a user
/// namespace.
///
/// # Errors
///
/// Returns [`Failure::Privilege`] if the system forbids user namespaces.
pub fn enter() -> Result<(), Failure> {
    let (uid, gid) = (Uid::effective(), Gid::effective());
    if uid.is_root() && unshare(CloneFlags::CLONE_NEWNET).is_ok() {
        return Ok(());
    }
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET).map_err(forbidden)?;
    // An unprivileged process may write its group map only after it has given up setgroups
    // (user_namespaces(7)).
    for (file, text) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {uid} 1")),
        ("gid_map", format!("0 {gid} 1")),
    ] {
        fs::write(format!("/proc/self/{file}"), text).map_err(|error| {
            forbidden(Errno::from_raw(error.raw_os_error().unwrap_or_default()))
        })?;
    }
    Ok(())
}

pub(crate) fn forbidden(errno: Errno) -> Failure {
    let reason = match errno {
        // unshare(2) returns these when user.max_user_namespaces is reached.
        Errno::ENOSPC | Errno::EUSERS => "the system allows no more of them".to_owned(),
        _ => errno.desc().to_lowercase(),
    };
    Failure::Privilege(format!(
        "cannot create a user and network namespace ({reason}): run as root, or allow user namespaces \
         (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, \
         kernel.apparmor_restrict_unprivileged_userns)"
    ))
}
