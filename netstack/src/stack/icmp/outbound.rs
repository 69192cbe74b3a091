//! ICMP errors that this stack sends.

use packet::Payload;
use packet::icmp::IcmpMessage;
use packet::ip::IpVersion;

use super::super::ip::outbound::check_route;
use super::super::turn::Turn;
use super::count::count_sent;
use crate::base::counters::Counter;
use crate::base::mib::objects::IcmpObject;
use crate::icmp::error::{permit, reassembly_time_exceeded};

/// Sends an ICMP error about the packet `offending` if the rules and the rate limit allow it.
pub(in crate::stack) fn send_error(turn: &mut Turn<'_>, message: IcmpMessage, offending: &Payload) {
    let addresses = &turn.worker.addressing.addresses;
    let Ok(permit) = permit(addresses, message, offending) else {
        return;
    };
    if !check_route(turn, permit.to()) {
        return;
    }
    let limiter = &turn.host.icmp_limiter;
    if !limiter.allow(&mut turn.key.ctx(), turn.now, &mut turn.worker.rng) {
        turn.count(Counter::IcmpErrorsLimited, 1);
        let tally = &mut turn.worker.tally;
        tally.icmp(message.version(), IcmpObject::OutErrors, 1);
        return;
    }
    let dst = permit.to();
    if let Some(packet) = permit.build(turn.host.config.ttl) {
        turn.count(Counter::IcmpErrorsSent, 1);
        let tally = &mut turn.worker.tally;
        count_sent(tally, message.version(), message.to_bytes()[0]);
        tally.sent(&packet, dst);
        turn.worker.work.transmit.push(packet);
    }
}

/// Reports that time ran out for a datagram whose first fragment is `first`.
pub(in crate::stack) fn send_time_exceeded(turn: &mut Turn<'_>, first: &Payload) {
    if let Some(version) = IpVersion::of_packet(first) {
        send_error(turn, reassembly_time_exceeded(version), first);
    }
}
