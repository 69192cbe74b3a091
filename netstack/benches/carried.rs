//! Measures packets that a program carries itself: two stacks whose packet channels are joined by a task.
//!
//! With `threads` each stack has a thread of its own; with `drivers` stacks, services and the task that
//! carries run on one thread of tokio's. Both ends are measured together, so the figures are for comparison with each
//! other, not with those of one stack.

use std::net::SocketAddr;
use std::time::Duration;

use netstack::device::Device;
use netstack::device::channel::{ChannelConfig, PacketPipe, channel};
use netstack::engine::clock::Clock;
use netstack::net::{Stack, StackBuilder, TcpListener, TcpStream, UdpSocket};
use packet::Payload;

fn address(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 77, 0, host], port))
}

fn end(host: u8) -> (StackBuilder, Vec<Box<dyn Device>>, PacketPipe) {
    let (device, pipe) = channel(ChannelConfig::default());
    let builder = Stack::builder().address(address(host, 0).ip(), 24);
    (builder, vec![Box::new(device)], pipe)
}

fn make(host: u8, driven: bool) -> (Stack, PacketPipe) {
    let (builder, devices, pipe) = end(host);
    if !driven {
        return (builder.start(devices).expect("a stack"), pipe);
    }
    let (stack, drivers) = builder.drive(devices).expect("a stack");
    for driver in drivers {
        tokio::spawn(driver);
    }
    (stack, pipe)
}

fn carry(a: PacketPipe, b: PacketPipe) {
    let ((from_a, to_a), (from_b, to_b)) = (a.into_split(), b.into_split());
    for (mut from, mut to) in [(from_a, to_b), (from_b, to_a)] {
        tokio::spawn(async move {
            while let Some(packet) = from.recv().await {
                if to.send(packet).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// Returns the time since the clock was started.
fn elapsed(clock: Clock) -> Duration {
    clock.now().saturating_since(netstack::base::Instant::ZERO)
}

async fn bulk(client: &Stack, server: &Stack, length: Duration) -> f64 {
    let listener = TcpListener::bind_now(server, address(2, 9)).expect("bind");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accept");
        while let Ok(Some(_)) = stream.recv_payload().await {}
    });
    let mut stream = TcpStream::connect(client, address(2, 9))
        .await
        .expect("connect");
    let piece = Payload::from(bytes::Bytes::from(vec![7_u8; 64 << 10]));
    let (clock, mut sent) = (Clock::start(), 0_u64);
    while elapsed(clock) < length {
        stream.send_payload(piece.clone()).await.expect("send");
        sent += piece.len() as u64;
    }
    sent as f64 * 8.0 / elapsed(clock).as_secs_f64() / 1e9
}

async fn round_trips(client: &Stack, server: &Stack, length: Duration) -> f64 {
    let theirs = UdpSocket::bind_now(server, address(2, 7)).expect("bind");
    tokio::spawn(async move {
        while let Ok((payload, from)) = theirs.recv_payload_from().await {
            let _ = theirs.send_payload_to(payload, from).await;
        }
    });
    let ours = UdpSocket::bind_now(client, address(1, 0)).expect("bind");
    let (clock, mut count, mut buffer) = (Clock::start(), 0_u32, [0; 64]);
    while elapsed(clock) < length {
        ours.send_to(&[0; 64], address(2, 7)).await.expect("send");
        ours.recv_from(&mut buffer).await.expect("receive");
        count += 1;
    }
    elapsed(clock).as_secs_f64() * 1e6 / f64::from(count)
}

async fn measure(driven: bool, length: Duration) -> (f64, f64) {
    let (client, a) = make(1, driven);
    let (server, b) = make(2, driven);
    carry(a, b);
    let gigabits = bulk(&client, &server, length).await;
    let micros = round_trips(&client, &server, length).await;
    (gigabits, micros)
}

fn main() {
    let length = Duration::from_millis(500);
    // `cargo test` and `cargo bench` pass flags of their own; nothing is asked of them.
    for round in 1..=5 {
        for driven in [false, true] {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build();
            let (gigabits, micros) = runtime
                .expect("a runtime")
                .block_on(measure(driven, length));
            let name = if driven { "drivers" } else { "threads" };
            println!(
                "round {round}, {name}: TCP {gigabits:.2} Gb/s, UDP round trip {micros:.1} µs"
            );
        }
    }
}
