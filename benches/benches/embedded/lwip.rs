//! lwIP, by the bindings that the crate `lwip` has. There is one in a process: its state is global.

use anyhow::{Context as _, Result};
use futures::{SinkExt as _, StreamExt as _};
use lwip::NetStack;

use crate::carrier::{BATCH, Served, Tun};
use crate::services;

/// Serves behind `tun`.
pub(crate) fn serve(tun: Tun) -> Served {
    Box::pin(run(tun))
}

async fn run(tun: Tun) -> Result<()> {
    let (stack, mut listener, udp) = NetStack::new().context("lwIP")?;
    tokio::spawn(async move {
        while let Some((stream, _, to)) = listener.next().await {
            services::spawn(to.port(), stream);
        }
    });
    let (answers, mut datagrams) = udp.split();
    tokio::spawn(async move {
        while let Ok((payload, from, to)) = datagrams.recv_from().await {
            let _ = answers.send_to(&payload, &to, &from);
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
                let _ = to_stack.feed(packet).await;
            }
            let _ = to_stack.flush().await;
        }
    });
    tokio::select! { ended = out => ended?, ended = into => ended? }
}
