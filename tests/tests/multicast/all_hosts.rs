//! Datagrams to all hosts of the link, 224.0.0.1 and ff02::1: the kernel's sockets and ours in the same places.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket as KernelSocket};

use futures::FutureExt as _;
use netstack::DropReason;
use netstack::net::{Stack, UdpSocket};
use socket2::{Domain, Socket, Type};
use tests::world::{TUN, eventually, in_namespace};

use super::kernel::{HOST_V4, OURS_V4, PORT, start};

const ALL_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
const ALL_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const HOST_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
const OURS_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);

/// The state of a socket. All of them share their addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Wildcard,
    /// Bound to the group.
    Group,
    /// Bound to an address of the host.
    Host,
    /// A wildcard that is connected to the sender: it has an address of the host from then on.
    Connected,
    /// Bound to the group, and connected to the sender.
    GroupConnected,
    /// Bound to the group, and connected to somebody else.
    GroupConnectedElsewhere,
    /// A wildcard that joined the group.
    Joined,
    /// A wildcard that joined the group for what another source sends. (The kernel has it in IPv4 alone here.)
    JoinedOtherSource,
}

/// Places, and whether a socket there gets a copy.
const PLACES: [(Place, bool); 9] = [
    (Place::Wildcard, true),
    (Place::Wildcard, true),
    (Place::Group, true),
    (Place::Group, true),
    (Place::Host, false),
    (Place::GroupConnected, true),
    (Place::GroupConnectedElsewhere, false),
    (Place::Joined, true),
    (Place::JoinedOtherSource, false),
];

/// The same beside a wildcard that is connected to the sender, which one socket of the stack can be.
const BESIDE_CONNECTED: [(Place, bool); 3] = [
    (Place::Wildcard, true),
    (Place::Connected, false),
    (Place::Group, true),
];

/// The addresses of a family.
#[derive(Clone, Copy)]
struct Addresses {
    all: IpAddr,
    sender: SocketAddr,
    /// Of the side whose sockets they are.
    own: IpAddr,
    index: u32,
}

impl Addresses {
    fn bind_to(&self, place: Place) -> SocketAddr {
        let ip = match place {
            Place::Group | Place::GroupConnected | Place::GroupConnectedElsewhere => self.all,
            Place::Host => self.own,
            _ if self.all.is_ipv4() => Ipv4Addr::UNSPECIFIED.into(),
            _ => Ipv6Addr::UNSPECIFIED.into(),
        };
        SocketAddr::new(ip, PORT)
    }

    fn connect_to(&self, place: Place) -> Option<SocketAddr> {
        match place {
            Place::Connected | Place::GroupConnected => Some(self.sender),
            Place::GroupConnectedElsewhere => Some((self.sender.ip(), 9).into()),
            _ => None,
        }
    }

    fn other_source(&self) -> IpAddr {
        match self.all {
            IpAddr::V4(_) => Ipv4Addr::new(10, 77, 0, 99).into(),
            IpAddr::V6(_) => Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x99).into(),
        }
    }
}

fn kernel_socket(place: Place, addresses: &Addresses) -> KernelSocket {
    let mut local = addresses.bind_to(place);
    if let SocketAddr::V6(v6) = local
        && v6.ip().is_multicast()
    {
        local = SocketAddrV6::new(*v6.ip(), PORT, 0, addresses.index).into();
    }
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, None).expect("a socket");
    socket.set_reuse_port(true).expect("set");
    socket.set_nonblocking(true).expect("set");
    socket.bind(&local.into()).expect("bound");
    if let Some(to) = addresses.connect_to(place) {
        socket.connect(&to.into()).expect("connected");
    }
    let joined = match (place, addresses.all) {
        (Place::Joined, IpAddr::V4(all)) => socket.join_multicast_v4(&all, &HOST_V4),
        (Place::Joined, IpAddr::V6(all)) => socket.join_multicast_v6(&all, addresses.index),
        (Place::JoinedOtherSource, IpAddr::V4(all)) => {
            let IpAddr::V4(source) = addresses.other_source() else {
                panic!("a source of the family");
            };
            socket.join_ssm_v4(&source, &all, &HOST_V4)
        }
        _ => Ok(()),
    };
    joined.expect("joined");
    socket.into()
}

fn our_socket(stack: &Stack, place: Place, addresses: &Addresses) -> UdpSocket {
    let socket = UdpSocket::bind_shared(stack, addresses.bind_to(place)).expect("bound");
    if let Some(to) = addresses.connect_to(place) {
        let connected = socket.connect(to).now_or_never();
        connected.expect("at once").expect("connected");
    }
    let joined = match (place, addresses.all) {
        (Place::Joined, IpAddr::V4(all)) => socket.join_multicast_v4(all, OURS_V4),
        (Place::Joined, IpAddr::V6(all)) => socket.join_multicast_v6(&all, 0),
        (Place::JoinedOtherSource, all) => socket.join_source_group(all, addresses.other_source()),
        _ => Ok(()),
    };
    joined.expect("joined");
    socket
}

/// The contents of the datagrams.
const ROUNDS: [u8; 2] = [1, 2];

/// Sends twice, and checks which sockets got both copies. The others got none.
fn check(
    who: &str,
    sender: &Socket,
    all: SocketAddr,
    places: &[(Place, bool)],
    mut receive: impl FnMut(usize) -> Option<u8>,
) {
    let mut received = vec![Vec::new(); places.len()];
    for round in ROUNDS {
        sender.send_to(&[round], &all.into()).expect("sent");
        eventually(who, || {
            for (at, received) in received.iter_mut().enumerate() {
                received.extend(std::iter::from_fn(|| receive(at)));
            }
            let mut wanted = places.iter().zip(&received).filter(|((_, gets), _)| *gets);
            wanted.all(|(_, received)| received.contains(&round))
        });
    }
    for ((place, gets), received) in places.iter().zip(&received) {
        let expected: &[u8] = if *gets { &ROUNDS } else { &[] };
        assert_eq!(received, expected, "{who}: {place:?}");
    }
}

fn reaches_all(all: IpAddr, [host, ours]: [IpAddr; 2]) {
    in_namespace(|| {
        let stack = start();
        let interfaces = pnet_datalink::interfaces();
        let index = interfaces.iter().find(|link| link.name == TUN);
        let index = index.expect("the device").index;
        let sender = Socket::from(KernelSocket::bind((host, 0)).expect("a sender"));
        match all {
            IpAddr::V4(_) => sender.set_multicast_if_v4(&HOST_V4),
            IpAddr::V6(_) => sender.set_multicast_if_v6(index),
        }
        .expect("the interface");
        let address = sender.local_addr().expect("an address");
        let mut addresses = Addresses {
            all,
            sender: address.as_socket().expect("an address"),
            own: host,
            index,
        };
        let to = SocketAddr::new(all, PORT);
        let mut sent = 0;
        for places in [&PLACES[..], &BESIDE_CONNECTED] {
            addresses.own = host;
            // In IPv6 there is no call for a source.
            let is_known = |place| all.is_ipv4() || place != Place::JoinedOtherSource;
            let known = places.iter().filter(|(place, _)| is_known(*place));
            let known: Vec<_> = known.copied().collect();
            let open = |(place, _): &(Place, bool)| kernel_socket(*place, &addresses);
            let sockets: Vec<_> = known.iter().map(open).collect();
            check("the kernel", &sender, to, &known, |at| {
                let mut buffer = [0];
                sockets[at].recv(&mut buffer).ok().map(|_| buffer[0])
            });
            drop(sockets);
            // The stack has seen them, too: nothing of them is left for its sockets.
            sent += 2;
            eventually("nobody there", || {
                let dropped = stack.counters().dropped(DropReason::UdpNotJoined);
                dropped == sent
            });
            addresses.own = ours;
            let open = |(place, _): &(Place, bool)| our_socket(&stack, *place, &addresses);
            let sockets: Vec<_> = places.iter().map(open).collect();
            check("the stack", &sender, to, places, |at| {
                let mut buffer = [0];
                let received = sockets[at].try_recv_from(&mut buffer);
                received.ok().map(|_| buffer[0])
            });
        }
    });
}

#[test]
fn all_hosts_of_ipv4_reaches_each_socket_that_may_receive_it_as_with_the_kernel() {
    reaches_all(ALL_V4.into(), [HOST_V4.into(), OURS_V4.into()]);
}

#[test]
fn all_nodes_of_ipv6_reaches_each_socket_that_may_receive_it_as_with_the_kernel() {
    reaches_all(ALL_V6.into(), [HOST_V6.into(), OURS_V6.into()]);
}
