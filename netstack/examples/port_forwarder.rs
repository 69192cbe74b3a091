//! Forwards a port from one TUN device to a server behind another one, which sees the address of each client: the
//! connection to the server comes from there.
//!
//! The server's way back to the clients must lead through the second device. To try it, with the server in a namespace:
//!
//! ```text
//! target/debug/examples/port_forwarder 10.77.0.2:80 10.78.0.1:8080 &
//! ip netns add inside; ip link set t1 netns inside
//! ip netns exec inside sh -c 'ip addr add 10.78.0.1/24 dev t1; ip link set t1 up; ip route add default dev t1'
//! ip netns exec inside python3 -m http.server 8080 & curl http://10.77.0.2/
//! ```

use std::error::Error;
use std::net::{IpAddr, SocketAddr};

use netstack::device::{self, TunConfig};
use netstack::net::{Stack, TcpListener, TcpSocket, TcpStream};

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Connects to the server from the client's address and port, and copies both directions.
async fn forward(
    mut client: TcpStream,
    from: SocketAddr,
    inside: &Stack,
    to: SocketAddr,
) -> Result {
    let socket = match from {
        SocketAddr::V4(_) => TcpSocket::new_v4(inside),
        SocketAddr::V6(_) => TcpSocket::new_v6(inside),
    };
    socket.bind(from)?;
    let mut server = socket.connect(to).await?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result {
    let mut arguments = std::env::args().skip(1);
    let mut argument = || {
        arguments
            .next()
            .ok_or("usage: port_forwarder LISTEN SERVER")
    };
    let listen: SocketAddr = argument()?.parse()?;
    let server: SocketAddr = argument()?.parse()?;

    // The clients' side: the kernel has 10.77.0.1.
    let mut outer = TunConfig::new("t0");
    outer.host_v4 = Some(("10.77.0.1".parse()?, 24));
    let outside = Stack::builder()
        .address(listen.ip(), 24)
        .start(device::open(&outer)?)?;
    // The server's side: this stack answers for every address, so it may connect from any.
    let inner = device::open(&TunConfig::new("t1"))?;
    let neighbour: IpAddr = "10.78.0.2".parse()?;
    let inside = Stack::builder()
        .address(neighbour, 24)
        .any_address("0.0.0.0/0".parse()?)
        .start(inner)?;

    let listener = TcpListener::bind(&outside, listen).await?;
    println!("ready");
    loop {
        let (client, from) = listener.accept().await?;
        let inside = inside.clone();
        tokio::spawn(async move {
            if let Err(error) = forward(client, from, &inside, server).await {
                eprintln!("{from}: {error}");
            }
        });
    }
}
