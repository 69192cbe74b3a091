//! Flows that enter the device: TCP by its SYN, UDP by its first datagram, pings one by one.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use fast_socks5::util::target_addr::TargetAddr;
use fast_socks5::{new_udp_header, parse_udp_request};
use netstack::net::{
    EchoListener, Syn, SynListener, TcpStream, UdpListener, UdpSocket, Unreachable,
};
use tokio::io::AsyncReadExt as _;
use tokio::net::UdpSocket as HostSocket;
use tokio::time::timeout;

use super::gateway::{Gateway, Route};
use super::ping;
use super::rules::{Action, Protocol};
use super::upstream::{Connected, Refusal, Target, Upstream, socks_target};
use crate::carried::relay::relay;

/// Largest datagram.
const DATAGRAM_MAX: usize = 65_535;

/// Takes TCP connections until the stack ends.
pub(super) async fn tcp(gateway: Arc<Gateway>, listener: SynListener) {
    while let Ok(syn) = listener.next().await {
        let Ok(place) = Arc::clone(&gateway.connections).try_acquire_owned() else {
            // Whoever sends it again may find room.
            gateway.tell("too many connections: raise --max-connections");
            syn.ignore();
            continue;
        };
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move {
            connection(&gateway, syn).await;
            drop(place);
        });
    }
}

async fn connection(gateway: &Gateway, syn: Syn) {
    match reach(gateway, syn.info().local).await {
        Ok(connected) => {
            // Fails if the client has gone meanwhile: the server's side is closed then, too.
            if let Ok(client) = syn.accept().await {
                relay(&gateway.carrier, client, connected.stream, connected.early).await;
            }
        }
        Err(None) => syn.ignore(),
        Err(Some(Refusal::Refused)) => syn.refuse(),
        Err(Some(Refusal::Unreachable(reason))) => syn.unreachable(reason),
        Err(Some(Refusal::Shortage)) => {
            gateway.tell("no descriptors or memory for more connections: raise the limit of open files (ulimit -n)");
            syn.ignore();
        }
    }
}

/// Goes on with a connection whose handshake was done when another process took over, and which no task had in hand.
pub(super) async fn accepted(gateway: &Gateway, client: TcpStream) {
    let connected = match client.local_addr() {
        Ok(to) => reach(gateway, to).await.ok(),
        Err(_) => None,
    };
    match connected {
        Some(connected) => relay(&gateway.carrier, client, connected.stream, connected.early).await,
        // It fails only if the connection is at its end already.
        None => drop(client.set_zero_linger()),
    }
}

/// Connects to where a connection to `to` goes.
///
/// # Errors
/// The answer to its client; `None`: there is none.
async fn reach(gateway: &Gateway, to: SocketAddr) -> Result<Connected, Option<Refusal>> {
    let Route { action, target } = gateway.route(Protocol::Tcp, to).await;
    let connected = match action {
        Action::Reject => Err(Refusal::Refused),
        Action::Drop => return Err(None),
        Action::Direct => gateway.dialer.tcp(&target).await.map(|stream| Connected {
            stream,
            early: bytes::Bytes::new(),
        }),
        Action::Proxy => match gateway.upstream() {
            Some(upstream) => through(gateway, &upstream, &target).await,
            None => Err(Refusal::PROHIBITED),
        },
    };
    connected.map_err(Some)
}

async fn through(
    gateway: &Gateway,
    upstream: &Upstream,
    target: &Target,
) -> Result<Connected, Refusal> {
    let connect = upstream.connect(&gateway.dialer, target);
    let connected = timeout(gateway.dialer.timeout, connect).await;
    let connected = connected.unwrap_or(Err(Refusal::HOST));
    if let Err(refusal) = &connected {
        gateway.tell(&format!(
            "{upstream} did not connect to {target}: {refusal:?}"
        ));
    }
    connected
}

/// Takes flows of UDP until the stack ends.
pub(super) async fn udp(gateway: Arc<Gateway>, listener: UdpListener) {
    while let Ok((flow, client)) = listener.accept().await {
        let Ok(place) = Arc::clone(&gateway.datagram_flows).try_acquire_owned() else {
            gateway.tell("too many flows of UDP: raise --max-udp-flows");
            continue;
        };
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move {
            // An error of a flow ends that flow: what comes later begins a new one.
            let _ = datagrams(&gateway, flow, client).await;
            drop(place);
        });
    }
}

async fn datagrams(gateway: &Gateway, flow: UdpSocket, client: SocketAddr) -> io::Result<()> {
    let to = flow.local_addr()?;
    if let Some(names) = gateway.answers_names(to) {
        let names = Arc::clone(names);
        loop {
            let (query, from) = flow.recv_payload_from().await?;
            if let Some(answer) = names.answer(&query).await {
                flow.send_to(&answer, from).await?;
            }
        }
    }
    let Route { action, target } = gateway.route(Protocol::Udp, to).await;
    match action {
        // Both are kept until they are idle, so that each datagram does not ask anew.
        Action::Reject => loop {
            let datagram = flow.recv_datagram().await?;
            flow.refuse(datagram, Unreachable::Port).await?;
        },
        Action::Drop => loop {
            flow.recv_payload_from().await?;
        },
        Action::Direct => {
            let address = match &target {
                Target::Address(address) => *address,
                Target::Name(name, port) => {
                    let looked_up = gateway.dialer.look_up(name, *port).await;
                    looked_up.map_err(|_| io::ErrorKind::HostUnreachable)?
                }
            };
            let socket = gateway.dialer.udp(address).await?;
            direct(&flow, client, &socket).await
        }
        Action::Proxy => match gateway.upstream() {
            Some(upstream) => associated(gateway, &flow, client, &upstream, &target).await,
            None => Ok(()),
        },
    }
}

/// Carries datagrams both ways until the flow is idle for too long.
pub(crate) async fn direct(
    flow: &UdpSocket,
    client: SocketAddr,
    socket: &HostSocket,
) -> io::Result<()> {
    tokio::select! {
        ended = forth(flow, socket, &[]) => ended,
        ended = back(flow, client, socket) => ended,
    }
}

/// Carries datagrams to the machine's socket, each behind `header`.
async fn forth(flow: &UdpSocket, socket: &HostSocket, header: &[u8]) -> io::Result<()> {
    loop {
        let (payload, _) = flow.recv_payload_from().await?;
        if header.is_empty() {
            pardon(socket.send(&payload).await)?;
        } else {
            pardon(socket.send(&[header, &payload].concat()).await)?;
        }
    }
}

async fn back(flow: &UdpSocket, client: SocketAddr, socket: &HostSocket) -> io::Result<()> {
    loop {
        if let Some(datagram) = receive(socket).await? {
            flow.send_to(&datagram, client).await?;
        }
    }
}

/// Receives a datagram; nothing if there was none after all. A flow at rest holds no buffer.
async fn receive(socket: &HostSocket) -> io::Result<Option<Vec<u8>>> {
    socket.readable().await?;
    let mut buffer = Vec::with_capacity(DATAGRAM_MAX);
    let received = pardon(socket.try_recv_buf(&mut buffer))?;
    Ok(received.map(|_| buffer))
}

/// An ICMP error about an earlier datagram is no reason to end the flow, nor is that nothing is there.
fn pardon(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(len) => Ok(Some(len)),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable => Ok(None),
            // Longer than the path carries.
            _ if error.raw_os_error() == Some(nix::libc::EMSGSIZE) => Ok(None),
            _ => Err(error),
        },
    }
}

/// Carries datagrams through a SOCKS5 relay, for as long as the proxy keeps the association.
async fn associated(
    gateway: &Gateway,
    flow: &UdpSocket,
    client: SocketAddr,
    upstream: &Upstream,
    target: &Target,
) -> io::Result<()> {
    let associate = upstream.associate(&gateway.dialer);
    let associated = timeout(gateway.dialer.timeout, associate).await;
    let Ok(Ok((mut keeper, relay))) = associated else {
        gateway.tell(&format!("{upstream} does not relay datagrams"));
        return Ok(());
    };
    let socket = gateway.dialer.udp(relay).await?;
    let header = new_udp_header(socks_target(target)).map_err(io::Error::other)?;
    tokio::select! {
        ended = forth(flow, &socket, &header) => ended,
        ended = back_unwrapped(flow, client, &socket, target) => ended,
        // The proxy sends nothing more: a byte, an end and an error all end the association.
        _ = keeper.read_u8() => Ok(()),
    }
}

/// Carries what comes from the relay. Others may send to it, too: only the destination answers.
async fn back_unwrapped(
    flow: &UdpSocket,
    client: SocketAddr,
    socket: &HostSocket,
    target: &Target,
) -> io::Result<()> {
    loop {
        let Some(datagram) = receive(socket).await? else {
            continue;
        };
        if let Ok((0, from, payload)) = parse_udp_request(&datagram).await
            && is_from(&from, target)
        {
            flow.send_to(payload, client).await?;
        }
    }
}

/// A proxy that looked a name up answers with an address.
fn is_from(from: &TargetAddr, target: &Target) -> bool {
    match (from, target) {
        (TargetAddr::Ip(from), Target::Address(to)) => from == to,
        (TargetAddr::Ip(from), Target::Name(_, port)) => from.port() == *port,
        (TargetAddr::Domain(from, _), Target::Name(to, _)) => from == to,
        (TargetAddr::Domain(..), Target::Address(_)) => false,
    }
}

/// Answers pings with the answers of their destinations, until the stack ends.
pub(super) async fn pings(gateway: Arc<Gateway>, listener: EchoListener) {
    let listener = Arc::new(listener);
    while let Ok(request) = listener.recv().await {
        if gateway.is_own(request.to) {
            let _ = listener.reply(request).await;
            continue;
        }
        let Ok(place) = Arc::clone(&gateway.pings).try_acquire_owned() else {
            continue;
        };
        let (gateway, listener) = (Arc::clone(&gateway), Arc::clone(&listener));
        tokio::spawn(async move {
            let to = SocketAddr::new(request.to, 0);
            let route = gateway.route(Protocol::Icmp, to).await;
            if let (Action::Direct, Some(address)) = (route.action, address_of(&route.target)) {
                match ping::exchange(&gateway.dialer, address, request.seq, &request.payload).await {
                    Ok(true) => drop(listener.reply(request).await),
                    Ok(false) => {}
                    Err(error) => gateway.tell(&format!(
                        "pings cannot be sent ({error}): add this program's group to net.ipv4.ping_group_range"
                    )),
                }
            }
            drop(place);
        });
    }
}

fn address_of(target: &Target) -> Option<IpAddr> {
    match target {
        Target::Address(address) => Some(address.ip()),
        Target::Name(..) => None,
    }
}
