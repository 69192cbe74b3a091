//! One client of the kernel takes all the places of the daemon; a client with another address is served all the same.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use netstackd::probe::stream;
use socket2::{Domain, Socket, Type};
use tests::program;
use tests::world::{Scratch, TUN, eventually, in_namespace, ip, port, serve, targets};

/// Connections that the daemon has places for.
const PLACES: usize = 1_000;
/// Connections of the client that comes later, of each family.
const LATER: usize = 40;

/// Adds one more address of each family to the kernel: the IPv6 one in a /64 of its own, since limits count a /64 as
/// one peer.
fn other_addresses() -> [IpAddr; 2] {
    ip(&format!("addr add 10.77.0.3/24 dev {TUN}"));
    ip(&format!("addr add fd78::3/64 dev {TUN} nodad"));
    ["10.77.0.3", "fd78::3"].map(|text| text.parse().expect(text))
}

/// Connects from `source`, and exchanges a message.
fn served(source: Option<IpAddr>, target: SocketAddr) -> std::io::Result<TcpStream> {
    const LIMIT: Duration = Duration::from_secs(5);
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    socket.connect_timeout(&target.into(), LIMIT)?;
    socket.set_read_timeout(Some(LIMIT))?;
    let mut stream = TcpStream::from(socket);
    stream::exchange(&mut stream, b"hello", &mut [0; 5])?;
    Ok(stream)
}

/// Returns how many connections still echo.
fn alive(streams: &mut [TcpStream]) -> usize {
    let echoes = |stream: &mut TcpStream| stream::exchange(stream, b"still", &mut [0; 5]).is_ok();
    streams
        .iter_mut()
        .map(echoes)
        .filter(|echoed| *echoed)
        .count()
}

#[test]
fn idle_connections_of_one_client_keep_no_other_out() {
    let scratch = Scratch::new("shares");
    let config = scratch.write("config.toml", &format!("max_connections = {PLACES}\n"));
    in_namespace(|| {
        let daemon = serve(program!(), &["--config", &config]);
        let others = other_addresses();
        let all = targets(port::ECHO);
        let mut crowd: Vec<TcpStream> = (0..PLACES)
            .map(|n| served(None, all[n % 2]).expect("a place is free"))
            .collect();
        let connections = || daemon.counters().expect("counters").get("connections");
        assert_eq!(connections(), PLACES as u64);
        // The table is full: each that comes later takes a place of the crowd's.
        let mut later = Vec::new();
        for (other, target) in others.into_iter().zip(all) {
            for number in 0..LATER {
                let stream = served(Some(other), target);
                later.push(stream.unwrap_or_else(|why| panic!("{other}, {number}: {why}")));
            }
        }
        let counts = daemon.counters().expect("counters");
        assert!(counts.get("connections") <= PLACES as u64);
        assert_eq!(counts.get("drop.tcp_table_full"), 0);
        let displaced = counts.get("tcp_displaced") + counts.get("tcp_idle_displaced");
        assert_eq!(displaced, 2 * LATER as u64);
        // The crowd lost these places, and no other.
        assert_eq!(alive(&mut later), 2 * LATER);
        assert_eq!(alive(&mut crowd), PLACES - 2 * LATER);
        drop((crowd, later));
        eventually("all places are free", || connections() == 0);
    });
}
