//! Tests a protocol of one's own under loss, on virtual time: a second of the network takes no second, and a run
//! repeats exactly from its seeds.
//!
//! ```text
//! cargo run -p netstack --example virtual_time
//! ```

use std::time::Duration;

use netstack::base::{Config, Instant};
use netstack::device::Device as _;
use netstack::device::memory::{Impairment, LinkConfig, LinkDevice, pair};
use netstack::engine::sim::Simulation;
use netstack::net::{Stack, TcpListener, TcpStream};
use netstack::stack::Host;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(30);

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
    let (server, _) = add(&mut sim, b, 2)?;

    let listener = TcpListener::bind_now(&server, "10.77.0.2:4000")?;
    server.spawn_on(0, async move { drop(serve(listener).await) });
    // Without this handle, the stack would end with the task of the client.
    let stack = client.clone();
    sim.spawn(client_place, async move {
        let time = stack.time();
        let mut stream = TcpStream::connect(&stack, "10.77.0.2:4000")
            .await
            .expect("a connection");
        for number in 0..100 {
            // The protocol's own timer knows the virtual time.
            let answer = time.timeout(PATIENCE, ask(&mut stream, number)).await;
            let answer = answer.expect("an answer in time").expect("an answer");
            assert_eq!(answer, u64::from(number).pow(2));
        }
    });
    // Fails if the task panics, or has not ended after ten minutes.
    sim.run(start + Duration::from_secs(600))?;
    let took = sim.now().saturating_since(start);
    println!("100 answers in {took:.3?} of virtual time");
    Ok(())
}
