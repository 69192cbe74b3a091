//! Sockets that share an address: the kernel's (`SO_REUSEPORT`, socket(7)) and ours under the same rules, with the same
//! clients.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket as KernelSocket};

use futures::FutureExt as _;
use netstack::device::{TunConfig, open};
use netstack::net::{Stack, UdpSocket};
use socket2::{Domain, Socket, Type};
use tests::world::{TUN, eventually, in_namespace};

const HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const OURS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const PORT: u16 = 5_300;

/// The sockets under test: the kernel's or the stack's.
trait Sockets {
    type Socket;
    /// The address that the clients send to.
    const ADDRESS: Ipv4Addr;

    fn bind(&self, local: SocketAddr, shares: bool) -> io::Result<Self::Socket>;
    fn connect(&self, socket: &Self::Socket, peer: SocketAddr);
    fn join(&self, socket: &Self::Socket);
    /// Returns a datagram that is there already.
    fn receive(&self, socket: &Self::Socket) -> Option<(u8, SocketAddr)>;
}

struct Kernel;

impl Sockets for Kernel {
    type Socket = KernelSocket;
    const ADDRESS: Ipv4Addr = HOST;

    fn bind(&self, local: SocketAddr, shares: bool) -> io::Result<KernelSocket> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        socket.set_reuse_port(shares)?;
        // Groups reach the sockets that joined them, as everywhere but on Linux without this.
        socket.set_multicast_all_v4(false)?;
        socket.set_nonblocking(true)?;
        socket.bind(&local.into())?;
        Ok(socket.into())
    }

    fn connect(&self, socket: &KernelSocket, peer: SocketAddr) {
        socket.connect(peer).expect("connected");
    }

    fn join(&self, socket: &KernelSocket) {
        socket.join_multicast_v4(&GROUP, &HOST).expect("joined");
    }

    fn receive(&self, socket: &KernelSocket) -> Option<(u8, SocketAddr)> {
        let mut buffer = [0];
        let (_, from) = socket.recv_from(&mut buffer).ok()?;
        Some((buffer[0], from))
    }
}

impl Sockets for Stack {
    type Socket = UdpSocket;
    const ADDRESS: Ipv4Addr = OURS;

    fn bind(&self, local: SocketAddr, shares: bool) -> io::Result<UdpSocket> {
        if shares {
            UdpSocket::bind_shared(self, local)
        } else {
            UdpSocket::bind_now(self, local)
        }
    }

    fn connect(&self, socket: &UdpSocket, peer: SocketAddr) {
        let connected = socket.connect(peer).now_or_never();
        connected.expect("at once").expect("connected");
    }

    fn join(&self, socket: &UdpSocket) {
        socket.join_multicast_v4(GROUP, OURS).expect("joined");
    }

    fn receive(&self, socket: &UdpSocket) -> Option<(u8, SocketAddr)> {
        let mut buffer = [0];
        let (_, from) = socket.try_recv_from(&mut buffer).ok()?;
        Some((buffer[0], from))
    }
}

fn with_both(test: impl FnOnce(&Stack) + Send) {
    in_namespace(|| {
        let mut config = TunConfig::new(TUN);
        config.host_v4 = Some((HOST, 24));
        let stack = Stack::builder().address(OURS.into(), 24);
        let device = open(&config).expect("a device");
        test(&stack.start(device).expect("a stack"));
    });
}

fn clients(count: usize) -> Vec<KernelSocket> {
    let bind = |_| KernelSocket::bind((HOST, 0)).expect("a client");
    (0..count).map(bind).collect()
}

/// Sends one datagram from each client; returns the place of the socket that each of them came to. Each comes to one
/// socket, once: of the rounds before nothing is left.
fn choices<S: Sockets>(
    sockets: &S,
    members: &[&S::Socket],
    clients: &[KernelSocket],
    round: u8,
) -> Vec<usize> {
    for client in clients {
        client.send_to(&[round], (S::ADDRESS, PORT)).expect("sent");
    }
    let mut found = HashMap::new();
    eventually("every datagram", || {
        for (place, member) in members.iter().enumerate() {
            while let Some((number, from)) = sockets.receive(member) {
                assert_eq!(number, round, "a datagram came twice");
                assert_eq!(found.insert(from, place), None, "it came twice");
            }
        }
        found.len() == clients.len()
    });
    let place = |client: &KernelSocket| found[&client.local_addr().expect("an address")];
    clients.iter().map(place).collect()
}

fn all_members_have_asked<S: Sockets>(sockets: &S) {
    let exact = SocketAddr::from((S::ADDRESS, PORT));
    let wildcard = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
    for local in [exact, wildcard] {
        let refused = |shares: bool| match sockets.bind(local, shares) {
            Ok(_) => panic!("{local} was bound again"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::AddrInUse),
        };
        let first = sockets.bind(local, true).expect("bound");
        let second = sockets.bind(local, true).expect("both share");
        refused(false);
        drop(first);
        refused(false);
        drop(second);
        let alone = sockets.bind(local, false).expect("the last one left");
        refused(true);
        drop(alone);
    }
}

fn one_socket_has_a_flow<S: Sockets>(sockets: &S) {
    let local = SocketAddr::from((S::ADDRESS, PORT));
    let bind = |local| sockets.bind(local, true).expect("bound");
    // Those of the exact address come before those of the wildcard.
    let wildcards = [(); 2].map(|()| bind((Ipv4Addr::UNSPECIFIED, PORT).into()));
    let exact = [(); 4].map(|()| bind(local));
    let members: Vec<&S::Socket> = wildcards.iter().chain(&exact).collect();
    let clients = clients(64);
    let first = choices(sockets, &members, &clients, 1);
    assert_eq!(choices(sockets, &members, &clients, 2), first, "it stays");
    for place in 0..members.len() {
        let flows = first.iter().filter(|choice| **choice == place).count();
        assert_eq!(flows > 0, place >= 2, "{flows} of 64 at {place}");
    }
    // One that is connected has its peer, and leaves the others to the rest.
    let peer = clients[0].local_addr().expect("an address");
    sockets.connect(&exact[0], peer);
    let second = choices(sockets, &members, &clients, 3);
    let at_first: Vec<usize> = (0..64).filter(|client| second[*client] == 2).collect();
    assert_eq!(at_first, [0]);
    assert!(second.iter().all(|place| *place >= 2));
    assert_eq!(choices(sockets, &members, &clients, 4), second);
}

/// `first` tells its datagrams from those of another run, of which some may still be on their way.
fn a_group_reaches_each_that_joined<S: Sockets>(sockets: &S, first: u8) {
    let bind = || sockets.bind((Ipv4Addr::UNSPECIFIED, PORT).into(), true);
    let members = [(); 3].map(|()| bind().expect("bound"));
    let stranger = bind().expect("bound");
    members.iter().for_each(|member| sockets.join(member));
    let sender = KernelSocket::bind((HOST, 0)).expect("a sender");
    let sender = Socket::from(sender);
    sender.set_multicast_if_v4(&HOST).expect("the interface");
    let to = SocketAddr::from((GROUP, PORT)).into();
    for round in first..first + 4 {
        sender.send_to(&[round], &to).expect("sent");
        for member in &members {
            let mut received = None;
            eventually("a copy", || {
                received = sockets.receive(member);
                received.is_some_and(|(number, _)| number >= first)
            });
            assert_eq!(received.map(|(number, _)| number), Some(round));
        }
    }
    assert_eq!(sockets.receive(&stranger), None);
}

#[test]
fn all_that_share_an_address_have_asked_for_it_as_with_the_kernel() {
    with_both(|stack| {
        all_members_have_asked(&Kernel);
        all_members_have_asked(stack);
    });
}

#[test]
fn a_flow_has_one_of_the_sockets_that_share_an_address_as_with_the_kernel() {
    with_both(|stack| {
        one_socket_has_a_flow(&Kernel);
        one_socket_has_a_flow(stack);
    });
}

#[test]
fn a_group_reaches_each_of_the_sockets_that_share_a_port_as_with_the_kernel() {
    with_both(|stack| {
        a_group_reaches_each_that_joined(&Kernel, 0);
        a_group_reaches_each_that_joined(stack, 100);
    });
}
