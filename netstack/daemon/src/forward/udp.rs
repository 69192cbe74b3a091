//! Datagrams from one side to the other: a flow for each client, which ends when it is idle.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use netstack::net::{Stack, UdpListener, UdpSocket};
use tokio::net::UdpSocket as HostSocket;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;

use super::FLOWS_MAX;
use super::spec::Forward;
use crate::proxy::dial::Dialer;
use crate::proxy::flows::direct;

/// Time after which an idle flow ends.
const IDLE: Duration = Duration::from_secs(60);
/// Most datagrams of a flow that wait.
const WAITING_MAX: usize = 64;
/// Largest datagram.
const DATAGRAM_MAX: usize = 65_535;

/// Receives on this machine, and sends in the stack's network.
pub(super) fn publish(
    runtime: &Handle,
    stack: &Stack,
    (forward, socket): (Forward, std::net::UdpSocket),
    places: Arc<Semaphore>,
) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let _inside = runtime.enter();
    let socket = Arc::new(HostSocket::from_std(socket)?);
    runtime.spawn(distribute(stack.clone(), forward, socket, places));
    Ok(())
}

/// Gives each client's datagrams to its flow.
async fn distribute(
    stack: Stack,
    forward: Forward,
    socket: Arc<HostSocket>,
    places: Arc<Semaphore>,
) {
    let mut flows: HashMap<SocketAddr, Sender<Vec<u8>>> = HashMap::new();
    loop {
        let mut datagram = Vec::with_capacity(DATAGRAM_MAX);
        let Ok((_, client)) = socket.recv_buf_from(&mut datagram).await else {
            // An ICMP error about an earlier datagram to some client.
            tokio::task::yield_now().await;
            continue;
        };
        datagram.shrink_to_fit();
        if flows.len() >= FLOWS_MAX {
            flows.retain(|_, flow| !flow.is_closed());
        }
        if let Some(flow) = flows.get(&client)
            && !flow.is_closed()
        {
            // A flow whose datagrams are not sent loses its own and no others.
            let _ = flow.try_send(datagram);
            continue;
        }
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        let (sender, waiting) = channel(WAITING_MAX);
        let _ = sender.try_send(datagram);
        flows.insert(client, sender);
        let (stack, socket) = (stack.clone(), Arc::clone(&socket));
        tokio::spawn(async move {
            // An error of a flow ends that flow: what comes later begins a new one.
            let _ = inwards(&stack, forward, client, &socket, waiting).await;
            drop(place);
        });
    }
}

async fn inwards(
    stack: &Stack,
    forward: Forward,
    client: SocketAddr,
    socket: &HostSocket,
    mut waiting: Receiver<Vec<u8>>,
) -> io::Result<()> {
    // Nothing with a loopback address leaves a stack.
    let inner = if forward.keep_client && !client.ip().is_loopback() {
        UdpSocket::bind_connected(stack, client, forward.to)?
    } else {
        let any: IpAddr = match forward.to {
            SocketAddr::V4(_) => [0; 4].into(),
            SocketAddr::V6(_) => [0; 16].into(),
        };
        let inner = UdpSocket::bind(stack, SocketAddr::new(any, 0)).await?;
        inner.connect(forward.to).await?;
        inner
    };
    loop {
        let next = async {
            tokio::select! {
                datagram = waiting.recv() => Ok((datagram, None)),
                answer = inner.recv_payload_from() => answer.map(|(payload, _)| (None, Some(payload))),
            }
        };
        match timeout(IDLE, next).await {
            Ok(Ok((Some(datagram), _))) => {
                inner.send(&datagram).await?;
            }
            Ok(Ok((None, Some(payload)))) => {
                socket.send_to(&payload, client).await?;
            }
            Ok(Ok((None, None))) | Err(_) => return Ok(()),
            // What was sent was refused: the next one may be taken.
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Ok(Err(error)) => return Err(error),
        }
    }
}

/// Receives in the stack, and sends on this machine.
pub(super) fn expose(
    runtime: &Handle,
    stack: &Stack,
    forward: Forward,
    places: Arc<Semaphore>,
) -> io::Result<()> {
    let listener = UdpListener::bind(stack, forward.listen)?;
    listener.set_idle_timeout(Some(IDLE));
    runtime.spawn(async move {
        while let Ok((flow, client)) = listener.accept().await {
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                continue;
            };
            tokio::spawn(async move {
                if let Ok(socket) = Dialer::default().udp(forward.to).await {
                    let _ = direct(&flow, client, &socket).await;
                }
                drop(place);
            });
        }
    });
    Ok(())
}
