//! Groups over a TUN device, with the kernel as the querier, as a sender and as a member.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as KernelSocket};
use std::time::Duration;

use netstack::device::{TunConfig, open};
use netstack::net::{Stack, UdpSocket};
use netstack::{Counter, DropReason};
use netstackd::probe::now;
use pnet_datalink::{Channel, Config, DataLinkReceiver, DataLinkSender};
use socket2::{Domain, Protocol, Socket, Type};
use tests::world::{TUN, in_namespace, ip};

use super::{
    GROUP_V4, GROUP_V6, IS_EX, Record, SourceRecord, TO_EX, TO_IN, igmp_query, mld_query, records,
    source_records,
};

pub(super) const HOST_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
pub(super) const OURS_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const OURS_LINK: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
const HOST_LINK: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const LIMIT: Duration = Duration::from_secs(20);
pub(super) const PORT: u16 = 5_000;

/// A packet socket on the TUN device, which sees the reports of the stack.
pub(super) struct Wire {
    sender: Box<dyn DataLinkSender>,
    receiver: Box<dyn DataLinkReceiver>,
}

impl Wire {
    pub(super) fn open() -> Self {
        let interfaces = pnet_datalink::interfaces();
        let tun = interfaces.iter().find(|link| link.name == TUN);
        let config = Config {
            read_timeout: Some(Duration::from_millis(100)),
            ..Config::default()
        };
        match pnet_datalink::channel(tun.expect("the device"), config) {
            Ok(Channel::Ethernet(sender, receiver)) => Self { sender, receiver },
            _ => panic!("no packet socket on {TUN}"),
        }
    }

    /// Waits for a report of the stack with exactly this record.
    fn expect(&mut self, record: Record) {
        self.wait(&format!("{record:?}"), |packet| {
            let is_ours = match packet.first().map(|byte| byte >> 4) {
                Some(4) => packet.get(12..16) == Some(&OURS_V4.octets()[..]),
                Some(6) => packet.get(8..24) == Some(&OURS_LINK.octets()[..]),
                _ => false,
            };
            is_ours && records(packet) == Some(vec![record])
        });
    }

    /// Waits until `is_it` returns true for the sender and the records of a report over IPv4.
    pub(super) fn wait_for(
        &mut self,
        what: &str,
        mut is_it: impl FnMut(Ipv4Addr, &[SourceRecord]) -> bool,
    ) {
        self.wait(what, |packet| {
            let from = packet.get(12..16).and_then(|bytes| bytes.try_into().ok());
            let from = from.map(|octets: [u8; 4]| Ipv4Addr::from(octets));
            let is_v4 = packet.first().is_some_and(|byte| byte >> 4 == 4);
            let found = from.filter(|_| is_v4).zip(source_records(packet));
            found.is_some_and(|(from, records)| is_it(from, &records))
        });
    }

    fn wait(&mut self, what: &str, mut is_it: impl FnMut(&[u8]) -> bool) {
        let deadline = now() + LIMIT;
        while now() < deadline {
            if self.receiver.next().is_ok_and(&mut is_it) {
                return;
            }
        }
        panic!("no report {what}");
    }
}

pub(super) fn start() -> Stack {
    let mut config = TunConfig::new(TUN);
    config.host_v4 = Some((HOST_V4, 24));
    config.host_v6 = Some(("fd77::1".parse().expect("an address"), 64));
    let stack = Stack::builder()
        .address(OURS_V4.into(), 24)
        .address("fd77::2".parse().expect("an address"), 64)
        .address(OURS_LINK.into(), 64);
    let stack = stack
        .start(open(&config).expect("a device"))
        .expect("a stack");
    ip(&format!("route add 224.0.0.0/4 dev {TUN}"));
    stack
}

/// Sends an IPv4 packet as it is, by a raw socket of the kernel.
pub(super) fn send_raw(packet: &[u8], to: Ipv4Addr) {
    let raw = Protocol::from(255);
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(raw)).expect("a raw socket");
    socket.set_header_included_v4(true).expect("whole packets");
    socket.set_multicast_if_v4(&HOST_V4).expect("the interface");
    socket
        .send_to(packet, &SocketAddr::from((to, 0)).into())
        .expect("sent");
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let within = async { tokio::time::timeout(LIMIT, future).await };
    runtime
        .expect("a runtime")
        .block_on(within)
        .expect("in time")
}

#[test]
fn igmp_with_the_kernel_over_a_tun() {
    in_namespace(|| {
        let stack = start();
        let mut wire = Wire::open();
        let member = block_on(UdpSocket::bind(&stack, ("0.0.0.0", PORT))).expect("bound");
        member.join_multicast_v4(GROUP_V4, OURS_V4).expect("joined");
        let group = IpAddr::V4(GROUP_V4);
        wire.expect((TO_EX, group, 0));
        send_raw(&igmp_query(HOST_V4, None, 10), Ipv4Addr::new(224, 0, 0, 1));
        wire.expect((IS_EX, group, 0));
        send_raw(&igmp_query(HOST_V4, Some(GROUP_V4), 5), GROUP_V4);
        wire.expect((IS_EX, group, 0));
        assert_eq!(stack.counters().count(Counter::GroupQueries), 2);

        // The kernel's host sends to the group, and to another one before.
        let sender = KernelSocket::bind((HOST_V4, 0)).expect("a socket");
        sender.set_multicast_loop_v4(false).expect("set");
        sender.send_to(b"other", ("239.1.2.4", PORT)).expect("sent");
        sender
            .send_to(b"closed", (GROUP_V4, PORT + 1))
            .expect("sent");
        sender.send_to(b"hello", (GROUP_V4, PORT)).expect("sent");
        let mut buffer = [0; 16];
        let (len, from) = block_on(member.recv_from(&mut buffer)).expect("a datagram");
        assert_eq!(&buffer[..len], b"hello");
        assert_eq!(from, sender.local_addr().expect("an address"));
        let counters = stack.counters();
        assert_eq!(counters.dropped(DropReason::UdpNotJoined), 1);
        assert!(counters.dropped(DropReason::IpDestinationNotOurs) >= 1);
        assert_eq!(counters.count(Counter::IcmpErrorsSent), 0);

        // The stack sends, and the kernel's member receives.
        let kernel = KernelSocket::bind(("0.0.0.0", PORT + 2)).expect("a socket");
        kernel.set_read_timeout(Some(LIMIT)).expect("a limit");
        kernel
            .join_multicast_v4(&GROUP_V4, &HOST_V4)
            .expect("joined");
        block_on(member.send_to(b"to all", (IpAddr::V4(GROUP_V4), PORT + 2))).expect("sent");
        let (len, from) = kernel.recv_from(&mut buffer).expect("a datagram");
        assert_eq!(&buffer[..len], b"to all");
        assert_eq!(from, SocketAddr::from((OURS_V4, PORT)));

        drop(member);
        wire.expect((TO_IN, group, 0));
    });
}

#[test]
fn mld_with_the_kernel_over_a_tun() {
    in_namespace(|| {
        let stack = start();
        let mut wire = Wire::open();
        let member = block_on(UdpSocket::bind(&stack, ("::", PORT))).expect("bound");
        member.join_multicast_v6(&GROUP_V6, 0).expect("joined");
        let group = IpAddr::V6(GROUP_V6);
        wire.expect((TO_EX, group, 0));
        let query = mld_query(HOST_LINK, 1_000);
        wire.sender
            .send_to(&query, None)
            .expect("a result")
            .expect("sent");
        wire.expect((IS_EX, group, 0));

        let sender = Socket::new(Domain::IPV6, Type::DGRAM, None).expect("a socket");
        let index = pnet_datalink::interfaces();
        let index = index
            .iter()
            .find(|link| link.name == TUN)
            .expect("the device")
            .index;
        sender.set_multicast_if_v6(index).expect("the interface");
        let to = SocketAddr::from((GROUP_V6, PORT));
        sender.send_to(b"hello", &to.into()).expect("sent");
        let mut buffer = [0; 16];
        let (len, _) = block_on(member.recv_from(&mut buffer)).expect("a datagram");
        assert_eq!(&buffer[..len], b"hello");

        member.leave_multicast_v6(&GROUP_V6, 0).expect("left");
        wire.expect((TO_IN, group, 0));
    });
}
