//! Opens the TUN device, and says what is wrong where it cannot.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use netstack::device::observe::observe;
use netstack::device::{self, Device, DeviceError, TunConfig};
use rustix::io::Errno;

use crate::control::capture::Captures;
use crate::failure::Failure;
use crate::file::reason;
use crate::places::{ControlPath, Descriptors};
use crate::settings::Settings;
use crate::supervisor::passed;

/// The queues of a device, and a second descriptor of each for a process that will take over, if each has one.
pub(crate) type Queues = (Vec<Box<dyn Device>>, Vec<OwnedFd>);

/// Opens the device and returns its queues, which `captures` sees. `taken`: descriptors from the daemon that is taken over, and
/// the MTU of the interface.
///
/// # Errors
/// Returns what the kernel refuses, in the user's words.
pub(crate) fn open(
    settings: &Settings,
    captures: &Arc<Captures>,
    taken: Option<(Vec<OwnedFd>, u16)>,
) -> Result<Queues, Failure> {
    let devices = match taken {
        Some((fds, mtu)) => device::from_fds(fds, mtu).map_err(|error| {
            Failure::Device(format!("the device cannot be taken over: {error}"))
        })?,
        None => open_own(settings)?,
    };
    let wants_control = settings.control != ControlPath::Off;
    let copies = devices.iter().map(|device| device.descriptor()?.ok());
    let copies = wants_control.then(|| copies.collect::<Option<Vec<_>>>());
    let see = |device| Box::new(observe(device, Arc::clone(captures) as _)) as Box<dyn Device>;
    let copies = copies.flatten().unwrap_or_default();
    Ok((devices.into_iter().map(see).collect(), copies))
}

fn open_own(settings: &Settings) -> Result<Vec<Box<dyn Device>>, Failure> {
    let mut config = TunConfig::new(settings.tun.to_string());
    config.mtu = settings.mtu;
    config.queues = settings.queues.get();
    config.offload = settings.offload;
    config.prepared = settings.prepared;
    // Without a subnet, the kernel needs a route to the stack's address.
    if let Some(link) = settings.v4.filter(|_| !settings.prepared) {
        let (ours, prefix) = (link.ours.addr(), link.ours.prefix_len());
        config.host_v4 = Some((link.host, prefix));
        config.peer_v4 = (prefix == 32).then_some(ours);
    }
    if let Some(link) = settings.v6.filter(|_| !settings.prepared) {
        let (ours, prefix) = (link.ours.addr(), link.ours.prefix_len());
        config.host_v6 = Some((link.host, prefix));
        config.peer_v6 = (prefix == 128).then_some(ours);
    }
    match &settings.tun_fd {
        Some(fds) => inherited(fds, settings),
        None => device::open(&config).map_err(|error| device_failure(error, settings)),
    }
}

/// Takes over the descriptors of a device that another program has opened.
fn inherited(fds: &Descriptors, settings: &Settings) -> Result<Vec<Box<dyn Device>>, Failure> {
    let wrong = |fd: i32, why: &str| {
        let text = format!("{fd} cannot be used: {why}: pass an open queue of a TUN device");
        settings.sources.fault("tun-fd", &text)
    };
    let duplicate = |&fd: &i32| passed::copy(fd).map_err(|why| wrong(fd, &why));
    let copies = fds.0.iter().map(duplicate).collect::<Result<Vec<_>, _>>()?;
    device::from_fds(copies, settings.mtu).map_err(|error| {
        let why = error.to_string();
        let why = why.split_once(": ").map_or(why.as_str(), |(_, why)| why);
        wrong(fds.0.first().copied().unwrap_or_default(), why)
    })
}

fn device_failure(error: DeviceError, settings: &Settings) -> Failure {
    let text = error.to_string();
    match error {
        DeviceError::NoTun { source } | DeviceError::Os { source, .. }
            if is_out_of_files(&source) =>
        {
            Failure::Device(format!(
                "TUN device {} cannot be opened ({}): raise the limit of open files (ulimit -n), or use \
                 fewer queues than {} (--queues)",
                settings.tun,
                reason(&source),
                settings.queues.get()
            ))
        }
        DeviceError::Ipv6Off { name } => Failure::Device(format!(
            "IPv6 is switched off on TUN device {name}: set net.ipv6.conf.default.disable_ipv6 to 0 in \
             this network namespace, or leave out --addr6 (addr6 in the configuration file)"
        )),
        DeviceError::TunNotAccessible { .. } | DeviceError::NotPermitted { .. } => {
            Failure::Privilege(text)
        }
        DeviceError::Busy { .. }
        | DeviceError::NotATun { .. }
        | DeviceError::Mismatch { .. }
        | DeviceError::AddressInUse { .. } => Failure::InUse(text),
        DeviceError::BadName { .. }
        | DeviceError::BadAddress { .. }
        | DeviceError::Queues { .. }
        | DeviceError::Mtu { .. } => Failure::Usage(text),
        _ => Failure::Device(text),
    }
}

/// Returns whether the process or the system has no file descriptors left.
fn is_out_of_files(error: &std::io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE)
    )
}
