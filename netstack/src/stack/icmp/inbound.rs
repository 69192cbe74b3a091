//! A received ICMP message: echo requests are answered, errors go to the flow that they are about.

use packet::IpProto;
use packet::frame::RxPacket;
use packet::ip::{Ip, IpPacket};

use super::super::ip::outbound::{check_route, discard_too_big, queue_packets, tx_params};
use super::super::turn::Turn;
use super::super::{multicast, tcp, udp};
use super::count::{count_received, count_sent};
use super::echo::{self, Echo};
use crate::base::counters::{Counter, DropReason};
use crate::base::mib::Tally;
use crate::base::mib::objects::IcmpObject;
use crate::icmp::inbound::EchoRequest;
use crate::icmp::inbound::on_packet;
use crate::icmp::{Inbound, TransportError};
use crate::ip::receive::Cast;

/// Takes in one message.
pub(in crate::stack) fn receive<I: Ip>(
    turn: &mut Turn<'_>,
    ip: &IpPacket<'_, I>,
    cast: Cast,
    packet: &RxPacket,
) {
    let policy = turn.host.config.echo;
    let addresses = &turn.worker.addressing.addresses;
    let inbound = on_packet(ip, cast, packet.checksum, addresses, policy);
    count_message(&mut turn.worker.tally, ip, &inbound);
    match inbound {
        Inbound::EchoRequest(request) => {
            let echo = Echo {
                from: request.remote,
                to: ip.dst().into(),
                ident: request.ident,
                seq: request.seq,
            };
            let payload = || packet.data.slice(request.payload.clone());
            // A socket of the program that answers for this address comes before the stack.
            if cast == Cast::Unicast && echo::on_request(turn, echo, payload) {
                return;
            }
            if cast == Cast::Multicast && !multicast::inbound::is_wanted(turn, ip) {
                turn.drop_packet(DropReason::GroupSourceUnwanted);
                return;
            }
            answer(turn, ip, &request, packet);
        }
        Inbound::EchoReply {
            from,
            ident,
            seq,
            payload,
        } => {
            let echo = Echo {
                from,
                to: ip.dst().into(),
                ident,
                seq,
            };
            if !echo::on_reply(turn, echo, || packet.data.slice(payload)) {
                turn.drop_packet(DropReason::IcmpUnmatched);
            }
        }
        Inbound::Error(error) => on_transport_error(turn, &error),
        Inbound::Mld => multicast::inbound::on_mld(turn, ip),
        Inbound::Drop(reason) => turn.drop_packet(reason),
    }
}

/// Answers an echo request.
fn answer<I: Ip>(
    turn: &mut Turn<'_>,
    ip: &IpPacket<'_, I>,
    request: &EchoRequest,
    packet: &RxPacket,
) {
    if !check_route(turn, request.remote) {
        return;
    }
    let ttl = turn.host.config.ttl;
    let (params, way) = tx_params(turn, request.remote, ttl, ip.traffic_class());
    let (local, remote, proto) = (request.local, request.remote, I::ICMP.0);
    let identification = &mut turn.worker.identification;
    let reply = request.reply(&packet.data, &params, || {
        identification.next(local, remote, proto)
    });
    match reply {
        Ok(packets) => {
            turn.count(Counter::EchoReplies, 1);
            let kind = if remote.is_ipv4() { 0 } else { 129 };
            count_sent(&mut turn.worker.tally, I::VERSION, kind);
            queue_packets(turn, packets, way, remote);
        }
        Err(_) => {
            let tally = &mut turn.worker.tally;
            tally.icmp(I::VERSION, IcmpObject::OutErrors, 1);
            discard_too_big(turn, remote);
        }
    }
}

/// Counts a message by what was found in it.
fn count_message<I: Ip>(tally: &mut Tally, ip: &IpPacket<'_, I>, inbound: &Inbound) {
    tally.icmp(I::VERSION, IcmpObject::InMsgs, 1);
    match inbound {
        Inbound::Drop(reason @ (DropReason::IcmpMalformed | DropReason::IcmpChecksum)) => {
            tally.icmp(I::VERSION, IcmpObject::InErrors, 1);
            let is_checksum = *reason == DropReason::IcmpChecksum;
            tally.icmp(I::VERSION, IcmpObject::InCsumErrors, is_checksum.into());
        }
        _ => count_received(tally, I::VERSION, ip.payload().first().copied()),
    }
}

fn on_transport_error(turn: &mut Turn<'_>, error: &TransportError) {
    let matched = match error.proto {
        IpProto::TCP => tcp::inbound::on_icmp_error(turn, error),
        IpProto::UDP => udp::inbound::on_icmp_error(turn, error),
        _ => false,
    };
    if !matched {
        turn.drop_packet(DropReason::IcmpUnmatched);
    }
}
