//! A transparent TCP forwarder: every connection that enters the TUN device is made again by the host, to the
//! destination that the client chose.
//!
//! Routes decide what enters: `ip route add 203.0.113.0/24 dev t0`. The host must reach the destination by another
//! way than the device; `FORWARD_TO` names an address at which it is reached instead. To try it in a namespace
//! of its own:
//!
//! ```text
//! unshare --user --map-root-user --net sh -c '
//!     ip link set lo up; python3 -m http.server -b 127.0.0.1 8000 & FORWARD_TO=127.0.0.1 target/debug/examples/forward &
//!     sleep 1; ip route add 203.0.113.0/24 dev t0; curl http://203.0.113.9:8000/; kill $(jobs -p)'
//! ```

use std::net::{IpAddr, SocketAddr};

use netstack::device::{self, TunConfig};
use netstack::net::{Destinations, Stack, TcpListener, TcpStream};
use tokio::io::AsyncWriteExt as _;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let instead = std::env::var("FORWARD_TO").ok();
    let instead: Option<IpAddr> = instead.map(|text| text.parse()).transpose()?;
    let mut tun = TunConfig::new("t0");
    tun.host_v4 = Some(("10.77.0.1".parse()?, 24));
    let stack = Stack::builder()
        .address("10.77.0.2".parse()?, 24)
        .any_address("0.0.0.0/0".parse()?)
        .start(device::open(&tun)?)?;

    let everything = Destinations {
        prefixes: vec!["0.0.0.0/0".parse()?],
        ports: 1..=u16::MAX,
    };
    let listener = TcpListener::bind_any(&stack, everything)?;
    println!("ready");
    loop {
        let (client, _) = listener.accept().await?;
        let mut destination = client.local_addr()?;
        destination.set_ip(instead.unwrap_or(destination.ip()));
        tokio::spawn(async move {
            if let Err(error) = forward(client, destination).await {
                eprintln!("{destination}: {error}");
            }
        });
    }
}

/// Copies both directions. The end of one does not end the other.
async fn forward(client: TcpStream, destination: SocketAddr) -> std::io::Result<()> {
    let server = tokio::net::TcpStream::connect(destination).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        tokio::io::copy(&mut from_client, &mut to_server).await?;
        to_server.shutdown().await
    };
    let down = async {
        tokio::io::copy(&mut from_server, &mut to_client).await?;
        to_client.shutdown().await
    };
    tokio::try_join!(up, down)?;
    Ok(())
}
