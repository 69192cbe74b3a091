//! Reuse of a connection in TIME-WAIT by a new SYN (RFC 9293 section 3.6.1 MAY-2, RFC 6191).

use packet::tcp::TcpFlags;

use super::segment::Segment;
use super::seq::SeqNum;
use super::time_wait::TimeWait;

/// Permission for a SYN to open a new incarnation of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reuse {
    /// Lower bound: the new initial sequence number must lie after it, so that no segment of the
    /// old incarnation can fall into the new window.
    pub isn_after: SeqNum,
}

/// Distance between the incarnations: the largest window that the old one can have had in flight.
const GAP: u32 = 1 << 16;

impl TimeWait {
    /// Decides if `syn` may replace the connection: by its timestamp if both incarnations have one and
    /// it is newer, else by its sequence number.
    pub fn reuse(&self, syn: &Segment) -> Option<Reuse> {
        let is_syn = syn.has(TcpFlags::SYN)
            && !syn.has(TcpFlags::RST)
            && !syn.has(TcpFlags::ACK)
            && !syn.has(TcpFlags::FIN);
        if !is_syn {
            return None;
        }
        let newer_seq = syn.seq().after(self.rcv_nxt());
        let fits = match (syn.options().timestamps, self.ts_recent()) {
            (Some(ts), Some(recent)) => {
                let (new, old) = (SeqNum(ts.val), SeqNum(recent));
                new.after(old) || (new == old && newer_seq)
            }
            _ => newer_seq,
        };
        fits.then(|| Reuse {
            isn_after: self.snd_nxt() + GAP,
        })
    }
}
