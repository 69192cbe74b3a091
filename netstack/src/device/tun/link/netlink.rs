//! Netlink requests about links and addresses. Each waits for its answer before the next is sent.

use std::io;
use std::net::{IpAddr, Ipv6Addr};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload, Nla as _,
};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage,
};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoTun, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::io::Errno;

/// Attributes of a TUN link (`IFLA_TUN_*`), which the library does not parse.
const TUN_TYPE: u16 = 3;
/// The value of `TUN_TYPE` for a TAP device.
const TYPE_TAP: u8 = 2;
const TUN_PERSIST: u16 = 6;
const TUN_MULTI_QUEUE: u16 = 7;
const TUN_NUM_QUEUES: u16 = 8;

/// An interface as the kernel describes it.
pub(super) struct Link {
    pub(super) index: u32,
    /// `None` for a physical or built-in interface, which has no kind.
    pub(super) kind: Option<InfoKind>,
    /// True for a device of the TUN driver that carries Ethernet frames.
    pub(super) tap: bool,
    /// True if a program has the device open, as far as the kernel shows.
    pub(super) busy: bool,
    /// True for a TUN device with multiple queues.
    pub(super) multi_queue: bool,
    /// Packets that the kernel dropped because the device's queue was full.
    pub(super) tx_dropped: u64,
    /// MTU in bytes.
    pub(super) mtu: u32,
    /// True if the interface is up.
    pub(super) up: bool,
}

/// A route as the kernel describes it.
#[derive(Default)]
pub(super) struct Route {
    /// The kernel accepts the packets as its own.
    pub(super) is_local: bool,
    /// The interface that it leads to.
    pub(super) index: Option<u32>,
}

/// A netlink socket in the calling thread's network namespace.
pub(super) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Sends one request and passes each answer to `each`, until the kernel acknowledges the request.
    fn request(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        mut each: impl FnMut(RouteNetlinkMessage),
    ) -> io::Result<()> {
        self.sequence += 1;
        self.socket
            .send(&request_bytes(message, flags, self.sequence), 0)?;
        let dump = flags & NLM_F_DUMP == NLM_F_DUMP;
        loop {
            let (answer, _) = self.socket.recv_from_full()?;
            for message in messages(&answer) {
                let message = message?;
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::Error(error) => {
                        return match error.code {
                            None => Ok(()),
                            Some(code) => {
                                Err(io::Error::from_raw_os_error(code.get().saturating_abs()))
                            }
                        };
                    }
                    NetlinkPayload::Done(_) if dump => return Ok(()),
                    NetlinkPayload::InnerMessage(inner) => {
                        each(inner);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Returns the interface of that name, if it exists.
    pub(super) fn link(&mut self, name: &str) -> io::Result<Option<Link>> {
        let mut message = LinkMessage::default();
        message
            .attributes
            .push(LinkAttribute::IfName(name.to_owned()));
        let mut found = None;
        let asked = self.request(RouteNetlinkMessage::GetLink(message), NLM_F_ACK, |answer| {
            if let RouteNetlinkMessage::NewLink(link) = answer {
                found = Some(describe(&link));
            }
        });
        match asked {
            Ok(()) => Ok(found),
            Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets MTU and queue length; `None` leaves the queue length as it is.
    pub(super) fn set_limits(
        &mut self,
        index: u32,
        mtu: u16,
        queue_packets: Option<u32>,
    ) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(LinkAttribute::Mtu(mtu.into()));
        message
            .attributes
            .extend(queue_packets.map(LinkAttribute::TxQueueLen));
        self.request(RouteNetlinkMessage::SetLink(message), NLM_F_ACK, |_| ())
    }

    /// Brings the interface up.
    pub(super) fn set_up(&mut self, index: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        self.request(RouteNetlinkMessage::SetLink(message), NLM_F_ACK, |_| ())
    }

    /// Removes the queueing discipline in front of the interface's own queue.
    pub(super) fn set_unqueued(&mut self, index: u32) -> io::Result<()> {
        let mut message = TcMessage::default();
        message.header.index = i32::try_from(index).unwrap_or(0);
        message.header.parent = TcHandle::ROOT;
        message
            .attributes
            .push(TcAttribute::Kind("noqueue".to_owned()));
        self.request(
            RouteNetlinkMessage::NewQueueDiscipline(message),
            NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE,
            |_| (),
        )
    }

    /// Adds an address to the interface, with that of the other end if there is one, without duplicate address detection (RFC 4862 section 5.4): the
    /// link has no other host, and the address must be usable at once.
    pub(super) fn add_address(
        &mut self,
        index: u32,
        address: IpAddr,
        prefix: u8,
        peer: Option<IpAddr>,
    ) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.index = index;
        message.header.prefix_len = prefix;
        message.header.family = family(address);
        message.attributes.push(AddressAttribute::Local(address));
        let other = AddressAttribute::Address(peer.unwrap_or(address));
        message.attributes.push(other);
        if address.is_ipv6() {
            message.header.flags = AddressHeaderFlags::Nodad;
            message
                .attributes
                .push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        self.request(
            RouteNetlinkMessage::NewAddress(message),
            NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE,
            |_| (),
        )
    }

    /// Returns the kernel's route to `address`.
    pub(super) fn route(&mut self, address: Ipv6Addr) -> io::Result<Route> {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet6;
        message.header.destination_prefix_length = 128;
        message
            .attributes
            .push(RouteAttribute::Destination(RouteAddress::Inet6(address)));
        let mut found = Route::default();
        self.request(
            RouteNetlinkMessage::GetRoute(message),
            NLM_F_ACK,
            |answer| {
                if let RouteNetlinkMessage::NewRoute(route) = answer {
                    found.is_local = route.header.kind == RouteType::Local;
                    found.index = route
                        .attributes
                        .iter()
                        .find_map(|attribute| match attribute {
                            RouteAttribute::Oif(index) => Some(*index),
                            _ => None,
                        });
                }
            },
        )?;
        Ok(found)
    }

    /// Returns the interfaces that have `address`: their indices, and the prefix lengths.
    pub(super) fn holders(&mut self, address: IpAddr) -> io::Result<Vec<(u32, u8)>> {
        let mut message = AddressMessage::default();
        message.header.family = family(address);
        let mut holders = Vec::new();
        self.request(
            RouteNetlinkMessage::GetAddress(message),
            NLM_F_DUMP,
            |answer| {
                let RouteNetlinkMessage::NewAddress(found) = answer else {
                    return;
                };
                let same = found.attributes.iter().any(|attribute| match attribute {
                    // If both are given, `Local` is the interface's address and `Address` its peer's.
                    AddressAttribute::Local(local) => *local == address,
                    AddressAttribute::Address(only) => address.is_ipv6() && *only == address,
                    _ => false,
                });
                if same {
                    holders.push((found.header.index, found.header.prefix_len));
                }
            },
        )?;
        Ok(holders)
    }

    /// Returns the name of the interface with that index, or its number if it has just been deleted.
    pub(super) fn name_of(&mut self, index: u32) -> String {
        let mut message = LinkMessage::default();
        message.header.index = index;
        let mut name = None;
        let asked = self.request(RouteNetlinkMessage::GetLink(message), NLM_F_ACK, |answer| {
            if let RouteNetlinkMessage::NewLink(link) = answer {
                name = link
                    .attributes
                    .into_iter()
                    .find_map(|attribute| match attribute {
                        LinkAttribute::IfName(name) => Some(name),
                        _ => None,
                    });
            }
        });
        asked
            .ok()
            .and(name)
            .unwrap_or_else(|| format!("number {index}"))
    }
}

/// Returns a request as the bytes of a datagram.
pub(super) fn request_bytes(message: RouteNetlinkMessage, flags: u16, sequence: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    header.sequence_number = sequence;
    let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    bytes
}

/// Reads the messages of a datagram.
pub(super) fn messages(
    datagram: &[u8],
) -> impl Iterator<Item = io::Result<NetlinkMessage<RouteNetlinkMessage>>> + '_ {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let read = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest);
        // Messages are aligned to four bytes; a length of zero would not advance.
        let len = read.as_ref().map_or(rest.len(), |message| {
            (message.header.length as usize).next_multiple_of(4).max(4)
        });
        rest = rest.get(len..).unwrap_or(&[]);
        Some(read.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string())))
    })
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// Returns what a message says of an interface.
pub(super) fn describe(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        kind: None,
        tap: false,
        busy: false,
        multi_queue: false,
        tx_dropped: 0,
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(kind) => link.kind = Some(kind.clone()),
                        LinkInfo::Data(InfoData::Tun(tun)) => describe_tun(tun, &mut link),
                        _ => {}
                    }
                }
            }
            LinkAttribute::Stats64(stats) => link.tx_dropped = stats.tx_dropped,
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            _ => {}
        }
    }
    link
}

fn describe_tun(attributes: &[InfoTun], link: &mut Link) {
    let (mut persistent, mut queues) = (true, 0);
    for attribute in attributes {
        let InfoTun::Other(attribute) = attribute else {
            continue;
        };
        let mut value = [0; 4];
        let len = attribute.value_len();
        if len > value.len() {
            continue;
        }
        attribute.emit_value(&mut value[..len]);
        match attribute.kind() {
            TUN_TYPE => link.tap = value[0] == TYPE_TAP,
            TUN_PERSIST => persistent = value[0] != 0,
            TUN_MULTI_QUEUE => link.multi_queue = value[0] != 0,
            TUN_NUM_QUEUES => queues = u32::from_ne_bytes(value),
            _ => {}
        }
    }
    // A device that is not persistent exists only while a program has it open.
    link.busy = !persistent || queues > 0;
}
