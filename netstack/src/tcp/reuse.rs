//! Reuse of a connection in TIME-WAIT by a new SYN (RFC 9293 section 3.6.1 MAY-2, RFC 6191).

use packet::tcp::TcpFlags;

use super::phase::Phase;
use super::segment::Segment;
use super::seq::SeqNum;
use super::tcb::Tcb;

/// Permission for a SYN to open a new incarnation of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reuse {
    /// Lower bound: the new initial sequence number must lie after it, so that no segment of the
    /// old incarnation can fall into the new window.
    pub isn_after: SeqNum,
}

/// Distance between the incarnations: the largest window that the old one can have had in flight.
const GAP: u32 = 1 << 16;

/// Decides if `syn` may replace the connection in TIME-WAIT: by its timestamp if both incarnations
/// have one and it is newer, else by its sequence number.
pub(super) fn reuse(tcb: &Tcb, syn: &Segment) -> Option<Reuse> {
    let is_syn = syn.has(TcpFlags::SYN) && !syn.has(TcpFlags::RST) && !syn.has(TcpFlags::ACK);
    if tcb.phase != Phase::TimeWait || !is_syn {
        return None;
    }
    let newer_seq = syn.seq().after(tcb.window.nxt);
    let fits = match syn.options().timestamps {
        Some(ts) if tcb.agreed.timestamps => {
            let (new, old) = (SeqNum(ts.val), SeqNum(tcb.ts_recent));
            new.after(old) || (new == old && newer_seq)
        }
        _ => newer_seq,
    };
    fits.then(|| Reuse {
        isn_after: tcb.flight.nxt() + GAP,
    })
}
