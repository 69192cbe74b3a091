//! Opens TUN devices, and translates the kernel's refusals into [`DeviceError`]s.

use std::fs::OpenOptions;
use std::io;

use rustix::io::Errno;

use super::tun_offload::OffloadTun;
use super::tun_plain::PlainTun;
use super::{Device, DeviceError, OffloadMode, TunConfig, link};

const TUN_PATH: &str = "/dev/net/tun";

/// Opens a TUN device and returns one [`Device`] per queue. Configures the kernel's side of it, too:
/// the MTU, a queue of 10,000 packets and the addresses, and brings the interface up. The interface
/// disappears when all of the devices are dropped, unless it existed before.
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
    let devices = match config.offload {
        OffloadMode::On => open_offloading(config)?,
        OffloadMode::Auto => match open_offloading(config) {
            Err(DeviceError::NoOffload { .. }) => open_bare(config)?,
            devices => devices?,
        },
        OffloadMode::Off => open_bare(config)?,
    };
    link::set_up(config)?;
    Ok(devices)
}

fn open_offloading(config: &TunConfig) -> Result<Vec<Box<dyn Device>>, DeviceError> {
    let multi_queue = link::check_free(config)?;
    let devices =
        OffloadTun::create(config, true, multi_queue).map_err(
            |source| match Errno::from_io_error(&source) {
                Some(Errno::INVAL) => DeviceError::NoOffload {
                    name: config.name.clone(),
                    source,
                },
                _ => refused(config, source),
            },
        )?;
    Ok(boxed(devices))
}

fn open_bare(config: &TunConfig) -> Result<Vec<Box<dyn Device>>, DeviceError> {
    if link::check_free(config)? {
        let devices = OffloadTun::create(config, false, true);
        return devices.map(boxed).map_err(|source| refused(config, source));
    }
    let device = PlainTun::create(config).map_err(|source| refused(config, source))?;
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
