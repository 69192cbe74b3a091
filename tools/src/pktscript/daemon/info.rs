//! `tcp_info` of a connection, and counts of sockets, from the daemon's list of sockets.

use std::net::SocketAddr;

use serde_json::Value;

use crate::live::control::Sockets;
use crate::pktscript::code::Names;

/// The states of connections: as the daemon names them, as scripts count them, and their number in `tcp_info`.
const STATES: [(&str, &str, i64); 9] = [
    ("established", "ESTABLISHED", 1),
    ("syn-sent", "SYN_SENT", 2),
    ("syn-recv", "SYN_RCVD", 3),
    ("fin-wait-1", "FIN_WAIT_1", 4),
    ("fin-wait-2", "FIN_WAIT_2", 5),
    ("time-wait", "TIME_WAIT", 6),
    ("close-wait", "CLOSE_WAIT", 8),
    ("last-ack", "LAST_ACK", 9),
    ("closing", "CLOSING", 11),
];

/// Returns the row of a connection.
///
/// # Errors
/// The daemon is gone, or the connection.
pub(super) fn row(
    sockets: &mut Sockets,
    local: SocketAddr,
    remote: SocketAddr,
) -> Result<Value, String> {
    let states: Vec<&str> = STATES.iter().map(|(name, ..)| *name).collect();
    let rows = sockets.list(&states, Some(local))?;
    let peer = remote.to_string();
    let found = rows.into_iter().find(|row| row["peer"] == peer.as_str());
    found.ok_or_else(|| "tcp_info of a connection that is gone".to_owned())
}

/// How a value of the daemon becomes one of `tcp_info`.
#[derive(Clone, Copy)]
enum As {
    Is,
    /// Microseconds as milliseconds.
    Millis,
    /// Bytes as segments, begun ones counted.
    Segments,
    /// Bytes as whole segments. Without a limit it is as Linux has it.
    WholeSegments,
}

const FIELDS: [(&str, &str, As); 34] = [
    ("tcpi_snd_mss", "mss", As::Is),
    ("tcpi_snd_cwnd", "cwnd_bytes", As::WholeSegments),
    ("tcpi_snd_ssthresh", "ssthresh_bytes", As::WholeSegments),
    ("tcpi_unacked", "in_flight_bytes", As::Segments),
    ("tcpi_sacked", "sacked_bytes", As::Segments),
    ("tcpi_lost", "lost_bytes", As::Segments),
    ("tcpi_retrans", "resent_in_flight_bytes", As::Segments),
    ("tcpi_backoff", "timeouts_in_row", As::Is),
    ("tcpi_total_retrans", "retransmits", As::Is),
    ("tcpi_bytes_retrans", "bytes_resent", As::Is),
    ("tcpi_segs_in", "segments_in", As::Is),
    ("tcpi_segs_out", "segments_out", As::Is),
    ("tcpi_data_segs_in", "data_segments_in", As::Is),
    ("tcpi_data_segs_out", "data_segments_out", As::Is),
    ("tcpi_delivered", "delivered", As::Is),
    ("tcpi_dsack_dups", "duplicates_reported", As::Is),
    ("tcpi_reord_seen", "reorderings", As::Is),
    ("tcpi_rcv_ooopack", "out_of_order_segments", As::Is),
    ("tcpi_total_rto", "timeouts", As::Is),
    ("tcpi_total_rto_recoveries", "timeout_series", As::Is),
    ("tcpi_total_rto_time", "timeout_micros", As::Millis),
    ("tcpi_delivery_rate", "delivery_bytes_per_second", As::Is),
    ("tcpi_rtt", "srtt_micros", As::Is),
    ("tcpi_rttvar", "rttvar_micros", As::Is),
    ("tcpi_min_rtt", "min_rtt_micros", As::Is),
    ("tcpi_rto", "rto_micros", As::Is),
    ("tcpi_bytes_acked", "bytes_acked", As::Is),
    ("tcpi_bytes_received", "bytes_received", As::Is),
    ("tcpi_busy_time", "busy_micros", As::Is),
    ("tcpi_rwnd_limited", "recv_window_limited_micros", As::Is),
    ("tcpi_sndbuf_limited", "send_buffer_limited_micros", As::Is),
    ("tcpi_notsent_bytes", "unsent_bytes", As::Is),
    ("tcpi_snd_wnd", "send_window_bytes", As::Is),
    ("tcpi_rcv_wnd", "recv_window_bytes", As::Is),
];

/// Returns the values that the daemon tells of a connection. Others are missing, so that a script that asks for one is not
/// supported.
pub(super) fn names(row: &Value) -> Names {
    let state = STATES.iter().find(|(name, ..)| row["state"] == *name);
    let mut names = Names::new();
    names.extend(state.map(|(_, _, number)| ("tcpi_state".to_owned(), *number)));
    let tcp = &row["tcp"];
    let mss = tcp["mss"].as_i64().unwrap_or(1).max(1);
    for (name, key, unit) in FIELDS {
        let Some(value) = tcp[key].as_i64() else {
            continue;
        };
        let value = match unit {
            As::Is => value,
            As::Millis => value / 1_000,
            As::Segments => (value + mss - 1) / mss,
            As::WholeSegments if value >= i64::from(u32::MAX / 2) => 0x7fff_ffff,
            As::WholeSegments => value / mss,
        };
        names.insert(name.to_owned(), value);
    }
    let number = |key: &str| tcp[key].as_i64();
    if let (Some(in_flight), Some(timeouts), Some(keepalives)) = (
        number("in_flight_bytes"),
        number("timeouts_in_row"),
        number("keepalive_probes"),
    ) {
        // With nothing in flight they are probes of a closed window.
        let (retransmits, probes) = match in_flight {
            0 => (0, timeouts + keepalives),
            _ => (timeouts, 0),
        };
        names.insert("tcpi_retransmits".to_owned(), retransmits);
        names.insert("tcpi_probes".to_owned(), probes);
    }
    names
}

/// Returns the number of sockets in a state, by the name that scripts count it by.
pub(super) fn count(sockets: &mut Sockets, state: &str) -> Option<usize> {
    let (name, ..) = STATES.iter().find(|(_, name, _)| *name == state)?;
    sockets.list(&[name], None).ok().map(|rows| rows.len())
}
