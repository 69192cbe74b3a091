//! Datagrams from one side to the other: a flow for each client, which ends when it is idle.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use netstack::net::{UdpListener, UdpSocket};
use tokio::net::UdpSocket as MachineSocket;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;

use super::{FLOWS_MAX, Port};
use crate::proxy::dial::Dialer;
use crate::proxy::flows::direct;

/// Time after which an idle flow ends.
const IDLE: Duration = Duration::from_secs(60);
/// Most datagrams of a flow that wait.
const WAITING_MAX: usize = 64;
/// Largest datagram.
const DATAGRAM_MAX: usize = 65_535;

/// Receives on this machine, and sends in the stack's network: gives each client's datagrams to its flow.
pub(super) async fn publish(port: Port, socket: Arc<MachineSocket>) {
    let carrier = &port.frame.carrier;
    let mut flows: HashMap<SocketAddr, Sender<Vec<u8>>> = HashMap::new();
    loop {
        let mut datagram = Vec::with_capacity(DATAGRAM_MAX);
        let live = carrier.enter();
        let received = tokio::select! {
            biased;
            () = carrier.recalled() => None,
            received = socket.recv_buf_from(&mut datagram) => Some(received),
        };
        drop(live);
        let client = match received {
            Some(Ok((_, client))) => client,
            Some(Err(_)) => {
                // An ICMP error about an earlier datagram to some client.
                tokio::task::yield_now().await;
                continue;
            }
            None => {
                // What comes waits for whoever goes on.
                carrier.resumed().await;
                continue;
            }
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
        let Ok(place) = Arc::clone(&port.places).try_acquire_owned() else {
            continue;
        };
        let (sender, waiting) = channel(WAITING_MAX);
        let _ = sender.try_send(datagram);
        flows.insert(client, sender);
        let (port, socket) = (port.clone(), Arc::clone(&socket));
        tokio::spawn(async move {
            // An error of a flow ends that flow: what comes later begins a new one.
            let _ = inwards(&port, client, &socket, waiting).await;
            drop(place);
        });
    }
}

async fn inwards(
    port: &Port,
    client: SocketAddr,
    socket: &MachineSocket,
    mut waiting: Receiver<Vec<u8>>,
) -> io::Result<()> {
    let (stack, forward) = (&port.frame.stack, port.forward);
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
pub(super) async fn expose(port: Port, listener: UdpListener) {
    listener.set_idle_timeout(Some(IDLE));
    let to = port.forward.to;
    while let Ok((flow, client)) = listener.accept().await {
        let Ok(place) = Arc::clone(&port.places).try_acquire_owned() else {
            continue;
        };
        tokio::spawn(async move {
            if let Ok(socket) = Dialer::default().udp(to).await {
                let _ = direct(&flow, client, &socket).await;
            }
            drop(place);
        });
    }
}
