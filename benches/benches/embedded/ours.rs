//! Our stack over its packet channel, driven as a future in the program's runtime.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use benches::server::ECHO;
use bytes::BytesMut;
use netstack::device::channel::{ChannelConfig, Framing, PacketReceiver, PacketSender, channel};
use netstack::net::{Stack, TcpListener, UdpSocket};

use crate::carrier::{BATCH, MTU, Reader, SUPER_BATCH, Served, Tun, Writer};
use crate::{STACK, service, services};

/// Bytes of a piece of memory for packets.
const MEMORY_BYTES: usize = 64 << 10;

/// Time for which a driver that may look for packets does.
const BUSY_POLL: Duration = Duration::from_micros(60);

/// Serves behind `tun`, with bare packets.
pub(crate) fn serve(tun: Tun) -> Served {
    Box::pin(run(tun, Framing::Bare, Duration::ZERO))
}

/// Serves behind `tun`, with bare packets, for which the driver looks before it waits.
pub(crate) fn serve_busy(tun: Tun) -> Served {
    Box::pin(run(tun, Framing::Bare, BUSY_POLL))
}

/// Serves behind `tun`, with super-packets as the kernel makes them.
pub(crate) fn serve_framed(tun: Tun) -> Served {
    Box::pin(run(tun, Framing::VirtioNet, Duration::ZERO))
}

async fn run(tun: Tun, framing: Framing, busy_poll: Duration) -> Result<()> {
    let (device, pipe) = channel(ChannelConfig {
        mtu: MTU,
        framing,
        ..ChannelConfig::default()
    });
    let (stack, drivers) = Stack::builder()
        .address(STACK.into(), 24)
        .drive(vec![Box::new(device)])?;
    for driver in drivers {
        tokio::spawn(driver.busy_poll(busy_poll));
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
    tokio::spawn(echo_datagrams(socket));
    let (reader, writer) = tun.attach()?;
    let (from_stack, to_stack) = pipe.into_split();
    let (out, into) = match framing {
        Framing::Bare => (
            tokio::spawn(carry_out(writer, from_stack)),
            tokio::spawn(carry_in(reader, to_stack)),
        ),
        Framing::VirtioNet => (
            tokio::spawn(carry_framed_out(writer, from_stack)),
            tokio::spawn(carry_framed_in(reader, to_stack)),
        ),
    };
    tokio::select! { ended = out => ended?, ended = into => ended? }
}

/// Serves behind the device itself, which the stack reads and writes with threads of its own, by tasks of the runtime.
pub(crate) fn serve_by_tasks(tun: Tun) -> Served {
    Box::pin(run_by_device(tun, false))
}

/// The same by tasks on the workers of the stack.
pub(crate) fn serve_by_workers(tun: Tun) -> Served {
    Box::pin(run_by_device(tun, true))
}

async fn run_by_device(tun: Tun, on_workers: bool) -> Result<()> {
    let devices = netstack::device::from_fds(vec![tun.descriptor()?], MTU)?;
    let stack = Stack::builder().address(STACK.into(), 24).start(devices)?;
    let mut serving = Vec::new();
    for port in services::PORTS {
        let listener = TcpListener::bind(&stack, service(port)).await?;
        if on_workers {
            serving.push(listener.serve(move |stream, _| async move {
                let _ = services::serve(port, stream).await;
            })?);
        } else {
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    services::spawn(port, stream);
                }
            });
        }
    }
    let echo = echo_datagrams(UdpSocket::bind(&stack, service(ECHO)).await?);
    if on_workers {
        stack.spawn_on(0, echo);
    } else {
        tokio::spawn(echo);
    }
    stack.closed().await;
    drop((serving, tun));
    bail!("the stack ended")
}

async fn echo_datagrams(socket: UdpSocket) {
    let mut room = [0; 2_048];
    while let Ok((len, from)) = socket.recv_from(&mut room).await {
        let _ = socket.send_to(&room[..len], from).await;
    }
}

async fn carry_in(mut reader: Reader, mut to_stack: PacketSender) -> Result<()> {
    let mut batch = Vec::with_capacity(BATCH);
    // Packets share pieces of memory, which are used again when the stack has taken them.
    let mut memory = BytesMut::with_capacity(MEMORY_BYTES);
    loop {
        reader
            .read(|packet| {
                // Takes new memory of the length that it began with.
                memory.reserve(packet.len());
                memory.extend_from_slice(packet);
                batch.push(memory.split().freeze());
            })
            .await?;
        while !batch.is_empty() {
            to_stack
                .send_many(&mut batch)
                .await
                .context("the stack ended")?;
        }
    }
}

async fn carry_out(mut writer: Writer, mut from_stack: PacketReceiver) -> Result<()> {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        if from_stack.recv_many(&mut batch, BATCH).await == 0 {
            bail!("the stack ended");
        }
        writer.write(batch.drain(..))?;
    }
}

async fn carry_framed_in(mut reader: Reader, mut to_stack: PacketSender) -> Result<()> {
    let mut batch = Vec::with_capacity(SUPER_BATCH);
    loop {
        reader
            .read_framed(|read| {
                let mut buffer = to_stack.packet_buffer();
                let Some(len) = read(&mut buffer)? else {
                    return Ok(false);
                };
                buffer.truncate(len);
                batch.push(buffer);
                Ok(true)
            })
            .await?;
        while !batch.is_empty() {
            to_stack
                .send_buffers(&mut batch)
                .await
                .context("the stack ended")?;
        }
    }
}

async fn carry_framed_out(mut writer: Writer, mut from_stack: PacketReceiver) -> Result<()> {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        if from_stack.recv_many(&mut batch, BATCH).await == 0 {
            bail!("the stack ended");
        }
        writer.write_framed(batch.drain(..))?;
    }
}
