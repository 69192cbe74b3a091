//! A network namespace with one TUN device in it, and the rights that this takes.
//!
//! A test needs
//!
//! * `/dev/net/tun`, readable and writable (most systems give it to everybody), and
//! * `CAP_SYS_ADMIN` and `CAP_NET_ADMIN` in a user namespace of any kind, to make network and mount
//!   namespaces: either as root, or without root as the root of a user namespace:
//!
//! ```text
//! unshare --user --map-root-user --net cargo test -p netstack --test device_tun
//! ```
//!
//! The tests cannot make the user namespace themselves: the kernel gives one to a process with a
//! single thread only. A test that lacks a right fails and says which; none is skipped.

use std::fs::OpenOptions;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use netstack::base::{Counters, Instant};
use netstack::device::{Device, OffloadMode, TunConfig, open};
use nix::sched::{CloneFlags, unshare};
use packet::Buffers;
use packet::frame::{RxPacket, TxPacket};

pub(crate) const HOST_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 99, 0, 1));
pub(crate) const OURS_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 99, 0, 2));
pub(crate) const HOST_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 1));
pub(crate) const OURS_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 2));
/// (the kernel's address, ours), both families.
pub(crate) const PAIRS: [(IpAddr, IpAddr); 2] = [(HOST_V4, OURS_V4), (HOST_V6, OURS_V6)];

/// Longest wait for the kernel.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const TUN_PATH: &str = "/dev/net/tun";

/// The remedy for a missing right.
const HOW_TO_RUN: &str = "run as root, or with access to /dev/net/tun under \
     `unshare --user --map-root-user --net`";

/// Runs `test` on a thread of its own, in a network namespace of its own.
///
/// # Panics
/// When a right is missing that the module's header lists, and when the test does.
pub(crate) fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let result = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap_or_else(|error| {
            panic!("a new network namespace ({error}) needs CAP_SYS_ADMIN: {HOW_TO_RUN}")
        });
        let tun = OpenOptions::new().read(true).write(true).open(TUN_PATH);
        tun.unwrap_or_else(|error| {
            panic!("{TUN_PATH} cannot be opened ({error}): {HOW_TO_RUN}");
        });
        test();
    })
    .join();
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

/// Returns a configuration with the addresses above and MTU 1500.
pub(crate) fn config(offload: OffloadMode, queues: usize) -> TunConfig {
    let mut config = TunConfig::new("t0");
    config.offload = offload;
    config.queues = queues;
    if let (IpAddr::V4(v4), IpAddr::V6(v6)) = (HOST_V4, HOST_V6) {
        config.host_v4 = Some((v4, 24));
        config.host_v6 = Some((v6, 64));
    }
    config
}

/// Returns a configuration for each kind of TUN device.
pub(crate) fn kinds() -> [TunConfig; 3] {
    [
        config(OffloadMode::On, 1),
        config(OffloadMode::Off, 1),
        config(OffloadMode::Off, 2),
    ]
}

/// A change to the interface that does not come from the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Meddling {
    Down,
    Up,
    Mtu(u32),
    Delete,
}

/// Changes the interface over netlink, as an administrator would.
pub(crate) fn meddle(name: &str, what: Meddling) {
    let mut link = LinkMessage::default();
    link.attributes.push(LinkAttribute::IfName(name.to_owned()));
    let message = match what {
        Meddling::Down | Meddling::Up => {
            link.header.change_mask = LinkFlags::Up;
            link.header.flags.set(LinkFlags::Up, what == Meddling::Up);
            RouteNetlinkMessage::SetLink(link)
        }
        Meddling::Mtu(bytes) => {
            link.attributes.push(LinkAttribute::Mtu(bytes));
            RouteNetlinkMessage::SetLink(link)
        }
        Meddling::Delete => RouteNetlinkMessage::DelLink(link),
    };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_ACK;
    let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    let socket = Socket::new(NETLINK_ROUTE).expect("netlink");
    socket
        .send_to(&bytes, &SocketAddr::new(0, 0), 0)
        .expect("request");
    let (answer, _) = socket.recv_from_full().expect("answer");
    let answer =
        NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).expect("well-formed answer");
    match answer.payload {
        NetlinkPayload::Error(error) => assert_eq!(error.code, None, "{what:?}"),
        other => panic!("{other:?}"),
    }
}

/// A device's queues, with the buffers and counters that a stack would provide.
pub(crate) struct Tun {
    pub(crate) devices: Vec<Box<dyn Device>>,
    pub(crate) buffers: Buffers,
    pub(crate) counters: Counters,
}

impl Tun {
    pub(crate) fn open(config: &TunConfig) -> Self {
        let devices = open(config).expect("a TUN device");
        let buffers = Buffers::new(devices[0].caps().slab_bytes(), 64, 1024);
        Self {
            devices,
            buffers,
            counters: Counters::new(),
        }
    }

    pub(crate) fn send(&mut self, packet: TxPacket) {
        self.devices[0]
            .send_batch(&mut vec![packet], &self.counters)
            .expect("send");
    }

    /// Receives once from each queue, without waiting.
    pub(crate) fn poll(&mut self) -> Vec<RxPacket> {
        let mut out = Vec::new();
        for device in &mut self.devices {
            // A call may take one packet of several: the next one takes the rest.
            for _ in 0..2 {
                device
                    .recv_batch(
                        &mut out,
                        64,
                        &self.buffers,
                        Instant::from_nanos(77),
                        &self.counters,
                    )
                    .expect("receive");
            }
        }
        out
    }

    /// Waits for a packet for which `wanted` returns `Some`, on any queue, and returns that. Skips
    /// others, such as the kernel's router solicitations and multicast reports.
    pub(crate) fn wait<T>(&mut self, mut wanted: impl FnMut(&RxPacket) -> Option<T>) -> T {
        let step = Duration::from_millis(10);
        let mut waited = Duration::ZERO;
        let mut seen = Vec::new();
        while waited < PATIENCE {
            for packet in self.poll() {
                if let Some(answer) = wanted(&packet) {
                    return answer;
                }
                seen.push(packet);
            }
            let turns = self.devices.len() as u32;
            for device in &mut self.devices {
                device.park(Some(step / turns)).expect("park");
            }
            waited += step;
        }
        panic!("the packet did not come; these did: {seen:?}");
    }
}
