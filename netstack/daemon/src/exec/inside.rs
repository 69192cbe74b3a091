//! The process that enters the namespaces, makes the device, and becomes the command.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use clap::Args;
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid};
use rustix::process::{Signal, set_parent_process_death_signal};
use tun_rs::DeviceBuilder;

use super::{hand_over, network, resolver};
use crate::failure::Failure;
use crate::file::reason;
use crate::namespace;

/// The name of this hidden command.
pub(super) const NAME: &str = "exec-inside";
/// Exit codes of shells.
const CANNOT_RUN: i32 = 126;
const NOT_FOUND: i32 = 127;

/// Flags of the second process.
#[derive(Debug, Args)]
pub struct InsideArgs {
    #[arg(long)]
    socket: String,
    #[arg(long)]
    mtu: u16,
    #[arg(long)]
    no_ipv6: bool,
    #[arg(long)]
    map_root: bool,
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Enters the namespaces, hands the device over, and becomes the command. Returns only if that fails.
pub(crate) fn run(args: InsideArgs) -> Result<(), Failure> {
    // Whatever ends the program outside ends the command: it would have no network.
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| Failure::Stack(format!("cannot watch the parent process: {error}")))?;
    let mut outside = hand_over::connect(&args.socket).map_err(|error| {
        Failure::Stack(format!(
            "this command is for netstackd exec only ({}): use netstackd exec",
            reason(&error)
        ))
    })?;
    enter(args.map_root)?;
    let fd = open(args.mtu)?;
    network::set_up(!args.no_ipv6)?;
    resolver::replace()?;
    hand_over::send(&outside, &fd)
        .map_err(|error| Failure::Stack(format!("the device cannot be handed over: {error}")))?;
    drop(fd);
    if !hand_over::wait_for_go(&mut outside) {
        // The program outside says why.
        std::process::exit(CANNOT_RUN);
    }
    drop(outside);
    let (program, words) = args
        .command
        .split_first()
        .ok_or_else(|| Failure::Usage("no command is given: write it behind --".to_owned()))?;
    let error = Command::new(program).args(words).exec();
    let shown = program.display();
    eprintln!(
        "netstackd: {shown} cannot be run: {}: name a program behind --",
        reason(&error)
    );
    std::process::exit(if error.kind() == io::ErrorKind::NotFound {
        NOT_FOUND
    } else {
        CANNOT_RUN
    });
}

/// Enters a network and a mount namespace. Whoever is not root needs a user namespace for that, in which it stays who it is.
fn enter(map_root: bool) -> Result<(), Failure> {
    let (uid, gid) = (Uid::effective(), Gid::effective());
    let spaces = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    if uid.is_root() && unshare(spaces).is_ok() {
        return resolver::keep_mounts_here();
    }
    unshare(spaces | CloneFlags::CLONE_NEWUSER).map_err(namespace::forbidden)?;
    let (inner_uid, inner_gid) = if map_root {
        (Uid::from_raw(0), Gid::from_raw(0))
    } else {
        (uid, gid)
    };
    for (file, text) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("{inner_uid} {uid} 1")),
        ("gid_map", format!("{inner_gid} {gid} 1")),
    ] {
        fs::write(format!("/proc/self/{file}"), text).map_err(|error| {
            namespace::forbidden(Errno::from_raw(error.raw_os_error().unwrap_or_default()))
        })?;
    }
    resolver::keep_mounts_here()
}

fn open(mtu: u16) -> Result<OwnedFd, Failure> {
    DeviceBuilder::new()
        .name(network::DEVICE)
        .offload(true)
        .mtu(mtu)
        .build_sync()
        .and_then(|device| device.as_fd().try_clone_to_owned())
        .map_err(|error| {
            let why = reason(&error);
            let advice = match error.kind() {
                io::ErrorKind::NotFound => "load the kernel's tun module (modprobe tun)",
                io::ErrorKind::PermissionDenied => {
                    "make /dev/net/tun accessible to everybody (chmod 666 /dev/net/tun)"
                }
                _ => "look whether /dev/net/tun is there",
            };
            Failure::Device(format!("the TUN device cannot be made: {why}: {advice}"))
        })
}
