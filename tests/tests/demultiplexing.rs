//! The UDP socket that takes a datagram, for every combination of sockets at one port: the kernel's and ours, held
//! against Linux's rules (`compute_score` and the order of the look-ups in `net/ipv4/udp.c` and `net/ipv6/udp.c`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as KernelSocket};
use std::thread;
use std::time::Duration;

use futures::FutureExt as _;
use netstack::DropReason;
use netstack::device::{TunConfig, open};
use netstack::net::{Stack, UdpSocket};
use netstackd::probe::now;
use socket2::{Domain, Socket, Type};
use tests::world::{TUN, in_namespace, ip};

const PORT: u16 = 5_300;
/// Peers that send: each connected socket has one of its own, and the last one is nobody's.
const PEERS: usize = 5;
const LIMIT: Duration = Duration::from_secs(10);

/// The binding of a socket, and whether it is connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Kind {
    is_exact: bool,
    is_connected: bool,
}

const KINDS: [Kind; 4] = [
    kind(false, false),
    kind(true, false),
    kind(true, true),
    kind(false, true),
];

const fn kind(is_exact: bool, is_connected: bool) -> Kind {
    Kind {
        is_exact,
        is_connected,
    }
}

/// A socket of a combination, with the peer that it is connected to.
#[derive(Clone, Copy, Debug)]
struct Member {
    kind: Kind,
    peer: Option<usize>,
}

/// A datagram: the peer that sends it, and whether it goes to the address that exact sockets are bound to. With
/// `is_v4` false, its family is that of the sockets.
#[derive(Clone, Copy, Debug)]
struct Sent {
    peer: usize,
    is_to_exact: bool,
    is_v4: bool,
}

/// Returns Linux's score of a socket for a datagram; `None` if it does not take it.
///
/// | what agrees | score |
/// |---|---|
/// | the local address: sockets with another one are not looked at, the wildcard's only if no other takes it | 16 |
/// | the family of the socket and the datagram, in IPv4 | 1 |
/// | the remote address of a connected socket, which takes no other | 4 |
/// | the remote port of a connected socket, which takes no other | 4 |
/// | the device of a bound one (no socket here is bound to a device) | 4 |
///
/// A socket that is connected has a local address from then on, and is no wildcard any more.
fn score(member: Member, sent: Sent) -> Option<u32> {
    let has_address = member.kind.is_exact || member.kind.is_connected;
    let base = match (has_address, sent.is_to_exact) {
        // IPv4 reaches a dual-stack socket only through its wildcard.
        (true, _) if sent.is_v4 => return None,
        (true, true) => 16,
        (true, false) => return None,
        (false, _) => 0,
    };
    match member.peer {
        Some(peer) if peer != sent.peer => None,
        Some(_) => Some(base + 8),
        None => Some(base),
    }
}

/// Returns the places of the sockets that may take a datagram: those with the highest score.
fn takers(members: &[Member], sent: Sent) -> Vec<usize> {
    let scores: Vec<_> = members.iter().map(|member| score(*member, sent)).collect();
    let highest = scores.iter().max().copied().flatten();
    let has_highest = |place: &usize| highest.is_some() && scores[*place] == highest;
    (0..members.len()).filter(has_highest).collect()
}

/// Returns every combination of none, one and two sockets of each kind.
fn combinations() -> Vec<Vec<Member>> {
    let counts = (0..3_usize.pow(4)).map(|number| [1, 3, 9, 27].map(|power| number / power % 3));
    let members = counts.map(|counts| {
        let kinds = KINDS.iter().zip(counts);
        let kinds = kinds.flat_map(|(kind, count)| std::iter::repeat_n(*kind, count));
        let mut peers = 0..PEERS - 1;
        let member = |kind: Kind| Member {
            kind,
            peer: kind.is_connected.then(|| peers.next().expect("a peer")),
        };
        kinds.map(member).collect()
    });
    members.collect()
}

/// Returns true if the sockets can be bound although none of them shares its address.
fn can_be_alone(members: &[Member]) -> bool {
    [false, true].iter().all(|is_exact| {
        let same = members.iter().filter(|one| one.kind.is_exact == *is_exact);
        same.count() <= 1
    })
}

/// The addresses of one family: that of the peers, and of each side the one of exact sockets and another one.
#[derive(Clone, Copy)]
struct Addresses {
    peers: IpAddr,
    kernel: [IpAddr; 2],
    ours: [IpAddr; 2],
}

const V4: Addresses = {
    const fn at(host: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 77, 0, host))
    }
    Addresses {
        peers: at(1),
        kernel: [at(1), at(9)],
        ours: [at(2), at(10)],
    }
};

const V6: Addresses = {
    const fn at(host: u16) -> IpAddr {
        IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, host))
    }
    Addresses {
        peers: at(1),
        kernel: [at(1), at(9)],
        ours: [at(2), at(10)],
    }
};

/// The sockets under test: the kernel's or the stack's.
trait Sockets {
    /// A socket, which in IPv6 is one for both families if it is a wildcard that is not connected.
    type Socket;

    fn own(&self, of: Addresses) -> [IpAddr; 2];
    fn open(
        &self,
        kind: Kind,
        local: SocketAddr,
        peer: Option<SocketAddr>,
        shares: bool,
    ) -> Self::Socket;
    /// Returns the number of a datagram that is there already.
    fn receive(&self, socket: &Self::Socket) -> Option<u8>;
    /// Returns how many datagrams no socket took so far.
    fn refused(&self) -> u64;
}

struct Kernel;

impl Sockets for Kernel {
    type Socket = KernelSocket;

    fn own(&self, of: Addresses) -> [IpAddr; 2] {
        of.kernel
    }

    fn open(
        &self,
        _: Kind,
        local: SocketAddr,
        peer: Option<SocketAddr>,
        shares: bool,
    ) -> KernelSocket {
        let socket = Socket::new(Domain::for_address(local), Type::DGRAM, None).expect("a socket");
        if shares {
            socket.set_reuse_port(true).expect("set");
        } else {
            socket.set_reuse_address(true).expect("set");
        }
        socket.set_nonblocking(true).expect("set");
        socket.bind(&local.into()).expect("bound");
        if let Some(peer) = peer {
            socket.connect(&peer.into()).expect("connected");
        }
        socket.into()
    }

    fn receive(&self, socket: &KernelSocket) -> Option<u8> {
        let mut buffer = [0];
        socket.recv(&mut buffer).ok().map(|_| buffer[0])
    }

    fn refused(&self) -> u64 {
        let read = |file| std::fs::read_to_string(format!("/proc/thread-self/net/{file}"));
        let (v4, v6) = (
            read("snmp").expect("counters"),
            read("snmp6").expect("counters"),
        );
        let mut udp = v4.lines().filter(|line| line.starts_with("Udp:"));
        let [names, values] = [(); 2].map(|()| udp.next().expect("counters of UDP").split(' '));
        let mut v4 = names.zip(values).filter(|(name, _)| *name == "NoPorts");
        let mut v6 = v6
            .lines()
            .filter_map(|line| line.strip_prefix("Udp6NoPorts"));
        let values = [v4.next().map(|(_, value)| value), v6.next()];
        let values = values.map(|value| value.expect("NoPorts").trim().parse::<u64>());
        values.map(|value| value.expect("a number")).iter().sum()
    }
}

impl Sockets for Stack {
    type Socket = Vec<UdpSocket>;

    fn own(&self, of: Addresses) -> [IpAddr; 2] {
        of.ours
    }

    fn open(
        &self,
        kind: Kind,
        local: SocketAddr,
        peer: Option<SocketAddr>,
        shares: bool,
    ) -> Vec<UdpSocket> {
        let bind = |local: SocketAddr| -> io::Result<UdpSocket> {
            if shares {
                UdpSocket::bind_shared(self, local)
            } else {
                UdpSocket::bind_now(self, local)
            }
        };
        let mut sockets = vec![bind(local).expect("bound")];
        if let Some(peer) = peer {
            let connected = sockets[0].connect(peer).now_or_never();
            connected.expect("at once").expect("connected");
        } else if local.is_ipv6() && !kind.is_exact {
            // A socket has one family.
            sockets.push(bind((Ipv4Addr::UNSPECIFIED, PORT).into()).expect("bound"));
        }
        sockets
    }

    fn receive(&self, sockets: &Vec<UdpSocket>) -> Option<u8> {
        let mut buffer = [0];
        let received =
            |socket: &UdpSocket| socket.try_recv_from(&mut buffer).ok().map(|_| buffer[0]);
        sockets.iter().find_map(received)
    }

    fn refused(&self) -> u64 {
        self.counters().dropped(DropReason::UdpNoSocket)
    }
}

/// The programs that send: the peers in the family of the sockets, and one in IPv4.
struct Clients {
    of: Addresses,
    peers: Vec<KernelSocket>,
    v4: KernelSocket,
}

impl Clients {
    fn new(of: Addresses) -> Self {
        let bind = |ip: IpAddr| KernelSocket::bind((ip, 0)).expect("a client");
        Self {
            of,
            peers: (0..PEERS).map(|_| bind(of.peers)).collect(),
            v4: bind(V4.peers),
        }
    }

    /// Returns what is sent: from each peer to both addresses, and to sockets of IPv6 in IPv4, too.
    fn datagrams(&self) -> Vec<Sent> {
        let own = (0..PEERS).map(|peer| (peer, false));
        let v4 = self.of.peers.is_ipv6().then_some((PEERS - 1, true));
        let both = own.chain(v4).flat_map(|(peer, is_v4)| {
            [true, false].map(|is_to_exact| Sent {
                peer,
                is_to_exact,
                is_v4,
            })
        });
        both.collect()
    }

    fn send(&self, sent: Sent, number: usize, own: impl Fn(Addresses) -> [IpAddr; 2]) {
        let (client, of) = if sent.is_v4 {
            (&self.v4, V4)
        } else {
            (&self.peers[sent.peer], self.of)
        };
        let to = own(of)[usize::from(!sent.is_to_exact)];
        client.send_to(&[number as u8], (to, PORT)).expect("sent");
    }
}

/// Opens the sockets of a combination and sends every datagram. Returns the place of the socket that each of them came to,
/// if each was received or refused before the time was over.
fn exchange<S: Sockets>(
    sockets: &S,
    clients: &Clients,
    members: &[Member],
    shares: bool,
) -> Option<Vec<Option<usize>>> {
    let before = sockets.refused();
    let wildcard = match clients.of.peers {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let open = |member: &Member| {
        let exact = sockets.own(clients.of)[0];
        let local = if member.kind.is_exact {
            exact
        } else {
            wildcard
        };
        let peer = member.peer.map(|peer| clients.peers[peer].local_addr());
        let peer = peer.map(|peer| peer.expect("an address"));
        sockets.open(member.kind, (local, PORT).into(), peer, shares)
    };
    let opened: Vec<S::Socket> = members.iter().map(open).collect();
    let datagrams = clients.datagrams();
    for (number, sent) in datagrams.iter().enumerate() {
        clients.send(*sent, number, |of| sockets.own(of));
    }
    let mut taken = vec![None; datagrams.len()];
    let deadline = now() + LIMIT;
    while now() < deadline {
        for (place, socket) in opened.iter().enumerate() {
            while let Some(number) = sockets.receive(socket) {
                let before = taken[usize::from(number)].replace(place);
                assert_eq!(before, None, "it came twice");
            }
        }
        let received = taken.iter().flatten().count();
        if received as u64 + sockets.refused() - before == datagrams.len() as u64 {
            return Some(taken);
        }
        thread::sleep(Duration::from_millis(1));
    }
    eprintln!("{members:?}: {taken:?}: not each was received or refused");
    None
}

/// Sends every datagram to the sockets of a combination, and checks which socket each of them came to.
fn check<S: Sockets>(sockets: &S, clients: &Clients, members: &[Member], shares: bool) {
    // Now and then a datagram to Linux's own sockets is neither received nor counted as refused; why was not found.
    const TRIES: usize = 3;
    let taken = (0..TRIES).find_map(|_| exchange(sockets, clients, members, shares));
    let taken = taken.unwrap_or_else(|| panic!("{members:?}: lost in each of {TRIES} tries"));
    let datagrams = clients.datagrams();
    for (sent, taken) in datagrams.iter().zip(taken) {
        let takers = takers(members, *sent);
        let is_right = taken.map_or(takers.is_empty(), |place| takers.contains(&place));
        assert!(
            is_right,
            "{sent:?} came to {taken:?}, not to one of {takers:?}; share: {shares}; {members:#?}"
        );
    }
}

fn all_combinations<S: Sockets>(sockets: &S, of: Addresses) {
    let clients = Clients::new(of);
    for mut members in combinations() {
        for _ in 0..2 {
            check(sockets, &clients, &members, true);
            if can_be_alone(&members) {
                check(sockets, &clients, &members, false);
            }
            // In the other order, too.
            members.reverse();
        }
    }
}

fn with_both(test: impl FnOnce(&Stack) + Send) {
    in_namespace(|| {
        let mut config = TunConfig::new(TUN);
        let (IpAddr::V4(host_v4), IpAddr::V6(host_v6)) = (V4.peers, V6.peers) else {
            panic!("an address of each family");
        };
        config.host_v4 = Some((host_v4, 24));
        config.host_v6 = Some((host_v6, 64));
        let own = [V4.ours.map(|ip| (ip, 24)), V6.ours.map(|ip| (ip, 64))];
        let builder = own.into_iter().flatten();
        let builder = builder.fold(Stack::builder(), |stack, (ip, len)| stack.address(ip, len));
        let stack = builder
            .start(open(&config).expect("a device"))
            .expect("a stack");
        ip(&format!("addr add {}/24 dev {TUN}", V4.kernel[1]));
        ip(&format!("addr add {}/64 dev {TUN} nodad", V6.kernel[1]));
        test(&stack);
    });
}

#[test]
fn sockets_of_ipv4_take_what_linux_gives_them() {
    with_both(|stack| {
        all_combinations(&Kernel, V4);
        all_combinations(stack, V4);
    });
}

#[test]
fn sockets_of_ipv6_and_of_both_families_take_what_linux_gives_them() {
    with_both(|stack| {
        all_combinations(&Kernel, V6);
        all_combinations(stack, V6);
    });
}
