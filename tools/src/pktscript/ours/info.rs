//! Values of `tcp_info` as Linux names them.

use netstack::tcp::{EcnMode, RecoveryStage, State, TcpInfo};

use crate::pktscript::code::Names;

/// The number of a state in Linux.
fn state(state: State) -> i64 {
    match state {
        State::Established => 1,
        State::SynSent => 2,
        State::SynReceived => 3,
        State::FinWait1 => 4,
        State::FinWait2 => 5,
        State::TimeWait => 6,
        State::Closed => 7,
        State::CloseWait => 8,
        State::LastAck => 9,
        State::Closing => 11,
    }
}

/// Returns the values of a connection. What this stack does not count is missing, so that a script that asks for
/// it is not supported.
pub(super) fn names(info: &TcpInfo) -> Names {
    let mss = i64::from(info.mss.max(1));
    let segments = |bytes: u32| (i64::from(bytes) + mss - 1) / mss;
    let micros = |time: std::time::Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    let (timeouts, in_flight) = (i64::from(info.timeouts_in_row), info.in_flight > 0);
    let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let recovery = match info.recovery {
        RecoveryStage::None if info.sacked > 0 => 1,
        RecoveryStage::None => 0,
        RecoveryStage::Fast => 3,
        RecoveryStage::Timeout => 4,
    };
    let ssthresh = match info.ssthresh {
        bytes if bytes >= u32::MAX / 2 => 0x7fff_ffff,
        bytes => i64::from(bytes) / mss,
    };
    let options = [
        (info.agreed.timestamps, 1),
        (info.agreed.sack, 2),
        (info.agreed.send_scale > 0 || info.agreed.recv_scale > 0, 4),
        (info.ecn != EcnMode::Off, 8),
        (info.syn_data, 32),
    ];
    let options = options.into_iter().filter(|(is_on, _)| *is_on);
    [
        ("tcpi_options", options.map(|(_, bit)| bit).sum()),
        ("tcpi_state", state(info.state)),
        ("tcpi_ca_state", recovery),
        ("tcpi_snd_cwnd", i64::from(info.cwnd) / mss),
        ("tcpi_snd_ssthresh", ssthresh),
        ("tcpi_snd_mss", mss),
        ("tcpi_unacked", segments(info.in_flight)),
        ("tcpi_sacked", segments(info.sacked)),
        ("tcpi_lost", segments(info.lost)),
        ("tcpi_retrans", segments(info.resent_in_flight)),
        ("tcpi_retransmits", if in_flight { timeouts } else { 0 }),
        ("tcpi_backoff", timeouts),
        (
            "tcpi_probes",
            if in_flight { 0 } else { timeouts } + i64::from(info.keepalive_probes),
        ),
        ("tcpi_total_retrans", i64::from(info.retransmits)),
        ("tcpi_bytes_retrans", whole(info.bytes_resent)),
        ("tcpi_segs_in", i64::from(info.segments_in)),
        ("tcpi_segs_out", i64::from(info.segments_out)),
        ("tcpi_data_segs_in", i64::from(info.data_segments_in)),
        ("tcpi_data_segs_out", i64::from(info.data_segments_out)),
        ("tcpi_delivered", i64::from(info.delivered)),
        ("tcpi_dsack_dups", i64::from(info.duplicates_reported)),
        ("tcpi_reord_seen", i64::from(info.reorderings)),
        ("tcpi_rcv_ooopack", i64::from(info.out_of_order_segments)),
        ("tcpi_total_rto", i64::from(info.timeouts)),
        ("tcpi_total_rto_recoveries", i64::from(info.timeout_series)),
        ("tcpi_total_rto_time", micros(info.timeout_time) / 1_000),
        ("tcpi_delivery_rate", whole(info.delivery_rate.unwrap_or(0))),
        ("tcpi_rtt", micros(info.srtt)),
        ("tcpi_rttvar", micros(info.rttvar)),
        ("tcpi_min_rtt", micros(info.min_rtt)),
        ("tcpi_rto", micros(info.rto)),
        ("tcpi_bytes_acked", whole(info.bytes_out)),
        ("tcpi_bytes_received", whole(info.bytes_in)),
        ("tcpi_busy_time", micros(info.busy)),
        ("tcpi_rwnd_limited", micros(info.recv_window_limited)),
        ("tcpi_sndbuf_limited", micros(info.send_buffer_limited)),
        ("tcpi_notsent_bytes", i64::from(info.unsent)),
        ("tcpi_snd_wnd", i64::from(info.send_window)),
        ("tcpi_rcv_wnd", i64::from(info.recv_window)),
        ("tcpi_delivered_ce", i64::from(info.delivered_ce)),
        ("tcpi_received_ce", i64::from(info.received_ce)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Returns what is known of a socket whose attempt to connect failed.
pub(super) fn closed() -> Names {
    [("tcpi_state", state(State::Closed)), ("tcpi_options", 0)]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}
