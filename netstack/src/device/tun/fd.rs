//! A TUN descriptor from elsewhere: its properties, asked of the kernel.
//!
//! The only requests that work on a descriptor whose interface lies in another network namespace are
//! `ioctl`s. No library wraps these without unsafe code, so the two calls are here.
//!
//! # Safety
//!
//! An `ioctl` writes through the pointer that it is given. Each call below passes a value of ours that is
//! at least as large as what the request writes, and every bit pattern of it is valid.
//!
//! # Robustness
//!
//! A descriptor that is no TUN refuses the request (`ENOTTY`, or `EBADFD` before it has an interface). A
//! driver that gave these request numbers another meaning could write no more than the length that the
//! number encodes, except for `TUNGETIFF`, which encodes 4 bytes and writes an `ifreq`: room for more than
//! twice that is provided.

#![allow(unsafe_code)]

use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::ioctl::{IntegerSetter, Opcode, Updater, ioctl, opcode};

const GROUP: u8 = b'T';
const TUNSETOFFLOAD: Opcode = opcode::write::<u32>(GROUP, 208);
const TUNGETIFF: Opcode = opcode::read::<u32>(GROUP, 210);
const TUNGETVNETHDRSZ: Opcode = opcode::read::<i32>(GROUP, 215);

/// Length of an interface name in an `ifreq`, in bytes.
const IFNAMSIZ: usize = 16;

const IFF_TUN: u16 = 0x0001;
const IFF_TAP: u16 = 0x0002;
const IFF_VNET_HDR: u16 = 0x4000;

const TUN_F_CSUM: usize = 0x01;
const TUN_F_TSO4: usize = 0x02;
const TUN_F_TSO6: usize = 0x04;
const TUN_F_USO4: usize = 0x20;
const TUN_F_USO6: usize = 0x40;

/// A TUN descriptor's properties. Whether packet information precedes the packets (`IFF_NO_PI`) is not
/// among them: `TUNGETIFF` reports another flag in that bit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Properties {
    /// Name of the interface.
    pub(super) name: String,
    /// It carries IP packets, not Ethernet frames.
    pub(super) is_tun: bool,
    /// It carries Ethernet frames.
    pub(super) is_tap: bool,
    /// Length of the virtio-net header in front of each packet, in bytes; 0 without one.
    pub(super) header_bytes: usize,
}

impl Properties {
    /// Asks the kernel.
    ///
    /// # Errors
    /// The descriptor is no TUN, or has no interface yet.
    pub(super) fn of(fd: impl AsFd) -> Result<Self, Errno> {
        // An `ifreq` has 40 bytes, or 32 where pointers have 4.
        let mut request = [0_u8; 96];
        // SAFETY: the request writes an `ifreq`, which is shorter than `request`; any bytes are valid.
        unsafe { ioctl(&fd, Updater::<TUNGETIFF, _>::new(&mut request)) }?;
        let (name, rest) = request.split_at(IFNAMSIZ);
        let flags = u16::from_ne_bytes([rest[0], rest[1]]);
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let header_bytes = if flags & IFF_VNET_HDR == 0 {
            0
        } else {
            header_bytes(&fd)?
        };
        Ok(Self {
            name: String::from_utf8_lossy(name).into_owned(),
            is_tun: flags & IFF_TUN != 0,
            is_tap: flags & IFF_TAP != 0,
            header_bytes,
        })
    }
}

fn header_bytes(fd: impl AsFd) -> Result<usize, Errno> {
    let mut bytes = 0_i32;
    // SAFETY: the request writes an `int`; any bits are a valid one.
    unsafe { ioctl(fd, Updater::<TUNGETVNETHDRSZ, _>::new(&mut bytes)) }?;
    usize::try_from(bytes).map_err(|_| Errno::INVAL)
}

/// The offloads that a device with a virtio-net header took on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Offloads {
    pub(super) uso: bool,
}

/// Lets the kernel hand over super-segments and unfinished checksums, and super-datagrams if it can.
///
/// # Errors
/// The kernel has no such offload.
pub(super) fn enable_offload(fd: impl AsFd) -> Result<Offloads, Errno> {
    let tcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
    let uso = set_offload(&fd, tcp | TUN_F_USO4 | TUN_F_USO6).is_ok();
    if !uso {
        set_offload(&fd, tcp)?;
    }
    Ok(Offloads { uso })
}

/// Makes the kernel cut and checksum what it hands over. The offloads of an earlier user stay with a
/// persistent device, also for a descriptor without a virtio-net header.
pub(super) fn disable_offload(fd: impl AsFd) -> Result<(), Errno> {
    set_offload(fd, 0)
}

fn set_offload(fd: impl AsFd, flags: usize) -> Result<(), Errno> {
    // SAFETY: the argument of the request is a number, not a pointer.
    unsafe { ioctl(fd, IntegerSetter::<TUNSETOFFLOAD>::new_usize(flags)) }
}
