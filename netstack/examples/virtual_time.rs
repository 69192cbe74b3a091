//! Tests a protocol of one's own under loss, on virtual time: a second of the network takes no second, and a run
//! repeats exactly from its seeds.
//!
//! ```text
//! cargo run -p netstack --example virtual_time
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use netstack::base::{Config, Instant};
use netstack::device::Device as _;
use netstack::device::memory::{Impairment, LinkConfig, LinkDevice, pair};
use netstack::engine::sim::Simulation;
use netstack::net::{Stack, TcpListener, TcpStream};
use netstack::stack::Host;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The protocol under test: numbers in both directions, the answer is the square.
async fn serve(listener: TcpListener) -> std::io::Result<()> {
    let (mut stream, _) = listener.accept().await?;
    loop {
        let number = stream.read_u32().await?;
        stream.write_u64(u64::from(number).pow(2)).await?;
    }
}

async fn ask(stream: &mut TcpStream, number: u32) -> std::io::Result<u64> {
    stream.write_u32(number).await?;
    stream.read_u64().await
}

fn add(
    sim: &mut Simulation,
    device: LinkDevice,
    last: u8,
) -> Result<(Stack, usize), Box<dyn std::error::Error>> {
    let address = ([10, 77, 0, last].into(), 24);
    let host = Host::new(Config::default(), &[address], device.caps(), 1, [last; 32])?;
    let place = sim.add(&host, 0, device);
    Ok((Stack::from_host(host), place))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let lossy = Impairment {
        loss_ppm: 50_000,
        delay: Duration::from_millis(40),
        ..Impairment::default()
    };
    let (a, b) = pair(&LinkConfig {
        a_to_b: lossy.clone(),
        b_to_a: lossy,
        seed: 7,
        ..LinkConfig::default()
    });
    let start = Instant::from_millis(1);
    let mut sim = Simulation::new(start);
    let (client, client_place) = add(&mut sim, a, 1)?;
    let (server, server_place) = add(&mut sim, b, 2)?;

    let listener = TcpListener::bind_now(&server, "10.77.0.2:4000")?;
    sim.spawn(
        server_place,
        Box::pin(async move { drop(serve(listener).await) }),
    );
    let answers = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&answers);
    sim.spawn(
        client_place,
        Box::pin(async move {
            let Ok(mut stream) = TcpStream::connect(&client, "10.77.0.2:4000").await else {
                return;
            };
            for number in 0..100 {
                assert_eq!(
                    ask(&mut stream, number).await.ok(),
                    Some(u64::from(number).pow(2))
                );
                count.fetch_add(1, Ordering::Relaxed);
            }
        }),
    );
    let limit = start + Duration::from_secs(600);
    while answers.load(Ordering::Relaxed) < 100 && sim.now() < limit {
        sim.step(limit)?;
    }
    let took = sim.now().saturating_since(start);
    println!(
        "{} answers in {took:.3?} of virtual time",
        answers.load(Ordering::Relaxed)
    );
    assert_eq!(answers.load(Ordering::Relaxed), 100);
    Ok(())
}
