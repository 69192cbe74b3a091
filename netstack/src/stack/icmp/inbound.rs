//! A received ICMP message: echo requests are answered, errors go to the flow that they are about.

use packet::IpProto;
use packet::frame::RxPacket;
use packet::ip::{Ip, IpPacket};

use super::super::ip::outbound::{queue_packets, tx_params};
use super::super::turn::Turn;
use super::super::{multicast, tcp, udp};
use super::echo::{self, Echo};
use crate::base::counters::{Counter, DropReason};
use crate::icmp::inbound::on_packet;
use crate::icmp::{EchoPolicy, Inbound, TransportError};
use crate::ip::receive::Cast;

/// Takes in one message.
pub(in crate::stack) fn receive<I: Ip>(
    turn: &mut Turn<'_>,
    ip: &IpPacket<'_, I>,
    cast: Cast,
    packet: &RxPacket,
) {
    let policy = EchoPolicy::default();
    let addresses = &turn.worker.addressing.addresses;
    match on_packet(ip, cast, packet.checksum, addresses, policy) {
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
                    queue_packets(turn, packets, way);
                }
                Err(_) => turn.drop_packet(DropReason::TooBig),
            }
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
