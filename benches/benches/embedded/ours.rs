//! Our stack over its packet channel, driven as a future in the program's runtime.

use anyhow::{Context as _, Result, bail};
use benches::server::ECHO;
use bytes::Bytes;
use netstack::device::channel::{ChannelConfig, PacketReceiver, PacketSender, channel};
use netstack::net::{Stack, TcpListener, UdpSocket};

use crate::carrier::{BATCH, Carrier, MTU, Served, Tun};
use crate::{STACK, service, services};

/// Serves behind `tun`.
pub(crate) fn serve(tun: Tun) -> Served {
    Box::pin(run(tun))
}

async fn run(tun: Tun) -> Result<()> {
    let (device, pipe) = channel(ChannelConfig {
        mtu: MTU,
        ..ChannelConfig::default()
    });
    let (stack, drivers) = Stack::builder()
        .address(STACK.into(), 24)
        .drive(vec![Box::new(device)])?;
    for driver in drivers {
        tokio::spawn(driver);
    }
    for port in services::PORTS {
        let listener = TcpListener::bind(&stack, service(port)).await?;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                services::spawn(port, stream);
            }
        });
    }
    let socket = UdpSocket::bind(&stack, service(ECHO)).await?;
    tokio::spawn(async move {
        let mut room = [0; 2_048];
        while let Ok((len, from)) = socket.recv_from(&mut room).await {
            let _ = socket.send_to(&room[..len], from).await;
        }
    });
    let carrier = tun.attach()?;
    let (from_stack, to_stack) = pipe.into_split();
    let out = tokio::spawn(carry_out(carrier.clone(), from_stack));
    let into = tokio::spawn(carry_in(carrier, to_stack));
    tokio::select! { ended = out => ended?, ended = into => ended? }
}

async fn carry_in(carrier: Carrier, mut to_stack: PacketSender) -> Result<()> {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        carrier
            .read(|packet| batch.push(Bytes::copy_from_slice(packet)))
            .await?;
        while !batch.is_empty() {
            to_stack
                .send_many(&mut batch)
                .await
                .context("the stack ended")?;
        }
    }
}

async fn carry_out(carrier: Carrier, mut from_stack: PacketReceiver) -> Result<()> {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        if from_stack.recv_many(&mut batch, BATCH).await == 0 {
            bail!("the stack ended");
        }
        for packet in batch.drain(..) {
            carrier.write(&packet)?;
        }
    }
}
