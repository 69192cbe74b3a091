//! A WireGuard client that needs neither root nor a TUN device: programs reach the tunnel through a SOCKS5 proxy.
//!
//! ```text
//! export WG_PRIVATE_KEY=… WG_PEER_KEY=… WG_ENDPOINT=198.51.100.1:51820 WG_ADDRESS=10.77.0.1
//! cargo run -p ecosystem --example wireguard    # prints the address of the proxy
//! curl --socks5 127.0.0.1:1080 http://10.77.0.2/
//! ```
//!
//! The stack, the tunnel and the proxy run on one thread.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use fast_socks5::server::Socks5ServerProtocol;
use fast_socks5::util::target_addr::TargetAddr;
use fast_socks5::{ReplyError, Socks5Command};
use netstack::device::channel::{ChannelConfig, PacketPipe, channel};
use netstack::net::{Stack, TcpStream};
use tokio::net::{TcpListener, UdpSocket};

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Time between two looks at WireGuard's timers.
const TICK: Duration = Duration::from_millis(250);
/// Longest datagram.
const DATAGRAM_BYTES: usize = 65_536;

fn setting(name: &str) -> Result<String> {
    std::env::var(name).map_err(|_| format!("set the variable {name}").into())
}

fn key(name: &str) -> Result<[u8; 32]> {
    let bytes = BASE64_STANDARD.decode(setting(name)?)?;
    let key = bytes.try_into();
    key.map_err(|_| format!("{name} is not a key of 32 bytes").into())
}

/// Carries the packets of the stack in WireGuard's datagrams. What the network loses or refuses is lost.
async fn carry(pipe: PacketPipe, socket: UdpSocket, mut tunnel: Tunn) -> Result {
    let (mut from_stack, mut to_stack) = pipe.into_split();
    let mut received = vec![0; DATAGRAM_BYTES];
    let mut made = vec![0; DATAGRAM_BYTES];
    let mut ticks = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            packet = from_stack.recv() => {
                let packet = packet.ok_or("the stack ended")?;
                if let TunnResult::WriteToNetwork(datagram) = tunnel.encapsulate(&packet, &mut made) {
                    let _ = socket.send(datagram).await;
                }
            }
            len = socket.recv(&mut received) => {
                let mut datagram = received.get(..len.unwrap_or(0)).unwrap_or(&[]);
                loop {
                    match tunnel.decapsulate(None, datagram, &mut made) {
                        TunnResult::WriteToNetwork(answer) => {
                            let _ = socket.send(answer).await;
                            // There may be more to send: packets that waited for the handshake.
                            datagram = &[];
                        }
                        TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => {
                            let _ = to_stack.try_send(packet.to_vec());
                            break;
                        }
                        TunnResult::Done | TunnResult::Err(_) => break,
                    }
                }
            }
            _ = ticks.tick() => {
                if let TunnResult::WriteToNetwork(datagram) = tunnel.update_timers(&mut made) {
                    let _ = socket.send(datagram).await;
                }
            }
        }
    }
}

/// Serves one client of the proxy: connects to what it asks for, on the other side of the tunnel.
async fn serve(client: tokio::net::TcpStream, stack: Stack) -> Result {
    let greeted = Socks5ServerProtocol::accept_no_auth(client).await?;
    let (asked, command, target) = greeted.read_command().await?;
    if command != Socks5Command::TCPConnect {
        asked.reply_error(&ReplyError::CommandNotSupported).await?;
        return Ok(());
    }
    let TargetAddr::Ip(target) = target else {
        // Names are the client's: `curl --socks5`, not `--socks5-hostname`.
        asked
            .reply_error(&ReplyError::AddressTypeNotSupported)
            .await?;
        return Ok(());
    };
    match TcpStream::connect(&stack, target).await {
        Ok(mut server) => {
            let mut client = asked.reply_success(server.local_addr()?).await?;
            tokio::io::copy_bidirectional(&mut client, &mut server).await?;
        }
        Err(_) => asked.reply_error(&ReplyError::HostUnreachable).await?,
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result {
    let private = StaticSecret::from(key("WG_PRIVATE_KEY")?);
    let peer = PublicKey::from(key("WG_PEER_KEY")?);
    let endpoint: SocketAddr = setting("WG_ENDPOINT")?.parse()?;
    let address = setting("WG_ADDRESS")?.parse()?;
    let socks = setting("SOCKS_LISTEN").unwrap_or("127.0.0.1:1080".to_owned());

    let (device, pipe) = channel(ChannelConfig::default());
    let (stack, drivers) = Stack::builder()
        .address(address, 24)
        .drive(vec![Box::new(device)])?;
    for driver in drivers {
        tokio::spawn(driver);
    }
    let wildcard = if endpoint.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(wildcard).await?;
    socket.connect(endpoint).await?;
    let carried = carry(
        pipe,
        socket,
        Tunn::new(private, peer, None, Some(25), 0, None),
    );

    let proxy = TcpListener::bind(socks).await?;
    println!("SOCKS5 proxy at {}", proxy.local_addr()?);
    let served = async {
        loop {
            let (client, _) = proxy.accept().await?;
            let stack = stack.clone();
            tokio::spawn(async move {
                if let Err(error) = serve(client, stack).await {
                    eprintln!("{error}");
                }
            });
        }
    };
    tokio::select! { ended = carried => ended, ended = served => ended }
}
