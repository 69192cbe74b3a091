//! Opens TUN devices, and translates the kernel's refusals into [`DeviceError`]s.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;

use super::super::Device;
use super::super::virtio::HEADER_BYTES;
use super::fd::{self as tun_fd, Properties};
use super::mtu::InterfaceMtu;
use super::offload::{Kind, OffloadTun};
use super::plain::PlainTun;
use super::{DeviceError, OffloadMode, TunConfig, config, link};

const TUN_PATH: &str = "/dev/net/tun";

/// Opens a TUN device and returns one [`Device`] per queue. Configures the kernel's side of it, too:
/// the MTU, a queue of 10,000 packets and the addresses, and brings the interface up. The interface
/// disappears when all of the devices are dropped, unless it existed before. Of an interface that existed
/// before, only what differs from the configuration is changed, and nothing is taken away; with
/// [`TunConfig::prepared`] nothing is changed. The stack follows an MTU of the interface that an administrator changes
/// later, within a tenth of a second.
///
/// Works in the network namespace of the calling thread. IPv6 addresses are usable at once (no
/// duplicate address detection). Returns the plain device for one queue with [`OffloadMode::Off`], and
/// with [`OffloadMode::Auto`] if the kernel has no offload.
///
/// ```no_run
/// use netstack::device::{OffloadMode, TunConfig, open};
///
/// let mut config = TunConfig::new("t0");
/// config.host_v4 = Some(("10.77.0.1".parse()?, 24));
/// config.host_v6 = Some(("fd77::1".parse()?, 64));
/// config.queues = 4;
/// config.offload = OffloadMode::Auto;
/// let devices = open(&config)?;
/// assert_eq!(devices.len(), 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A [`DeviceError`]; the system is then as it was.
pub fn open(config: &TunConfig) -> Result<Vec<Box<dyn Device>>, DeviceError> {
    config.validate()?;
    check_tun()?;
    let existing = link::find(config)?;
    let adopted;
    let config = match (&existing, config.prepared) {
        (None, true) => {
            return Err(DeviceError::NotPrepared {
                name: config.name.clone(),
            });
        }
        (Some(found), true) => {
            adopted = TunConfig {
                mtu: found.mtu,
                ..config.clone()
            };
            &adopted
        }
        (_, false) => config,
    };
    let multi_queue = match &existing {
        Some(found) => found.multi_queue,
        None => config.queues > 1,
    };
    let mtu = Arc::new(InterfaceMtu::new(config.mtu));
    let devices = match config.offload {
        OffloadMode::On => open_offloading(config, &mtu, multi_queue)?,
        OffloadMode::Auto => match open_offloading(config, &mtu, multi_queue) {
            Err(DeviceError::NoOffload { .. }) => open_bare(config, &mtu, multi_queue)?,
            devices => devices?,
        },
        OffloadMode::Off => open_bare(config, &mtu, multi_queue)?,
    };
    if !config.prepared {
        link::set_up(config, existing.is_some())?;
    }
    if let Err(error) = mtu.follow(&config.name) {
        tracing::warn!(interface = config.name, %error, "changes of the MTU will not be noticed");
    }
    Ok(devices)
}

/// Takes over descriptors of a TUN device, one for each queue, and returns one [`Device`] for each. The
/// device may belong to another network namespace, so `mtu`, that of the interface in bytes, is not read again.
///
/// The kernel is asked whether a virtio-net header precedes the packets; if so, offload is switched on, else
/// off. Nothing else of the interface is touched. The device must have been created with `IFF_NO_PI`, which the
/// kernel does not tell: of any other each packet would be dropped as
/// [`IpVersion`](crate::base::DropReason::IpTooShortOrVersion).
///
/// ```no_run
/// # fn example(descriptor: std::os::fd::OwnedFd) -> Result<(), netstack::device::DeviceError> {
/// let devices = netstack::device::from_fds(vec![descriptor], 1500)?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`DeviceError::Descriptor`]: one is not a queue of a TUN device, the descriptors belong to different interfaces, or the MTU is below 68.
pub fn from_fds(fds: Vec<OwnedFd>, mtu: u16) -> Result<Vec<Box<dyn Device>>, DeviceError> {
    let interface_mtu = Arc::new(InterfaceMtu::new(mtu));
    let mut first: Option<Properties> = None;
    let mut devices = Vec::with_capacity(fds.len());
    for fd in fds {
        let number = fd.as_raw_fd();
        let unusable = |why: String| DeviceError::Descriptor { fd: number, why };
        let properties = Properties::of(&fd).map_err(|errno| unusable(not_a_tun(errno)))?;
        check_descriptor(&properties, first.as_ref(), mtu).map_err(unusable)?;
        let offload = properties.header_bytes > 0;
        let uso = if offload {
            tun_fd::enable_offload(&fd).map(|offloads| offloads.uso)
        } else {
            tun_fd::disable_offload(&fd).map(|()| false)
        };
        let uso = uso.map_err(|errno| unusable(format!("its offloads cannot be set ({errno})")))?;
        let kind = Kind {
            mtu: Arc::clone(&interface_mtu),
            offload,
            uso,
        };
        let device = OffloadTun::new(fd, kind).map_err(|error| unusable(error.to_string()))?;
        devices.push(device);
        first.get_or_insert(properties);
    }
    Ok(boxed(devices))
}

fn not_a_tun(errno: Errno) -> String {
    match errno {
        Errno::BADFD => "it has no interface yet: attach it to one first (TUNSETIFF)".to_owned(),
        Errno::NOTTY | Errno::INVAL => "it is not of /dev/net/tun".to_owned(),
        errno => format!("the kernel does not describe it ({errno})"),
    }
}

fn check_descriptor(
    properties: &Properties,
    first: Option<&Properties>,
    mtu: u16,
) -> Result<(), String> {
    let name = &properties.name;
    if properties.is_tap || !properties.is_tun {
        return Err(format!(
            "{name} is a TAP device, which carries Ethernet frames: create a TUN device (IFF_TUN)"
        ));
    }
    if !matches!(properties.header_bytes, 0 | HEADER_BYTES) {
        return Err(format!(
            "the virtio-net header of {name} has {} bytes: set it to {HEADER_BYTES} (TUNSETVNETHDRSZ)",
            properties.header_bytes
        ));
    }
    if mtu < config::MTU_MIN_V4 {
        return Err(format!(
            "an MTU of {mtu} cannot carry IPv4: give that of {name}, at least {}",
            config::MTU_MIN_V4
        ));
    }
    match first {
        Some(first) if first != properties => Err(format!(
            "it is a queue of {name} and an earlier one is of {}: give the queues of one device",
            first.name
        )),
        _ => Ok(()),
    }
}

fn open_offloading(
    config: &TunConfig,
    mtu: &Arc<InterfaceMtu>,
    multi_queue: bool,
) -> Result<Vec<Box<dyn Device>>, DeviceError> {
    let devices = OffloadTun::create(config, mtu, true, multi_queue).map_err(|source| {
        match Errno::from_io_error(&source) {
            Some(Errno::INVAL) => DeviceError::NoOffload {
                name: config.name.clone(),
                source,
            },
            _ => refused(config, source),
        }
    })?;
    Ok(boxed(devices))
}

fn open_bare(
    config: &TunConfig,
    mtu: &Arc<InterfaceMtu>,
    multi_queue: bool,
) -> Result<Vec<Box<dyn Device>>, DeviceError> {
    if multi_queue {
        let devices = OffloadTun::create(config, mtu, false, true);
        return devices.map(boxed).map_err(|source| refused(config, source));
    }
    let device =
        PlainTun::create(config, Arc::clone(mtu)).map_err(|source| refused(config, source))?;
    Ok(boxed(vec![device]))
}

fn boxed<D: Device>(devices: Vec<D>) -> Vec<Box<dyn Device>> {
    devices
        .into_iter()
        .map(|device| Box::new(device) as Box<dyn Device>)
        .collect()
}

/// Checks that `/dev/net/tun` exists and may be opened.
fn check_tun() -> Result<(), DeviceError> {
    match OpenOptions::new().read(true).write(true).open(TUN_PATH) {
        Ok(_) => Ok(()),
        Err(source) => Err(match source.kind() {
            io::ErrorKind::PermissionDenied => DeviceError::TunNotAccessible { source },
            _ => DeviceError::NoTun { source },
        }),
    }
}

/// Converts the kernel's refusal to create the device.
fn refused(config: &TunConfig, source: io::Error) -> DeviceError {
    let name = config.name.clone();
    match Errno::from_io_error(&source) {
        Some(Errno::PERM) => DeviceError::NotPermitted {
            name,
            action: "created",
        },
        Some(Errno::BUSY) => DeviceError::Busy { name },
        Some(Errno::TOOBIG | Errno::NFILE) => DeviceError::Queues {
            name,
            queues: config.queues,
            why: "the kernel refuses that many",
            min: 1,
            max: config.queues.saturating_sub(1).max(1),
        },
        _ => DeviceError::Os {
            name,
            action: "created",
            source,
        },
    }
}
