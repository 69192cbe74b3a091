//! Two hosts with a tunnel between them: IP packets in UDP datagrams on loopback, everything on one thread.
//!
//! A VPN would encrypt where this program only sends. It needs neither root nor a TUN device:
//!
//! ```text
//! cargo run -p netstack --example tunnel
//! ```

use netstack::device::channel::{ChannelConfig, PacketPipe, channel};
use netstack::net::{Stack, TcpListener, TcpStream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UdpSocket;

/// Starts a stack in this runtime; returns it with the other end of its device.
fn host(address: &str) -> Result<(Stack, PacketPipe), Box<dyn std::error::Error>> {
    let (device, pipe) = channel(ChannelConfig::default());
    let (stack, drivers) = Stack::builder()
        .address(address.parse()?, 24)
        .drive(vec![Box::new(device)])?;
    for driver in drivers {
        tokio::spawn(driver);
    }
    Ok((stack, pipe))
}

/// Carries the packets of a stack over a connected socket, one in each datagram.
async fn carry(pipe: PacketPipe, socket: UdpSocket) -> std::io::Result<()> {
    let (mut from_stack, mut to_stack) = pipe.into_split();
    let out = async {
        while let Some(packet) = from_stack.recv().await {
            socket.send(&packet).await?;
        }
        Ok(())
    };
    let into = async {
        let mut packets = Vec::new();
        loop {
            // Received into memory of the stack, which does not copy it again.
            let mut packet = to_stack.packet_buffer();
            let len = socket.recv(&mut packet).await?;
            packet.truncate(len);
            packets.push(packet);
            // A packet that does not fit is lost, as in any network.
            let _ = to_stack.try_send_buffers(&mut packets);
            packets.clear();
        }
    };
    tokio::select! { done = out => done, done = into => done }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (client, client_pipe) = host("10.77.0.1")?;
    let (server, server_pipe) = host("10.77.0.2")?;
    let (a, b) = (
        UdpSocket::bind("127.0.0.1:0").await?,
        UdpSocket::bind("127.0.0.1:0").await?,
    );
    a.connect(b.local_addr()?).await?;
    b.connect(a.local_addr()?).await?;
    tokio::spawn(carry(client_pipe, a));
    tokio::spawn(carry(server_pipe, b));

    let listener = TcpListener::bind(&server, "10.77.0.2:7").await?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (mut read, mut write) = stream.into_split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
        }
    });
    let mut stream = TcpStream::connect(&client, "10.77.0.2:7").await?;
    stream.write_all(b"through the tunnel").await?;
    stream.shutdown().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    println!("{answer}");
    Ok(())
}
