//! A network namespace with one TUN device in it.

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

/// How long the kernel is given for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Runs `test` on a thread of its own, in a network namespace of its own.
pub(crate) fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let result = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET)
            .expect("a network namespace of one's own: run the tests as root");
        test();
    })
    .join();
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

/// Addresses as above, MTU 1500.
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

/// The three kinds of TUN device.
pub(crate) fn kinds() -> [TunConfig; 3] {
    [
        config(OffloadMode::On, 1),
        config(OffloadMode::Off, 1),
        config(OffloadMode::Off, 2),
    ]
}

/// What happens to the interface behind the device's back.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Meddling {
    Down,
    Up,
    Delete,
}

/// Does it, as an administrator would.
pub(crate) fn meddle(name: &str, what: Meddling) {
    let mut link = LinkMessage::default();
    link.attributes.push(LinkAttribute::IfName(name.to_owned()));
    link.header.change_mask = LinkFlags::Up;
    let message = match what {
        Meddling::Down => RouteNetlinkMessage::SetLink(link),
        Meddling::Up => {
            link.header.flags = LinkFlags::Up;
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

/// A device's queues with what a stack would bring along.
pub(crate) struct Tun {
    pub(crate) devices: Vec<Box<dyn Device>>,
    pub(crate) buffers: Buffers,
    pub(crate) counters: Counters,
}

impl Tun {
    pub(crate) fn open(config: &TunConfig) -> Self {
        let devices = open(config).expect("a TUN device: run the tests as root, with /dev/net/tun");
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

    /// One look at each queue.
    pub(crate) fn poll(&mut self) -> Vec<RxPacket> {
        let mut out = Vec::new();
        for device in &mut self.devices {
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
        out
    }

    /// The next packet for which `wanted` gives an answer, whatever queue it comes from; others (the
    /// kernel's router solicitations and multicast reports) are passed over.
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
