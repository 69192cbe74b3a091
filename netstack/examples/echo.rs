//! A host behind a TUN device: it answers ping at 10.77.0.2 and echoes TCP on port 7.

use netstack::device::{self, TunConfig};
use netstack::net::{Stack, TcpListener};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The kernel gets 10.77.0.1 on the device, and with it a route to the stack.
    let mut tun = TunConfig::new("t0");
    tun.host_v4 = Some(("10.77.0.1".parse()?, 24));
    let devices = device::open(&tun)?;

    // The stack answers ping as soon as it has started.
    let stack = Stack::builder()
        .address("10.77.0.2".parse()?, 24)
        .start(devices)?;

    // From here on as with tokio, with a stack where tokio has the kernel.
    let listener = TcpListener::bind(&stack, "10.77.0.2:7").await?;
    loop {
        let (stream, _peer) = listener.accept().await?;
        tokio::spawn(async move {
            let (mut read, mut write) = stream.into_split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
        });
    }
}
