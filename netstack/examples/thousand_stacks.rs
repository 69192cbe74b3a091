//! A stack of its own for each of 1,000 clients, on one thread: a gateway in which no client sees another.
//!
//! ```text
//! cargo run --release -p netstack --example thousand_stacks
//! ```

use netstack::base::Instant;
use netstack::device::channel::{ChannelConfig, PacketPipe, channel};
use netstack::net::{Stack, Turns, UdpSocket};

const CLIENTS: u16 = 1_000;
/// Most memory of one stack, its packet channel and its driver.
const MOST_BYTES: usize = 64 << 10;

/// The gateway's state for one client.
struct Client {
    stack: Stack,
    turns: Vec<Turns>,
    /// The tunnel to the client.
    pipe: PacketPipe,
}

fn client() -> Result<Client, Box<dyn std::error::Error>> {
    let (device, pipe) = channel(ChannelConfig::default());
    // Every client may use the same addresses: its stack is another one.
    let (stack, turns) = Stack::builder()
        .address("10.77.0.2".parse()?, 24)
        .manual(vec![Box::new(device)], Instant::from_millis(1))?;
    Ok(Client { stack, turns, pipe })
}

/// Returns the resident memory of this process, in bytes.
fn resident_bytes() -> Result<usize, Box<dyn std::error::Error>> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let resident = pages.split(' ').nth(1).ok_or("no second field")?;
    Ok(resident.parse::<usize>()? * 4_096)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let before = resident_bytes()?;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(client()?);
    }
    let each = (resident_bytes()? - before) / usize::from(CLIENTS);
    println!("{CLIENTS} stacks, one thread, {each} bytes each");
    assert!(each <= MOST_BYTES, "{each} bytes for one stack");

    // Each of them sends something of its own to its client.
    for (number, client) in (1u16..).zip(&mut clients) {
        let socket = UdpSocket::bind_now(&client.stack, "10.77.0.2:53")?;
        socket.try_send_to(b"hello", ([10, 77, 0, 9], number).into())?;
        for worker in &mut client.turns {
            while worker.turn(Instant::from_millis(2))?.busy {}
        }
        let packet = client.pipe.try_recv().ok_or("no packet")?;
        assert_eq!(packet.get(22..24), Some(&number.to_be_bytes()[..]));
        assert_eq!(packet.get(28..), Some(&b"hello"[..]));
    }
    Ok(())
}
