//! A datagram to send, from the application's bytes to packets.

use packet::IpProto;

use super::super::ip::outbound::{queue_packets, tx_params};
use super::super::turn::Turn;
use super::socket::OutDatagram;
use crate::base::counters::DropReason;
use crate::ip::send::udp_packets;

/// Builds the datagrams that were queued in this turn; true if there were any.
pub fn send_queued(turn: &mut Turn<'_>) -> bool {
    if turn.worker.work.tasks.datagrams.is_empty() {
        return false;
    }
    let mut datagrams = std::mem::take(&mut turn.worker.work.tasks.datagrams);
    for datagram in datagrams.drain(..) {
        send(turn, datagram);
    }
    turn.worker.work.tasks.datagrams = datagrams;
    true
}

fn send(turn: &mut Turn<'_>, datagram: OutDatagram) {
    let (mut local, remote) = (datagram.local, datagram.remote);
    if local.ip().is_unspecified() {
        let addresses = &turn.worker.addressing.addresses;
        match addresses.select_source(remote.ip()) {
            Some(source) => local.set_ip(source),
            None => {
                turn.drop_packet(DropReason::NoRoute);
                return;
            }
        }
    }
    let params = tx_params(turn, remote.ip(), datagram.ttl, 0);
    let identification = &mut turn.worker.identification;
    let packets = udp_packets(local, remote, datagram.payload.into(), &params, || {
        identification.next(local.ip(), remote.ip(), IpProto::UDP.0)
    });
    match packets {
        Ok(packets) => queue_packets(turn, packets),
        Err(_) => turn.drop_packet(DropReason::TooBig),
    }
}
