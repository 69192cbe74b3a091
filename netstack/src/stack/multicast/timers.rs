//! Reports of multicast groups that are due.

use packet::TxPacket;
use packet::ip::IpVersion;

use super::super::icmp::count::count_sent;
use super::super::turn::Turn;
use crate::base::counters::{Counter, DropReason};
use crate::base::mib::Tally;
use crate::ip::multicast::packets::{max_record_bytes, packet};

/// Reports that are sent in one turn at most.
const REPORTS_PER_TURN: usize = 64;

/// Counts the packet of a report.
fn count(tally: &mut Tally, family: IpVersion, packet: &TxPacket) {
    tally.sent_as(std::slice::from_ref(packet), family, true);
    // IP header, hop-by-hop options, then the type.
    if let (IpVersion::V6, Some(&kind)) = (family, packet.head.as_slice().get(48)) {
        count_sent(tally, family, kind);
    }
}

/// Sends the reports that are due; true if there were any.
pub(crate) fn on_timeout(turn: &mut Turn<'_>) -> bool {
    let groups = &turn.host.groups;
    if groups.deadline().is_none_or(|deadline| deadline > turn.now) {
        return false;
    }
    let mtu = turn.host.ip.paths.link_mtu();
    for _ in 0..REPORTS_PER_TURN {
        let max_bytes = |family| max_record_bytes(family, mtu);
        let next = groups.poll_transmit(&mut turn.key.ctx(), max_bytes, turn.now);
        let Some((family, report)) = next else {
            break;
        };
        match packet(family, &report, &turn.worker.addressing.addresses) {
            Ok(packet) => {
                turn.count(Counter::GroupReports, 1);
                count(&mut turn.worker.tally, family, &packet);
                turn.worker.work.transmit.push(packet);
            }
            Err(_) => turn.drop_packet(DropReason::TooBig),
        }
    }
    true
}
