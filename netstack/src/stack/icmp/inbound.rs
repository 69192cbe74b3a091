//! A received ICMP message: pings are answered, errors find the flow that they are about.

use std::sync::atomic::Ordering;

use lockorder::Key;
use packet::IpProto;
use packet::frame::RxPacket;
use packet::ip::{Ip, IpPacket};

use crate::base::counters::{Counter, DropReason};
use crate::demux::FlowKey;
use crate::icmp::inbound::on_packet;
use crate::icmp::{EchoPolicy, ErrorKind, Inbound, TransportError};
use crate::ip::receive::Cast;
use crate::stack::host::Shared;
use crate::stack::levels::StackLocks;
use crate::stack::tcp::control::mss_for;
use crate::stack::turn::WorkerState;
use crate::tcp::{IcmpError, SeqNum, Unreachable};
use crate::udp::SocketError;

impl Shared {
    pub(in crate::stack) fn receive_icmp<I: Ip>(
        &self,
        key: &mut Key<StackLocks>,
        w: &mut WorkerState,
        ip: &IpPacket<'_, I>,
        cast: Cast,
        packet: &RxPacket,
    ) {
        let policy = EchoPolicy::default();
        match on_packet(ip, cast, packet.checksum, &w.addressing.addresses, policy) {
            Inbound::EchoRequest(request) => {
                let via =
                    self.tx_params(key, w, request.remote, self.config.ttl, ip.traffic_class());
                let (local, remote, proto) = (request.local, request.remote, I::ICMP.0);
                let identification = &mut w.identification;
                let reply = request.reply(&packet.data, &via, || {
                    identification.next(local, remote, proto)
                });
                match reply {
                    Ok(packets) => {
                        w.counters.add(Counter::EchoReplies, 1);
                        self.queue_packets(w, packets);
                    }
                    Err(_) => w.counters.drop_packet(DropReason::TooBig),
                }
            }
            // Nothing here pings.
            Inbound::EchoReply { .. } => w.counters.drop_packet(DropReason::IcmpUnmatched),
            Inbound::Error(error) => self.transport_error(key, w, &error),
            Inbound::Drop(reason) => w.counters.drop_packet(reason),
        }
    }

    fn transport_error(
        &self,
        key: &mut Key<StackLocks>,
        w: &mut WorkerState,
        error: &TransportError,
    ) {
        let matched = match error.proto {
            IpProto::TCP => self.tcp_error(key, w, error),
            IpProto::UDP => self.udp_error(key, w, error),
            _ => false,
        };
        if !matched {
            w.counters.drop_packet(DropReason::IcmpUnmatched);
        }
    }

    /// True if the error is about something that a connection has in flight (RFC 5927 section 4.1).
    fn tcp_error(
        &self,
        key: &mut Key<StackLocks>,
        w: &mut WorkerState,
        error: &TransportError,
    ) -> bool {
        let flow = FlowKey::new(error.local, error.remote);
        let Some(cell) = self.flows.get(&mut key.ctx(), &flow) else {
            return false;
        };
        let Some(seq) = error.tcp_seq.map(SeqNum) else {
            return false;
        };
        let about = unreachable_by(error.kind);
        let icmp = if error.kind.is_soft() {
            IcmpError::Soft(about)
        } else {
            IcmpError::Hard(about)
        };
        let deferred = &mut w.deferred;
        let believed = cell.state.with(&mut key.ctx(), |conn, _| {
            match conn.tcp.on_icmp_error(icmp, seq) {
                Ok(readiness) => {
                    conn.collect_wakers(readiness, deferred);
                    true
                }
                Err(_) => false,
            }
        });
        if !believed {
            return false;
        }
        if let ErrorKind::PacketTooBig { mtu } = error.kind
            && let Some(mtu) = self.note_path_mtu(key, w, error, mtu)
        {
            let mss = mss_for(mtu, error.remote.is_ipv4());
            cell.state
                .with(&mut key.ctx(), |conn, _| conn.tcp.on_path_mtu(mss));
        }
        cell.schedule(&self.workers[usize::from(cell.owner)].mailbox);
        true
    }

    fn udp_error(
        &self,
        key: &mut Key<StackLocks>,
        w: &mut WorkerState,
        error: &TransportError,
    ) -> bool {
        let cell = self.udp.with_read(&mut key.ctx(), |udp, _| {
            udp.lookup(error.remote, error.local)
                .and_then(|group| group.of_worker(w.index))
                .cloned()
        });
        let Some(cell) = cell else {
            return false;
        };
        let report = match error.kind {
            ErrorKind::PortUnreachable | ErrorKind::ProtocolUnreachable => SocketError::Refused,
            ErrorKind::HostUnreachable | ErrorKind::TimeExceeded => SocketError::HostUnreachable,
            ErrorKind::NetUnreachable => SocketError::NetUnreachable,
            ErrorKind::AdminProhibited => SocketError::Prohibited,
            ErrorKind::ParameterProblem | ErrorKind::Unknown { .. } => SocketError::Protocol,
            ErrorKind::PacketTooBig { mtu } => match self.note_path_mtu(key, w, error, mtu) {
                // From now on such datagrams are cut; nobody needs to be told.
                Some(_) => return true,
                None => return false,
            },
        };
        let deferred = &mut w.deferred;
        cell.state.with(&mut key.ctx(), |state, _| {
            if state.socket.on_error(error.remote, report) {
                deferred.wakers.append(&mut state.readers);
            }
        });
        true
    }

    /// The path's new MTU, if the report lowers it believably.
    fn note_path_mtu(
        &self,
        key: &mut Key<StackLocks>,
        w: &mut WorkerState,
        error: &TransportError,
        mtu: u32,
    ) -> Option<u16> {
        self.path_mtu_known.store(true, Ordering::Release);
        self.path_mtu.with_write(&mut key.ctx(), |paths, _| {
            paths.on_packet_too_big(
                error.remote.ip(),
                mtu,
                error.quoted_len,
                self.link.mtu,
                w.now,
            )
        })
    }
}

fn unreachable_by(kind: ErrorKind) -> Unreachable {
    match kind {
        ErrorKind::PortUnreachable => Unreachable::Port,
        ErrorKind::ProtocolUnreachable => Unreachable::Protocol,
        ErrorKind::HostUnreachable => Unreachable::Host,
        ErrorKind::NetUnreachable => Unreachable::Network,
        ErrorKind::AdminProhibited => Unreachable::Prohibited,
        _ => Unreachable::Other,
    }
}
