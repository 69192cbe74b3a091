//! Numbers of a connection, for people, tools and tests.

use core::time::Duration;

use super::handshake::{SynReceived, SynSent};
use super::outcome::{Losses, TcpInfo};
use super::{Stage, Tcp};

/// Reports.
impl Tcp {
    /// What was sent again so far. A handshake's count ends with it.
    pub fn losses(&self) -> Losses {
        let (retransmits, timeouts) = match &self.stage {
            Stage::SynSent(SynSent { opening })
            | Stage::SynReceived(SynReceived { opening, .. }) => {
                let retries = u32::from(opening.retries());
                (retries, retries)
            }
            Stage::Open(conn) => (conn.stats.retransmits, conn.stats.timeouts),
            Stage::Closed { .. } => (0, 0),
        };
        Losses {
            retransmits,
            timeouts,
        }
    }

    /// Numbers of the connection.
    pub fn info(&self) -> TcpInfo {
        let mut info = TcpInfo {
            state: self.state(),
            srtt: Duration::ZERO,
            rttvar: Duration::ZERO,
            rto: Duration::ZERO,
            cwnd: 0,
            ssthresh: 0,
            mss: 0,
            in_flight: 0,
            sacked: 0,
            send_window: 0,
            recv_window: 0,
            recv_buffer: 0,
            bytes_in: 0,
            bytes_out: 0,
            retransmits: 0,
            timeouts: 0,
            recoveries: 0,
            undone: 0,
            out_of_order: 0,
        };
        match &self.stage {
            Stage::SynSent(SynSent { opening })
            | Stage::SynReceived(SynReceived { opening, .. }) => {
                info.mss = opening.mss();
                info.retransmits = u32::from(opening.retries());
                info.timeouts = info.retransmits;
            }
            Stage::Open(conn) => {
                info.srtt = conn.rtt.srtt().unwrap_or_default();
                info.rttvar = conn.rtt.rttvar();
                info.rto = conn.rto();
                info.cwnd = conn.cc.cwnd();
                info.ssthresh = conn.cc.ssthresh();
                info.mss = u16::try_from(conn.payload_mss()).unwrap_or(u16::MAX);
                info.in_flight = conn.flight.outstanding();
                info.sacked = conn.flight.sacked();
                info.send_window = conn.peer.wnd;
                info.recv_window = conn.window.offered();
                info.recv_buffer = conn.window.capacity();
                info.bytes_in = conn.stats.bytes_in;
                info.bytes_out = conn.stats.bytes_out;
                info.retransmits = conn.stats.retransmits;
                info.timeouts = conn.stats.timeouts;
                info.recoveries = conn.stats.recoveries;
                info.undone = conn.stats.undone;
                info.out_of_order = conn
                    .assembler
                    .as_ref()
                    .map_or(0, |board| u32::try_from(board.len()).unwrap_or(u32::MAX));
            }
            Stage::Closed { .. } => {}
        }
        info
    }

    /// What must hold whatever the peer sends.
    #[cfg(test)]
    pub(super) fn check(&self) {
        if let Some(conn) = self.conn() {
            conn.check();
        }
    }

    /// Right edge of the window that was offered, and RCV.NXT.
    #[cfg(test)]
    pub(super) fn recv_edge(&self) -> Option<(super::SeqNum, super::SeqNum)> {
        self.conn()
            .map(|conn| (conn.window.edge(), conn.window.nxt))
    }
}
