//! The stacks of others that are written in Rust: netstack-smoltcp and ipstack.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use futures::{SinkExt as _, StreamExt as _};
use ipstack::{IpStack, IpStackConfig, IpStackStream, TcpConfig, TcpOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::carrier::{BATCH, MTU, Served, Tun, Whole};
use crate::services;

/// Serves behind `tun` with netstack-smoltcp.
pub(crate) fn serve_smoltcp(tun: Tun) -> Served {
    Box::pin(run_smoltcp(tun))
}

async fn run_smoltcp(tun: Tun) -> Result<()> {
    let (stack, runner, udp, tcp) = netstack_smoltcp::StackBuilder::default()
        .enable_tcp(true)
        .enable_udp(true)
        .enable_icmp(true)
        .mtu(MTU.into())
        .build()?;
    tokio::spawn(runner.context("no runner")?);
    let mut listener = tcp.context("no listener")?;
    tokio::spawn(async move {
        while let Some((stream, _, to)) = listener.next().await {
            services::spawn(to.port(), stream);
        }
    });
    let (mut datagrams, mut answers) = udp.context("no UDP")?.split();
    tokio::spawn(async move {
        while let Some((payload, from, to)) = datagrams.next().await {
            let _ = answers.send((payload, to, from)).await;
        }
    });
    let (mut reader, mut writer) = tun.attach()?;
    let (mut to_stack, from_stack) = stack.split();
    let out = tokio::spawn(async move {
        let mut batches = from_stack.ready_chunks(BATCH);
        while let Some(batch) = batches.next().await {
            let batch: Result<Vec<_>, _> = batch.into_iter().collect();
            writer.write(batch?)?;
        }
        Ok::<(), anyhow::Error>(())
    });
    let into = tokio::spawn(async move {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            reader.read(|packet| batch.push(packet.to_vec())).await?;
            for packet in batch.drain(..) {
                // What the stack does not take, such as multicast, is lost.
                let _ = to_stack.feed(packet).await;
            }
            let _ = to_stack.flush().await;
        }
    });
    tokio::select! { ended = out => ended?, ended = into => ended? }
}

/// Serves behind `tun` with ipstack, which reads and writes the device itself.
pub(crate) fn serve_ipstack(tun: Tun) -> Served {
    Box::pin(run_ipstack(tun))
}

async fn run_ipstack(tun: Tun) -> Result<()> {
    let mut config = IpStackConfig::default();
    config.mtu(MTU)?;
    let mut tcp = TcpConfig::default();
    tcp.options = Some(vec![TcpOptions::MaximumSegmentSize(MTU - 40)]);
    config.tcp_config = Arc::new(tcp);
    let mut stack = IpStack::new(config, Whole::new(tun.attach()?));
    loop {
        match stack.accept().await? {
            IpStackStream::Tcp(stream) => services::spawn(stream.peer_addr().port(), stream),
            IpStackStream::Udp(mut flow) => {
                tokio::spawn(async move {
                    let mut room = [0; 2_048];
                    while let Ok(len) = flow.read(&mut room).await {
                        if len == 0 || flow.write_all(&room[..len]).await.is_err() {
                            return;
                        }
                    }
                });
            }
            IpStackStream::UnknownTransport(_) | IpStackStream::UnknownNetwork(_) => {}
        }
    }
}
