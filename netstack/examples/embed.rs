//! A program that carries packets itself, such as a tunnel, and serves TCP over them, without kernel
//! sockets, a TUN device or root.
//!
//! The "tunnel" here forwards packets between two stacks in one process; a real one would send the packets
//! in datagrams of its own.

use std::io;
use std::net::SocketAddr;

use netstack::device::channel::{ChannelConfig, PacketPipe, channel};
use netstack::net::{Stack, TcpListener, TcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn stack(address: &str) -> io::Result<(Stack, PacketPipe)> {
    let (device, pipe) = channel(ChannelConfig::default());
    let stack = Stack::builder()
        .address(address.parse().map_err(io::Error::other)?, 24)
        .start(vec![Box::new(device)])
        .map_err(io::Error::other)?;
    Ok((stack, pipe))
}

/// Forwards packets in both directions until one end closes.
async fn tunnel(a: PacketPipe, b: PacketPipe) {
    let (mut from_a, mut to_a) = a.into_split();
    let (mut from_b, mut to_b) = b.into_split();
    let there = async {
        while let Some(packet) = from_a.recv().await
            && to_b.send(packet).await.is_ok()
        {}
    };
    let back = async {
        while let Some(packet) = from_b.recv().await
            && to_a.send(packet).await.is_ok()
        {}
    };
    tokio::join!(there, back);
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let (client, a) = stack("10.77.0.1")?;
    let (server, b) = stack("10.77.0.2")?;
    tokio::spawn(tunnel(a, b));

    // As with tokio's sockets, but with a stack as the first argument.
    let address: SocketAddr = "10.77.0.2:7".parse().map_err(io::Error::other)?;
    let listener = TcpListener::bind(&server, address).await?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.into_split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });

    let mut stream = TcpStream::connect(&client, address).await?;
    stream.write_all(b"through two stacks and back").await?;
    stream.shutdown().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    println!("{answer}");
    Ok(())
}
