//! Counters and state of a connection, for people, tools and tests.

use core::time::Duration;

use super::ecn::EcnMode;
use super::handshake::{SynReceived, SynSent};
use super::outcome::{AgreedOptions, Losses, RecoveryStage, TcpInfo};
use super::send::inflight::Mode;
use super::seq::SeqNum;
use super::stats::{LossStats, Stats};
use super::tcb::{Flags, Tcb};
use super::{Stage, Tcp};
use crate::base::Instant;

/// Reports.
impl Tcp {
    /// Returns the counts of retransmissions so far. The count of a handshake ends with it.
    pub fn losses(&self) -> Losses {
        let (retransmits, timeouts) = match &self.stage {
            Stage::SynSent(SynSent { opening }) => {
                let retries = u32::from(opening.retries());
                (retries, retries)
            }
            Stage::SynReceived(SynReceived { half, .. }) => {
                let retries = u32::from(half.retries());
                (retries, retries)
            }
            Stage::Open(tcb) => counts(&tcb.stats),
            Stage::FastOpened(state) => {
                let retries = u32::from(state.retries());
                (retries, retries)
            }
            Stage::Resting(resting) => counts(&resting.stats),
            Stage::Closed { .. } => (0, 0),
        };
        Losses {
            retransmits,
            timeouts,
        }
    }

    /// Returns true if nothing but the first FIN is left to send.
    pub fn has_only_fin_to_send(&self) -> bool {
        self.tcb()
            .is_some_and(|tcb| tcb.has_unsent() && tcb.unsent() == 0)
    }

    /// Returns the counters and state of the connection, with the times of [`TcpInfo::busy`] up to the end of its last turn.
    pub fn info(&self) -> TcpInfo {
        self.info_at(Instant::ZERO)
    }

    /// Returns the counters and state of the connection at `now`.
    pub fn info_at(&self, now: Instant) -> TcpInfo {
        let mut info = TcpInfo {
            state: self.state(),
            recovery: RecoveryStage::None,
            min_rtt: Duration::ZERO,
            pacing_rate: None,
            delivery_rate: None,
            lost: 0,
            reordering: false,
            unsent: 0,
            unread: 0,
            last_heard: Instant::ZERO,
            last_sent: Instant::ZERO,
            srtt: Duration::ZERO,
            rttvar: Duration::ZERO,
            rto: Duration::ZERO,
            cwnd: 0,
            ssthresh: 0,
            mss: 0,
            in_flight: 0,
            first_unacked: SeqNum(0),
            sacked: 0,
            send_window: 0,
            recv_window: 0,
            recv_buffer: 0,
            bytes_in: 0,
            bytes_out: 0,
            retransmits: 0,
            bytes_resent: 0,
            resent_in_flight: 0,
            timeouts: 0,
            timeout_series: 0,
            timeout_time: Duration::ZERO,
            timeouts_in_row: 0,
            keepalive_probes: 0,
            recoveries: 0,
            undone: 0,
            segments_in: 0,
            segments_out: 0,
            data_segments_in: 0,
            data_segments_out: 0,
            delivered: 0,
            duplicates_reported: 0,
            reorderings: 0,
            out_of_order_segments: 0,
            busy: Duration::ZERO,
            recv_window_limited: Duration::ZERO,
            send_buffer_limited: Duration::ZERO,
            syn_data: false,
            agreed: AgreedOptions::default(),
            ecn: EcnMode::Off,
            received_ce: 0,
            delivered_ce: 0,
            delivered_ect0_bytes: 0,
            delivered_ce_bytes: 0,
            delivered_ect1_bytes: 0,
            out_of_order: 0,
            memory: self.pinned(),
        };
        match &self.stage {
            Stage::Resting(resting) => {
                let mut awake = Self {
                    stage: Stage::Resting(resting.clone()),
                };
                awake.wake();
                return awake.info_at(now);
            }
            Stage::SynSent(SynSent { opening }) => {
                info.mss = opening.mss();
                fill_handshake(&mut info, opening.retries());
            }
            Stage::SynReceived(SynReceived { half, .. }) => {
                info.mss = half.mss();
                info.segments_in = 1;
                fill_handshake(&mut info, half.retries());
            }
            Stage::Open(tcb) => fill(&mut info, tcb, now),
            Stage::FastOpened(state) => {
                fill(&mut info, &state.block, now);
                info.retransmits += u32::from(state.retries());
                info.timeouts += u32::from(state.retries());
            }
            Stage::Closed { .. } => {}
        }
        info
    }

    /// Returns the right edge of the offered window, and RCV.NXT.
    #[cfg(test)]
    pub(super) fn recv_edge(&self) -> Option<(super::SeqNum, super::SeqNum)> {
        self.tcb().map(|tcb| (tcb.window.edge(), tcb.window.nxt))
    }
}

/// Fills in what is known of a handshake whose SYN was sent again so often.
fn fill_handshake(info: &mut TcpInfo, retries: u8) {
    info.retransmits = u32::from(retries);
    info.timeouts = info.retransmits;
    info.timeout_series = u32::from(retries > 0);
    info.timeouts_in_row = retries;
    info.segments_out = 1 + info.retransmits;
    info.in_flight = 1;
    info.resent_in_flight = u32::from(retries > 0);
}

/// Returns the retransmissions and timeouts.
fn counts(stats: &Stats) -> (u32, u32) {
    stats
        .losses()
        .map_or((0, 0), |losses| (losses.retransmits, losses.timeouts))
}

/// Fills in what losses counted.
fn fill_losses(info: &mut TcpInfo, losses: &LossStats, now: Instant) {
    info.retransmits = losses.retransmits;
    info.bytes_resent = losses.bytes_resent;
    info.timeouts = losses.timeouts;
    info.timeout_series = losses.timeout_series;
    info.timeout_time = Duration::from_millis(losses.timeout_millis(now).into());
    info.recoveries = losses.recoveries;
    info.undone = losses.undone;
    info.duplicates_reported = losses.duplicates_reported;
    info.reorderings = losses.reordered;
    info.out_of_order_segments = losses.out_of_order;
}

/// Fills in what the control block of a connection knows.
fn fill(info: &mut TcpInfo, tcb: &Tcb, now: Instant) {
    info.recovery = match tcb.flight.mode() {
        Mode::Open => RecoveryStage::None,
        Mode::Recovery => RecoveryStage::Fast,
        Mode::Loss => RecoveryStage::Timeout,
    };
    info.min_rtt = tcb.rtt.least().unwrap_or_default();
    info.pacing_rate = tcb.cc.pacing_rate(tcb.rtt.srtt_nanos());
    info.delivery_rate = tcb.flight.delivery_rate();
    info.lost = tcb.flight.lost();
    info.reordering = !tcb.flight.reordering().counts();
    info.unsent = if tcb.fin_sent() { 0 } else { tcb.unsent() };
    info.unread = tcb.ring.len() as u32;
    info.last_heard = tcb.last_heard;
    if tcb.flags.contains(Flags::SENT) {
        info.last_sent = tcb.last_sent;
    }
    info.srtt = tcb.rtt.srtt().unwrap_or_default();
    info.rttvar = tcb.rtt.rttvar();
    info.rto = tcb.rto();
    info.cwnd = tcb.cc.cwnd();
    info.ssthresh = tcb.cc.ssthresh();
    info.mss = u16::try_from(tcb.payload_mss()).unwrap_or(u16::MAX);
    info.in_flight = tcb.flight.outstanding();
    info.first_unacked = tcb.flight.una();
    info.sacked = tcb.flight.sacked();
    info.send_window = tcb.peer.wnd;
    info.recv_window = tcb.window.offered();
    info.recv_buffer = tcb.window.capacity();
    info.bytes_in = tcb.stats.bytes_in;
    info.bytes_out = tcb.stats.bytes_out;
    if let Some(losses) = tcb.stats.losses() {
        fill_losses(info, losses, now);
    }
    info.resent_in_flight = tcb.flight.resent();
    info.timeouts_in_row = tcb.retries;
    info.keepalive_probes = tcb.keepalives;
    info.segments_in = tcb.segments.received;
    info.segments_out = tcb.segments.sent;
    info.data_segments_in = tcb.segments.received_with_data;
    info.data_segments_out = tcb.segments.sent_with_data;
    info.delivered = tcb.segments.delivered;
    let times = tcb.send_times.totals(now);
    info.busy = times.busy;
    info.recv_window_limited = times.recv_window_limited;
    info.send_buffer_limited = times.send_buffer_limited;
    info.syn_data = tcb.settings.syn_data;
    info.agreed = AgreedOptions {
        timestamps: tcb.agreed.timestamps,
        sack: tcb.agreed.sack,
        send_scale: tcb.agreed.send_scale,
        recv_scale: tcb.agreed.recv_scale,
    };
    let (received, echoed) = tcb.ecn.counters();
    info.ecn = tcb.ecn.mode();
    info.received_ce = received.packets;
    info.delivered_ce = echoed.packets;
    info.delivered_ect0_bytes = echoed.ect0;
    info.delivered_ce_bytes = echoed.ce;
    info.delivered_ect1_bytes = echoed.ect1;
    info.out_of_order = tcb
        .assembler
        .as_ref()
        .map_or(0, |board| u32::try_from(board.len()).unwrap_or(u32::MAX));
}
