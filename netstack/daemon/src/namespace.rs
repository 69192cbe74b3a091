//! Namespaces of our own, so that nothing of the host is touched.
//!
//! Owns one decision: whether a user namespace is needed for a network namespace. Root with
//! `CAP_SYS_ADMIN` needs none; anybody else becomes root of a user namespace in which only they exist.

use std::fs;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid};

use crate::failure::Failure;

/// Moves this process into a new network namespace, with a new user namespace where that is needed.
/// To be called before the first thread is started: a user namespace is entered by whole processes.
///
/// # Errors
///
/// [`Failure::Privilege`] where the system forbids user namespaces.
pub fn enter() -> Result<(), Failure> {
    let (uid, gid) = (Uid::effective(), Gid::effective());
    if uid.is_root() && unshare(CloneFlags::CLONE_NEWNET).is_ok() {
        return Ok(());
    }
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET).map_err(forbidden)?;
    // A group map may be written by the unprivileged only when groups cannot be changed any more
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

fn forbidden(errno: Errno) -> Failure {
    let reason = match errno {
        // unshare(2) says so where user.max_user_namespaces is reached.
        Errno::ENOSPC | Errno::EUSERS => "the system allows no more of them".to_owned(),
        _ => errno.desc().to_lowercase(),
    };
    Failure::Privilege(format!(
        "a user and network namespace cannot be made here ({reason}): run as root, or allow user namespaces \
         (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, \
         kernel.apparmor_restrict_unprivileged_userns)"
    ))
}
