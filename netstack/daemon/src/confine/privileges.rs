//! The ids and the capabilities of the calling thread.
//!
//! The C library would change those of every thread of the process, also of the one that still needs its rights, so the
//! system calls are made for this thread alone.

use rustix::io::Errno;
use rustix::process::{Gid, Uid, getegid, geteuid, getgid, getuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, set_capabilities,
    set_keep_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

use super::identity::Identity;
use crate::failure::Failure;

/// Makes the calling thread run as a user. Of its capabilities it keeps those of `kept` through the change.
///
/// # Errors
/// The thread may not.
pub(super) fn become_user(identity: &Identity, kept: CapabilitySet) -> Result<(), Failure> {
    let (uid, gid) = (
        Uid::from_raw(identity.uid.as_raw()),
        Gid::from_raw(identity.gid.as_raw()),
    );
    // Whoever is that user already needs no right to become it.
    if (getuid(), geteuid(), getgid(), getegid()) == (uid, uid, gid, gid) {
        return Ok(());
    }
    let groups: Vec<Gid> = identity
        .groups
        .iter()
        .map(|g| Gid::from_raw(g.as_raw()))
        .collect();
    let change = || {
        set_keep_capabilities(!kept.is_empty())?;
        set_thread_groups(&groups)?;
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)?;
        set_keep_capabilities(false)
    };
    change().map_err(|errno| {
        let place = &identity.place;
        Failure::Privilege(match errno {
            Errno::INVAL => format!(
                "{place}: netstackd cannot become {identity}, which does not exist in this user namespace: map it \
                 there, or name another one"
            ),
            errno => format!(
                "{place}: netstackd cannot become {identity} ({}): start it as root, or leave the user out",
                crate::file::reason(&errno.into())
            ),
        })
    })
}

/// Gives up every capability that is not in `needed`, for ever. Returns the names of those that are left, or `none`.
///
/// # Errors
/// As the system.
pub(super) fn keep(needed: CapabilitySet) -> Result<String, Errno> {
    set_no_new_privs(true)?;
    // Kernels before 4.3 have no such set.
    let _ = clear_ambient_capability_set();
    let kept = capabilities(None)?.permitted & needed;
    set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        },
    )?;
    let names: Vec<String> = kept
        .iter_names()
        .map(|(name, _)| format!("CAP_{name}"))
        .collect();
    Ok(if names.is_empty() {
        "none".to_owned()
    } else {
        names.join("+")
    })
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_thread_keeps_what_it_needs_and_the_others_keep_theirs() {
        let before = capabilities(None).expect("a thread has capabilities");
        let (names, after) = thread::spawn(|| {
            let names = keep(CapabilitySet::NET_RAW).expect("anybody may");
            (names, capabilities(None).expect("as before"))
        })
        .join()
        .expect("no panic");
        let had = before.permitted & CapabilitySet::NET_RAW;
        assert_eq!((after.permitted, after.effective), (had, had));
        assert_eq!(after.inheritable, CapabilitySet::empty());
        assert_eq!(
            names,
            if had.is_empty() {
                "none"
            } else {
                "CAP_NET_RAW"
            }
        );
        assert_eq!(capabilities(None).expect("as before"), before);
    }
}
