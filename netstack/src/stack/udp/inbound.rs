//! A received UDP datagram, from its verified bytes to the socket that it is for.

use std::net::{IpAddr, SocketAddr};

use lockorder::Key;
use packet::frame::RxPacket;
use packet::udp::{UdpParseError, UdpView};

use crate::base::counters::DropReason;
use crate::icmp::error::port_unreachable;
use crate::ip::receive::Cast;
use crate::stack::host::Shared;
use crate::stack::ip::inbound::version_of;
use crate::stack::levels::StackLocks;
use crate::stack::turn::WorkerState;

/// A UDP packet whose IP header was checked.
pub(in crate::stack) struct UdpArrival {
    pub(in crate::stack) src: IpAddr,
    pub(in crate::stack) dst: IpAddr,
    pub(in crate::stack) range: std::ops::Range<usize>,
    pub(in crate::stack) cast: Cast,
}

impl Shared {
    pub(in crate::stack) fn receive_udp(
        &self,
        key: &mut Key<StackLocks>,
        w: &mut WorkerState,
        packet: &RxPacket,
        arrival: UdpArrival,
    ) {
        let bytes = packet.data.get(arrival.range.clone()).unwrap_or(&[]);
        let view = match UdpView::parse(arrival.src, arrival.dst, bytes, packet.checksum) {
            Ok(view) => view,
            Err(error) => {
                w.counters.drop_packet(match error {
                    UdpParseError::Checksum | UdpParseError::MissingChecksum => {
                        DropReason::UdpChecksum
                    }
                    _ => DropReason::UdpMalformed,
                });
                return;
            }
        };
        let header = view.header();
        let from = SocketAddr::new(arrival.src, header.src_port);
        let to = SocketAddr::new(arrival.dst, header.dst_port);
        let start = arrival.range.start + packet::udp::LEN;
        let text = start..start + view.payload().len();

        let cell = self.udp.with_read(&mut key.ctx(), |udp, _| {
            udp.lookup(from, to)
                .and_then(|group| group.of_worker(w.index))
                .cloned()
        });
        let Some(cell) = cell.filter(|cell| !cell.is_closed()) else {
            w.counters.drop_packet(DropReason::UdpNoSocket);
            if arrival.cast == Cast::Unicast {
                let message = port_unreachable(version_of(arrival.dst));
                self.send_icmp_error(key, w, message, &packet.data);
            }
            return;
        };
        let train = packet.data.slice(text);
        let each = packet.gso_size;
        let WorkerState {
            deferred, counters, ..
        } = w;
        cell.state.with(&mut key.ctx(), |state, _| {
            let socket = &mut state.socket;
            if each == 0 || train.len() <= usize::from(each) {
                if let Err(reason) = socket.deliver(from, arrival.dst, train, &self.buffers) {
                    counters.drop_packet(reason);
                }
            } else {
                let to = arrival.dst;
                let outcome = socket.deliver_train(from, to, train, each, &self.buffers);
                for _ in 0..outcome.dropped {
                    counters.drop_packet(outcome.reason);
                }
            }
            deferred.wakers.append(&mut state.readers);
        });
    }
}
