//! Echo requests and replies of the program's sockets.
//!
//! They are sockets like those of UDP, with the identifier and the sequence number in the place of ports: see
//! [`Protocol`].

use std::net::{IpAddr, SocketAddr};

use packet::Payload;
use packet::icmp::{IcmpMessage, Icmpv4, Icmpv6};

use super::super::ip::outbound::{discard_too_big, queue_packets, tx_params};
use super::super::turn::Turn;
use super::super::udp::deliver::deliver_to;
use super::super::udp::socket::{BoundSocket, OutDatagram, Protocol};
use super::count::count_sent;
use crate::ip::send::icmp_packets;
use crate::udp::Datagram;

/// One echo message, as a received packet has it, without its payload.
#[derive(Clone, Copy)]
pub(in crate::stack) struct Echo {
    pub(in crate::stack) from: IpAddr,
    pub(in crate::stack) to: IpAddr,
    pub(in crate::stack) ident: u16,
    pub(in crate::stack) seq: u16,
}

/// The port at which sockets that answer are looked up: they take every sequence number.
const ANY_SEQ: u16 = 1;

/// Delivers a reply to the socket that asked; false if there is none. `payload` is called if there is one.
pub(in crate::stack) fn on_reply(
    turn: &mut Turn<'_>,
    echo: Echo,
    payload: impl FnOnce() -> Payload,
) -> bool {
    let from = SocketAddr::new(echo.from, echo.seq);
    let to = SocketAddr::new(echo.to, echo.ident);
    let index = turn.worker.index;
    let asking = &turn.host.echo.asking;
    let found = asking.lookup(&mut turn.key.ctx(), from, to, index, || true);
    let Some(found) = found.filter(|socket| !socket.is_closed()) else {
        return false;
    };
    deliver(turn, &found, from, to, payload());
    true
}

/// Delivers a request to a socket of the program that answers for its destination; false if there is none. `payload`
/// is called if there is one.
pub(in crate::stack) fn on_request(
    turn: &mut Turn<'_>,
    echo: Echo,
    payload: impl FnOnce() -> Payload,
) -> bool {
    let from = SocketAddr::new(echo.from, echo.ident);
    let wanted = SocketAddr::new(echo.to, ANY_SEQ);
    let index = turn.worker.index;
    let answering = &turn.host.echo.answering;
    let found = answering.lookup(&mut turn.key.ctx(), from, wanted, index, || false);
    let Some(found) = found.filter(|socket| !socket.is_closed()) else {
        return false;
    };
    let to = SocketAddr::new(echo.to, echo.seq);
    deliver(turn, &found, from, to, payload());
    true
}

fn deliver(
    turn: &mut Turn<'_>,
    socket: &BoundSocket,
    from: SocketAddr,
    to: SocketAddr,
    payload: Payload,
) {
    let (worker, buffers) = (&mut *turn.worker, &turn.host.buffers);
    socket.state.with(&mut turn.key.ctx(), |state, _| {
        let received = Datagram { from, to, payload };
        deliver_to(state, received, 0, buffers, &worker.counters).note(&worker.fate);
        state.readers.drain_into(&mut worker.work.wakers);
    });
}

/// Builds and queues one message. `local` is its source, which is not unspecified.
pub(in crate::stack) fn send(turn: &mut Turn<'_>, local: SocketAddr, datagram: OutDatagram) {
    let remote = datagram.remote;
    let asks = datagram.protocol == Protocol::Echo;
    let (ident, seq) = if asks {
        (local.port(), remote.port())
    } else {
        (remote.port(), local.port())
    };
    let message: IcmpMessage = match (local.is_ipv4(), asks) {
        (true, true) => Icmpv4::EchoRequest { ident, seq }.into(),
        (true, false) => Icmpv4::EchoReply { ident, seq }.into(),
        (false, true) => Icmpv6::EchoRequest { ident, seq }.into(),
        (false, false) => Icmpv6::EchoReply { ident, seq }.into(),
    };
    let (params, way) = tx_params(turn, remote.ip(), datagram.ttl, datagram.traffic_class);
    let (src, dst) = (local.ip(), remote.ip());
    let identification = &mut turn.worker.identification;
    let payload = datagram.payload.into();
    let packets = icmp_packets(src, dst, message, payload, &params, || {
        identification.next(src, dst, message.proto().0)
    });
    match packets {
        Ok(packets) => {
            let kind = message.to_bytes()[0];
            count_sent(&mut turn.worker.tally, message.version(), kind);
            queue_packets(turn, packets, way, dst);
        }
        Err(_) => discard_too_big(turn, dst),
    }
}
