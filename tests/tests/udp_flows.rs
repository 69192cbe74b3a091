//! UDP by flow: flows that end when they are idle, several sockets on one port, and sockets that share an address.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use netstack::Counter;
use netstack::base::{Config, Instant};
use netstack::device::Device as _;
use netstack::device::memory::{self, LinkConfig};
use netstack::engine::sim::Simulation;
use netstack::net::{Destinations, SocketKind, Stack, UdpListener, UdpSocket};
use netstack::stack::Host;
use tests::pair::{alone, bounded_as as bounded};

const SERVER: &str = "10.77.0.2:7";

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Two stacks on virtual time, with the places of their workers.
fn simulation() -> (Simulation, [Stack; 2], [usize; 2]) {
    let (a, b) = memory::pair(&LinkConfig::default());
    let mut sim = Simulation::new(Instant::from_millis(1_000));
    let mut add = |device: memory::LinkDevice, number: u8| {
        let address = ([10, 77, 0, number].into(), 24);
        let host = Host::new(
            Config::default(),
            &[address],
            device.caps(),
            1,
            [number; 32],
        );
        let host = host.expect("a host");
        let place = sim.add(&host, 0, device);
        (Stack::from_host(host), place)
    };
    let (client, client_place) = add(a, 1);
    let (server, server_place) = add(b, 2);
    (sim, [client, server], [client_place, server_place])
}

#[test]
fn a_flow_ends_when_nothing_comes_and_nothing_is_sent_for_its_time() {
    let (mut sim, [client, server], [client_place, server_place]) = simulation();
    let listener = UdpListener::bind(&server, SERVER).expect("bind");
    listener.set_idle_timeout(Some(seconds(60)));
    let accepted = Arc::new(AtomicUsize::new(0));
    let ended = Arc::new(std::sync::OnceLock::new());
    let (count, end, stack) = (Arc::clone(&accepted), Arc::clone(&ended), server.clone());
    sim.spawn(
        server_place,
        Box::pin(async move {
            loop {
                let (flow, peer) = listener.accept().await.expect("a flow");
                count.fetch_add(1, Ordering::Relaxed);
                let (time, end) = (stack.time(), Arc::clone(&end));
                stack.spawn_on(0, async move {
                    let accepted_at = time.now();
                    if peer.port() == 4_003 {
                        // Kept by what this side sends.
                        for _ in 0..20 {
                            time.sleep(seconds(40)).await.expect("no end");
                            flow.send(b"still here").await.expect("a living flow");
                        }
                        return;
                    }
                    loop {
                        match flow.recv(&mut [0; 16]).await {
                            Ok(_) => {}
                            Err(error) => {
                                assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
                                let again = flow.send(b"x").await.expect_err("it has ended");
                                assert_eq!(again.kind(), ErrorKind::TimedOut, "{again}");
                                assert_eq!(peer.port(), 4_001, "the others are not idle");
                                let _ = end.set(time.now() - accepted_at);
                                return;
                            }
                        }
                    }
                });
            }
        }),
    );
    let stack = client.clone();
    sim.spawn(
        client_place,
        Box::pin(async move {
            let bind = |port: u16| {
                let local: SocketAddr = ([10, 77, 0, 1], port).into();
                UdpSocket::bind_now(&stack, local).expect("bind")
            };
            let (once, often, listens) = (bind(4_001), bind(4_002), bind(4_003));
            once.send_to(b"once", SERVER).await.expect("sent");
            listens.send_to(b"hello", SERVER).await.expect("sent");
            let time = stack.time();
            for _ in 0..20 {
                often.send_to(b"again", SERVER).await.expect("sent");
                time.sleep(seconds(40)).await.expect("no end");
            }
            // The flow that ended begins anew.
            once.send_to(b"twice", SERVER).await.expect("sent");
            time.sleep(seconds(1)).await.expect("no end");
        }),
    );
    let limit = Instant::from_millis(802_500);
    for _ in 0..100_000 {
        if sim.now() >= limit {
            break;
        }
        sim.step(limit).expect("the link works");
    }
    assert_eq!(
        accepted.load(Ordering::Relaxed),
        4,
        "three flows, and one again"
    );
    let after = *ended.get().expect("one flow has ended");
    assert!(after >= seconds(60) && after <= seconds(75), "{after:?}");
    assert_eq!(server.counters().count(Counter::UdpFlowsIdle), 1);
}

#[test]
fn a_flow_with_unread_datagrams_is_not_idle() {
    let (mut sim, [client, server], [client_place, server_place]) = simulation();
    let everything = Destinations {
        prefixes: vec!["0.0.0.0/0".parse().expect("a prefix")],
        ports: 1..=u16::MAX,
    };
    let listener = UdpListener::bind_any(&server, everything).expect("bind");
    listener.set_idle_timeout(Some(seconds(5)));
    let stack = client.clone();
    sim.spawn(
        client_place,
        Box::pin(async move {
            let socket = UdpSocket::bind_now(&stack, "10.77.0.1:0").expect("bind");
            socket.send_to(b"wait", SERVER).await.expect("sent");
        }),
    );
    let stack = server.clone();
    let read = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&read);
    sim.spawn(
        server_place,
        Box::pin(async move {
            let (flow, _) = listener.accept().await.expect("a flow");
            stack.time().sleep(seconds(60)).await.expect("no end");
            let len = flow.recv(&mut [0; 16]).await.expect("still there");
            count.store(len, Ordering::Relaxed);
            let error = flow.recv(&mut [0; 16]).await.expect_err("idle now");
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            // The listener ends here, and the task that looks for idle flows with it.
        }),
    );
    sim.run(Instant::from_millis(200_000))
        .expect("all tasks end");
    assert_eq!(read.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn one_port_has_a_socket_for_each_peer_and_one_for_the_rest() {
    let (stack, _pipe) = alone();
    let local: SocketAddr = SERVER.parse().expect("an address");
    let peers: Vec<UdpSocket> = (5_000..5_004)
        .map(|port| UdpSocket::bind_now(&stack, SocketAddr::new(local.ip(), port)).expect("bind"))
        .collect();
    let address = |socket: &UdpSocket| socket.local_addr().expect("an address");
    let of = |peer: &UdpSocket| UdpSocket::bind_connected(&stack, local, address(peer));
    let sockets: Vec<_> = peers[..3]
        .iter()
        .map(|peer| of(peer).expect("a peer"))
        .collect();
    let taken = of(&peers[0]).expect_err("one socket for a peer");
    assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    let rest = UdpSocket::bind_now(&stack, local).expect("beside them");
    for (number, peer) in peers.iter().enumerate() {
        peer.send_to(&[number as u8], local).await.expect("sent");
    }
    let mut room = [0; 8];
    for (number, socket) in sockets.iter().enumerate() {
        let len = bounded("a datagram", socket.recv(&mut room))
            .await
            .expect("received");
        assert_eq!(&room[..len], [number as u8]);
        assert_eq!(socket.peer_addr().expect("a peer"), address(&peers[number]));
        socket.send(&[number as u8 + 10]).await.expect("sent");
        let (len, from) = bounded("an answer", peers[number].recv_from(&mut room))
            .await
            .expect("received");
        assert_eq!((&room[..len], from), (&[number as u8 + 10][..], local));
    }
    let (len, from) = bounded("the rest", rest.recv_from(&mut room))
        .await
        .expect("received");
    assert_eq!((&room[..len], from), (&[3][..], address(&peers[3])));
    assert!(
        rest.recv(&mut room).now_or_never().is_none(),
        "nothing of the others"
    );
    // What its socket gives up goes to the rest.
    drop(sockets);
    peers[0].send_to(b"again", local).await.expect("sent");
    let len = bounded("the rest", rest.recv(&mut room))
        .await
        .expect("received");
    assert_eq!(&room[..len], b"again");
    let chosen = UdpSocket::bind_connected(&stack, "0.0.0.0:0".parse().expect("an address"), local);
    assert_ne!(
        chosen
            .expect("any port")
            .local_addr()
            .expect("an address")
            .port(),
        0
    );
}

/// Sends a datagram from each of the clients; returns the socket that each of them came to.
async fn choices(clients: &[UdpSocket], shared: &[(usize, UdpSocket)]) -> Vec<usize> {
    let local = shared[0].1.local_addr().expect("an address");
    for client in clients {
        client.send_to(b"?", local).await.expect("sent");
    }
    let mut found = HashMap::new();
    bounded("every datagram", async {
        while found.len() < clients.len() {
            for (name, socket) in shared {
                while let Ok((_, from)) = socket.try_recv_from(&mut [0; 8]) {
                    let before = found.insert(from, *name);
                    assert_eq!(before, None, "one datagram comes once");
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let place = |client: &UdpSocket| found[&client.local_addr().expect("an address")];
    clients.iter().map(place).collect()
}

#[tokio::test]
async fn sockets_that_share_an_address_share_the_flows() {
    let (stack, _pipe) = alone();
    let bind = |name: usize| (name, UdpSocket::bind_shared(&stack, SERVER).expect("bind"));
    let clients: Vec<UdpSocket> = (0..256)
        .map(|_| UdpSocket::bind_now(&stack, "10.77.0.2:0").expect("bind"))
        .collect();
    let mut shared: Vec<_> = (0..4).map(bind).collect();
    let exclusive = UdpSocket::bind_now(&stack, SERVER).expect_err("it does not share");
    assert_eq!(exclusive.kind(), ErrorKind::AddrInUse);
    let other = UdpSocket::bind_now(&stack, "10.77.0.2:8").expect("bind");
    UdpSocket::bind_shared(&stack, "10.77.0.2:8").expect_err("the first one does not share");
    drop(other);

    let first = choices(&clients, &shared).await;
    assert_eq!(choices(&clients, &shared).await, first, "a flow stays");
    for name in 0..4 {
        let part = first.iter().filter(|choice| **choice == name).count();
        assert!((32..=96).contains(&part), "{part} of 256 flows");
        // Each socket counts its own.
        let received: Vec<u64> = stack
            .sockets()
            .iter()
            .filter(|info| info.local == SERVER.parse().expect("an address"))
            .filter_map(|info| match info.kind {
                SocketKind::Udp(queue) => Some(queue.received),
                _ => None,
            })
            .collect();
        assert_eq!(received.len(), 4);
        assert!(received.contains(&(2 * part as u64)), "{received:?}");
    }
    // One leaves: its flows go to the others, and no other flow moves. It comes back as another one.
    shared.remove(1);
    let without = choices(&clients, &shared).await;
    for (before, after) in first.iter().zip(&without) {
        assert!(before == after || *before == 1);
    }
    shared.push(bind(4));
    let with = choices(&clients, &shared).await;
    for (before, after) in without.iter().zip(&with) {
        assert!(before == after || *after == 4);
    }
    assert!(with.contains(&4));
    // One that is connected keeps its peer alone.
    let peer = clients[0].local_addr().expect("an address");
    let of_peer = UdpSocket::bind_shared(&stack, SERVER).expect("bind");
    of_peer.connect(peer).await.expect("connect");
    let rest = choices(&clients[1..], &shared).await;
    assert_eq!(rest[..], with[1..]);
    clients[0].send_to(b"mine", SERVER).await.expect("sent");
    let len = bounded("a datagram", of_peer.recv(&mut [0; 8]))
        .await
        .expect("received");
    assert_eq!(len, 4);
    // The last one frees the address.
    drop((shared, of_peer));
    UdpSocket::bind_now(&stack, SERVER).expect("free");
}

#[tokio::test]
async fn a_socket_for_a_whole_family_chooses_the_source_of_each_datagram() {
    let (stack, _pipe) = alone();
    stack
        .add_address("10.77.0.9/24".parse().expect("a prefix"))
        .expect("added");
    let server = UdpSocket::bind_now(&stack, "0.0.0.0:53").expect("bind");
    let client = UdpSocket::bind_now(&stack, "10.77.0.2:0").expect("bind");
    let mut room = [0; 8];
    for asked in ["10.77.0.2:53", "10.77.0.9:53"] {
        client.send_to(b"?", asked).await.expect("sent");
        let question = bounded("a question", server.recv_datagram())
            .await
            .expect("received");
        assert_eq!(question.to, asked.parse().expect("an address"));
        let sent = server.send_from(b"!", question.to, question.from).await;
        assert_eq!(sent.expect("sent"), 1);
        let (_, from) = bounded("an answer", client.recv_from(&mut room))
            .await
            .expect("received");
        assert_eq!(from, question.to);
    }
    for source in ["10.77.0.2:54", "192.0.2.1:53"] {
        let source = source.parse().expect("an address");
        let to = client.local_addr().expect("an address");
        let error = server
            .send_from(b"!", source, to)
            .await
            .expect_err("not its own");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
}
