//! The flags that are keys of the configuration file, too.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use ipnet::{Ipv4Net, Ipv6Net};
use netstack::device::OffloadMode;

use crate::confine::identity::Account;
use crate::confine::{Sandbox, parse_sandbox};
use crate::failure::Failure;
use crate::file::{File, Flags};
use crate::logs::{Levels, LogFormat, parse_format};
use crate::places::{ControlPath, Descriptors};
use crate::values::{
    Queues, Services, TunName, parse_ip4, parse_ip6, parse_memory, parse_mode, parse_mtu,
    parse_net4, parse_net6, parse_offload,
};
use crate::web::{parse_admin, parse_dashboard};

/// A flag for each of the keys that are set most often.
#[derive(Clone, Debug, Args)]
pub(crate) struct FileArgs {
    /// Name of the TUN interface, created if it does not exist.
    #[arg(long, value_name = "NAME")]
    tun: Option<TunName>,
    /// Descriptors of a TUN device that another program has opened, one for each queue, e.g. 3 or 3,4. The device is used as
    /// it is.
    #[arg(long, value_name = "FD,…")]
    tun_fd: Option<Descriptors>,
    /// Uses the TUN interface as it is: its MTU, addresses, routes and state stay.
    #[arg(long)]
    prepared: bool,
    /// The daemon's IPv4 address and prefix, e.g. 10.77.0.2/24.
    #[arg(long, value_name = "ADDR/PREFIX", value_parser = parse_net4)]
    addr: Option<Ipv4Net>,
    /// The daemon's IPv6 address and prefix, e.g. fd77::2/64.
    #[arg(long, value_name = "ADDR/PREFIX", value_parser = parse_net6)]
    addr6: Option<Ipv6Net>,
    /// The kernel's IPv4 address [default: the first free host address of the subnet].
    #[arg(long, value_name = "ADDR", value_parser = parse_ip4)]
    host_addr: Option<Ipv4Addr>,
    /// The kernel's IPv6 address [default: the first free host address of the subnet].
    #[arg(long, value_name = "ADDR", value_parser = parse_ip6)]
    host_addr6: Option<Ipv6Addr>,
    /// Largest IP packet on the link, in bytes [default: 1500].
    #[arg(long, value_name = "BYTES", value_parser = parse_mtu)]
    mtu: Option<u16>,
    /// Queues of the device, each with a worker thread [default: one per core].
    #[arg(long, value_name = "N")]
    queues: Option<Queues>,
    /// Segmentation and checksum offload: auto, on or off [default: auto].
    #[arg(long, value_name = "WHEN", value_parser = parse_offload)]
    offload: Option<OffloadMode>,
    /// Services, separated by commas: echo 7, discard 9, daytime 13, chargen 19, http 80, iperf3 5201 [default: all but
    /// iperf3].
    #[arg(long, value_name = "LIST")]
    services: Option<Services>,
    /// Memory for packets, in bytes, or with K, M or G: at least 1M [default: a sixteenth of the machine's,
    /// from 32M to 1G].
    #[arg(long, value_name = "BYTES", value_parser = parse_memory)]
    memory: Option<usize>,
    /// Captures every packet of the device to this file.
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Loopback address on which the dashboard and /metrics for Prometheus are served, e.g. 127.0.0.1:9100
    /// [default: nowhere].
    #[arg(long, value_name = "ADDR:PORT", value_parser = parse_admin)]
    admin: Option<SocketAddr>,
    /// Address of the daemon on which its own stack serves the same to its network, unprotected, e.g. 10.77.0.2:8080
    /// [default: nowhere].
    #[arg(long, value_name = "ADDR:PORT", value_parser = parse_dashboard)]
    dashboard: Option<SocketAddr>,
    /// Logs on stderr: off, error, warn, info, debug or trace, and the same for parts, e.g. warn,control=debug,tcp=info
    /// [default: warn].
    #[arg(long, value_name = "LEVELS")]
    log: Option<Levels>,
    /// Form of the logs: text or json [default: text].
    #[arg(long, value_name = "FORM", value_parser = parse_format)]
    log_format: Option<LogFormat>,
    /// Control socket, for netstackd ss and the like, or none [default: /run/netstackd/TUN-PID.sock; of other users than
    /// root netstackd/TUN-PID.sock in $XDG_RUNTIME_DIR].
    #[arg(long, value_name = "PATH")]
    control: Option<ControlPath>,
    /// Permissions of the control socket. Only root and the daemon's own user may do more than look [default: 0600].
    #[arg(long, value_name = "MODE", value_parser = parse_mode)]
    control_mode: Option<u32>,
    /// Directory whose files http serves [default: none, but a page of counters].
    #[arg(long, value_name = "DIR")]
    http_root: Option<PathBuf>,
    /// Lists directories without an index.html.
    #[arg(long)]
    http_listing: bool,
    /// User that the daemon becomes when it is set up, by name or number; it gives up every right but that of its job
    /// [default: the one that starts it].
    #[arg(long, value_name = "USER")]
    user: Option<Account>,
    /// Group that the daemon becomes a member of [default: that of the user].
    #[arg(long, value_name = "GROUP")]
    group: Option<Account>,
    /// Restricts the daemon to the files and system calls of its job: auto as far as the kernel can, on or not at all, or off
    /// [default: auto].
    #[arg(long, value_name = "WHEN", value_parser = parse_sandbox)]
    sandbox: Option<Sandbox>,
}

impl FileArgs {
    /// Leaves services out that are not named.
    pub(crate) fn without_services(self) -> Self {
        Self {
            services: self.services.or(Some(Services::none())),
            ..self
        }
    }

    /// Asks for a single queue.
    ///
    /// # Errors
    /// Several are asked for. The sentence says that `flag` wants one, and why.
    pub(crate) fn with_one_queue(self, flag: &str, why: &str) -> Result<Self, Failure> {
        match self.queues {
            Some(queues) if queues.get() > 1 => Err(Failure::Usage(format!(
                "--queues with {flag} cannot be more than 1: {why}"
            ))),
            _ => Ok(Self {
                queues: Queues::try_from(1).ok(),
                ..self
            }),
        }
    }

    /// Returns the values as the file would give them.
    pub(crate) fn into_file(self) -> File {
        File::from_flags(Flags {
            tun: self.tun,
            tun_fd: self.tun_fd,
            prepared: self.prepared,
            addr: self.addr,
            addr6: self.addr6,
            host_addr: self.host_addr,
            host_addr6: self.host_addr6,
            mtu: self.mtu,
            queues: self.queues,
            offload: self.offload,
            services: self.services,
            memory_bytes: self.memory,
            pcap: self.pcap,
            admin: self.admin,
            dashboard: self.dashboard,
            log: self.log,
            log_format: self.log_format,
            control: self.control,
            control_mode: self.control_mode,
            http_root: self.http_root,
            http_listing: self.http_listing,
            user: self.user,
            group: self.group,
            sandbox: self.sandbox,
        })
    }
}
