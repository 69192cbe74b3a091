//! Takes every TCP connection that enters a TUN device to a SOCKS5 proxy.
//!
//! The client's handshake waits until the proxy has connected: what the proxy cannot reach is refused with a reset, as the
//! destination itself would do. Routes decide what enters:
//!
//! ```text
//! SOCKS_PROXY=127.0.0.1:1080 cargo run -p ecosystem --example tun2socks &
//! ip route add 203.0.113.0/24 dev t0
//! curl http://203.0.113.9/
//! ```

use std::error::Error;
use std::net::SocketAddr;

use fast_socks5::client::{Config, Socks5Stream};
use netstack::device::{self, TunConfig};
use netstack::net::{Destinations, Stack, Syn, SynListener};

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Connects to the destination that the client chose, and then to the client.
async fn forward(syn: Syn, proxy: SocketAddr) -> Result {
    let to = syn.info().local;
    let host = to.ip().to_string();
    let server = Socks5Stream::connect(proxy, host, to.port(), Config::default()).await;
    let mut server = match server {
        Ok(server) => server,
        Err(error) => {
            syn.refuse();
            return Err(format!("{to}: {error}").into());
        }
    };
    let mut client = syn.accept().await?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result {
    let proxy = std::env::var("SOCKS_PROXY").unwrap_or("127.0.0.1:1080".to_owned());
    let proxy = proxy.parse()?;
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
    let listener = SynListener::bind_any(&stack, everything)?;
    println!("ready");
    loop {
        let syn = listener.next().await?;
        tokio::spawn(async move {
            if let Err(error) = forward(syn, proxy).await {
                eprintln!("{error}");
            }
        });
    }
}
