//! Sockets as `ss` lists them: rows, states, filters.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use netstack::net::{HalfOpenInfo, SocketInfo, SocketKind, Stack, TimeWaitInfo};
use netstack::tcp::{EcnMode, RecoveryStage, State, TcpInfo};
use serde::{Deserialize, Serialize};

/// Most half-open connections, and most in TIME-WAIT, that one list has.
pub(crate) const MOST_BRIEF: usize = 16_384;

/// The kind of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum NetId {
    Tcp,
    Udp,
    Icmp,
}

impl NetId {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
        }
    }
}

macro_rules! states {
    ($($variant:ident = $name:literal, $short:literal;)+) => {
        /// The state of a socket, by its name in a filter of `ss`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub(crate) enum SocketState { $(#[serde(rename = $name)] $variant,)+ }

        impl SocketState {
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Returns the name in a filter.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// Returns the name in the list.
            pub(crate) const fn short(self) -> &'static str {
                match self { $(Self::$variant => $short,)+ }
            }
        }
    };
}

states! {
    Established = "established", "ESTAB";
    SynSent = "syn-sent", "SYN-SENT";
    SynRecv = "syn-recv", "SYN-RECV";
    FinWait1 = "fin-wait-1", "FIN-WAIT-1";
    FinWait2 = "fin-wait-2", "FIN-WAIT-2";
    TimeWait = "time-wait", "TIME-WAIT";
    Unconnected = "closed", "UNCONN";
    CloseWait = "close-wait", "CLOSE-WAIT";
    LastAck = "last-ack", "LAST-ACK";
    Listening = "listening", "LISTEN";
    Closing = "closing", "CLOSING";
}

impl From<State> for SocketState {
    fn from(state: State) -> Self {
        match state {
            State::SynSent => Self::SynSent,
            State::SynReceived => Self::SynRecv,
            State::Established => Self::Established,
            State::FinWait1 => Self::FinWait1,
            State::FinWait2 => Self::FinWait2,
            State::CloseWait => Self::CloseWait,
            State::Closing => Self::Closing,
            State::LastAck => Self::LastAck,
            State::TimeWait => Self::TimeWait,
            State::Closed => Self::Unconnected,
        }
    }
}

/// A socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SocketRow {
    pub(crate) netid: NetId,
    pub(crate) state: SocketState,
    /// Bytes that wait for the application; of a listener, connections that do.
    pub(crate) recv_q: u64,
    /// Bytes that were not sent or not acknowledged; of a listener, half-open handshakes.
    pub(crate) send_q: u64,
    pub(crate) local: SocketAddr,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) worker: Option<usize>,
    /// Memory for packets that the socket holds, in bytes.
    pub(crate) memory_bytes: u64,
    /// Of a connection.
    pub(crate) tcp: Option<TcpRow>,
    /// Of a socket for datagrams: received, and dropped because its queue was full.
    pub(crate) datagrams: Option<(u64, u64)>,
    /// Of what is half open or in TIME-WAIT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timer: Option<TimerRow>,
}

/// The timer of an entry that is no socket: half open, or in TIME-WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TimerRow {
    pub(crate) remaining_millis: u64,
    /// SYN-ACKs that were sent again.
    pub(crate) retries: u8,
}

impl TimerRow {
    fn new(remaining: Duration, retries: u8) -> Self {
        Self {
            remaining_millis: u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX),
            retries,
        }
    }
}

/// The state of a connection, as TCP has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TcpRow {
    pub(crate) rto_micros: u64,
    pub(crate) srtt_micros: u64,
    pub(crate) rttvar_micros: u64,
    pub(crate) min_rtt_micros: u64,
    pub(crate) mss: u16,
    pub(crate) cwnd_bytes: u32,
    pub(crate) ssthresh_bytes: u32,
    pub(crate) in_flight_bytes: u32,
    /// Sequence number of the first byte that is not acknowledged.
    #[serde(default)]
    pub(crate) first_unacked: u32,
    pub(crate) unsent_bytes: u32,
    pub(crate) sacked_bytes: u32,
    pub(crate) lost_bytes: u32,
    pub(crate) send_window_bytes: u32,
    pub(crate) recv_window_bytes: u32,
    pub(crate) recv_buffer_bytes: u32,
    pub(crate) out_of_order_bytes: u32,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_acked: u64,
    pub(crate) retransmits: u32,
    pub(crate) timeouts: u32,
    pub(crate) recoveries: u32,
    pub(crate) spurious: u32,
    #[serde(default)]
    pub(crate) bytes_resent: u64,
    /// Bytes in flight that were sent again.
    #[serde(default)]
    pub(crate) resent_in_flight_bytes: u32,
    #[serde(default)]
    pub(crate) timeout_series: u32,
    #[serde(default)]
    pub(crate) timeout_micros: u64,
    #[serde(default)]
    pub(crate) timeouts_in_row: u8,
    #[serde(default)]
    pub(crate) keepalive_probes: u8,
    /// Segments of the wire, modulo 2^32, as the three below.
    #[serde(default)]
    pub(crate) segments_in: u32,
    #[serde(default)]
    pub(crate) segments_out: u32,
    #[serde(default)]
    pub(crate) data_segments_in: u32,
    #[serde(default)]
    pub(crate) data_segments_out: u32,
    /// Segments that the peer has.
    #[serde(default)]
    pub(crate) delivered: u32,
    /// Acknowledgments that reported a duplicate.
    #[serde(default)]
    pub(crate) duplicates_reported: u32,
    /// Acknowledgments that showed reordering.
    #[serde(default)]
    pub(crate) reorderings: u32,
    #[serde(default)]
    pub(crate) out_of_order_segments: u32,
    pub(crate) pacing_bytes_per_second: Option<u64>,
    pub(crate) delivery_bytes_per_second: Option<u64>,
    /// Time with data to send or to have acknowledged, what the two below held back included.
    #[serde(default)]
    pub(crate) busy_micros: u64,
    #[serde(default)]
    pub(crate) recv_window_limited_micros: u64,
    #[serde(default)]
    pub(crate) send_buffer_limited_micros: u64,
    pub(crate) recovery: Option<String>,
    pub(crate) ecn: bool,
    pub(crate) has_reordering: bool,
}

impl From<&TcpInfo> for TcpRow {
    fn from(info: &TcpInfo) -> Self {
        let micros =
            |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Self {
            rto_micros: micros(info.rto),
            srtt_micros: micros(info.srtt),
            rttvar_micros: micros(info.rttvar),
            min_rtt_micros: micros(info.min_rtt),
            mss: info.mss,
            cwnd_bytes: info.cwnd,
            ssthresh_bytes: info.ssthresh,
            in_flight_bytes: info.in_flight,
            first_unacked: info.first_unacked.0,
            unsent_bytes: info.unsent,
            sacked_bytes: info.sacked,
            lost_bytes: info.lost,
            send_window_bytes: info.send_window,
            recv_window_bytes: info.recv_window,
            recv_buffer_bytes: info.recv_buffer,
            out_of_order_bytes: info.out_of_order,
            bytes_received: info.bytes_in,
            bytes_acked: info.bytes_out,
            retransmits: info.retransmits,
            timeouts: info.timeouts,
            recoveries: info.recoveries,
            spurious: info.undone,
            bytes_resent: info.bytes_resent,
            resent_in_flight_bytes: info.resent_in_flight,
            timeout_series: info.timeout_series,
            timeout_micros: micros(info.timeout_time),
            timeouts_in_row: info.timeouts_in_row,
            keepalive_probes: info.keepalive_probes,
            segments_in: info.segments_in,
            segments_out: info.segments_out,
            data_segments_in: info.data_segments_in,
            data_segments_out: info.data_segments_out,
            delivered: info.delivered,
            duplicates_reported: info.duplicates_reported,
            reorderings: info.reorderings,
            out_of_order_segments: info.out_of_order_segments,
            pacing_bytes_per_second: info.pacing_rate,
            delivery_bytes_per_second: info.delivery_rate,
            busy_micros: micros(info.busy),
            recv_window_limited_micros: micros(info.recv_window_limited),
            send_buffer_limited_micros: micros(info.send_buffer_limited),
            recovery: match info.recovery {
                RecoveryStage::None => None,
                RecoveryStage::Fast => Some("fast".to_owned()),
                RecoveryStage::Timeout => Some("timeout".to_owned()),
            },
            ecn: info.ecn != EcnMode::Off,
            has_reordering: info.reordering,
        }
    }
}

impl From<HalfOpenInfo> for SocketRow {
    fn from(info: HalfOpenInfo) -> Self {
        Self {
            state: SocketState::SynRecv,
            timer: Some(TimerRow::new(info.remaining, info.retries)),
            ..Self::bare(info.local, Some(info.remote))
        }
    }
}

impl From<TimeWaitInfo> for SocketRow {
    fn from(info: TimeWaitInfo) -> Self {
        Self {
            state: SocketState::TimeWait,
            timer: Some(TimerRow::new(info.remaining, 0)),
            ..Self::bare(info.local, Some(info.remote))
        }
    }
}

impl SocketRow {
    fn bare(local: SocketAddr, peer: Option<SocketAddr>) -> Self {
        Self {
            netid: NetId::Tcp,
            state: SocketState::Unconnected,
            recv_q: 0,
            send_q: 0,
            local,
            peer,
            worker: None,
            memory_bytes: 0,
            tcp: None,
            datagrams: None,
            timer: None,
        }
    }

    /// Returns the row of a connection.
    pub(crate) fn of_connection(local: SocketAddr, peer: SocketAddr, tcp: &TcpInfo) -> Self {
        Self {
            state: tcp.state.into(),
            recv_q: tcp.unread.into(),
            send_q: u64::from(tcp.in_flight) + u64::from(tcp.unsent),
            memory_bytes: tcp.memory as u64,
            tcp: Some(TcpRow::from(tcp)),
            ..Self::bare(local, Some(peer))
        }
    }

    /// Returns the row of a socket; `None` for a kind that `ss` does not know.
    pub(crate) fn of(info: &SocketInfo) -> Option<Self> {
        let mut row = Self {
            worker: info.worker,
            ..Self::bare(info.local, info.remote)
        };
        match &info.kind {
            SocketKind::TcpListener { waiting, half_open } => {
                row.state = SocketState::Listening;
                row.recv_q = *waiting as u64;
                row.send_q = *half_open as u64;
            }
            SocketKind::Tcp(tcp) => {
                row = Self {
                    worker: info.worker,
                    ..Self::of_connection(info.local, info.remote?, tcp)
                };
            }
            SocketKind::Udp(queue) | SocketKind::Echo(queue) => {
                let is_udp = matches!(info.kind, SocketKind::Udp(_));
                row.netid = if is_udp { NetId::Udp } else { NetId::Icmp };
                if info.remote.is_some() {
                    row.state = SocketState::Established;
                }
                row.recv_q = queue.queued_bytes as u64;
                row.memory_bytes = queue.queued_bytes as u64;
                row.datagrams = Some((queue.received, queue.dropped));
            }
            _ => return None,
        }
        Some(row)
    }
}

/// An address, a prefix, a port, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Endpoint {
    pub(crate) prefix: Option<IpNet>,
    pub(crate) port: Option<u16>,
}

impl Endpoint {
    fn matches(&self, address: Option<SocketAddr>) -> bool {
        let Some(address) = address else {
            return self.prefix.is_none() && self.port.is_none();
        };
        let inside = self.prefix.is_none_or(|net| net.contains(&address.ip()));
        inside && self.port.is_none_or(|port| port == address.port())
    }
}

/// The sockets that are wanted: each list that is not empty must have a match, and each end must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SocketFilter {
    pub(crate) netids: Vec<NetId>,
    pub(crate) states: Vec<SocketState>,
    /// True for IPv4 alone, false for IPv6 alone.
    pub(crate) ipv4: Option<bool>,
    pub(crate) local: Vec<Endpoint>,
    pub(crate) peer: Vec<Endpoint>,
}

impl SocketFilter {
    fn wants(&self, state: SocketState) -> bool {
        self.states.is_empty() || self.states.contains(&state)
    }

    /// Returns the sockets of a stack that are wanted, then what is half open and what is in TIME-WAIT, and how many of
    /// those two are left out because there are more than [`MOST_BRIEF`] of either.
    pub(crate) fn rows_of(&self, stack: &Stack) -> (Vec<SocketRow>, u64) {
        let sockets = stack.sockets();
        let rows = sockets.iter().filter_map(SocketRow::of);
        let mut rows: Vec<SocketRow> = rows.filter(|row| self.accepts(row)).collect();
        let mut omitted = 0;
        let mut add = |brief: &mut dyn Iterator<Item = SocketRow>| {
            let mut wanted = brief.filter(|row| self.accepts(row));
            rows.extend(wanted.by_ref().take(MOST_BRIEF));
            omitted += wanted.count() as u64;
        };
        let is_tcp = self.netids.is_empty() || self.netids.contains(&NetId::Tcp);
        if is_tcp && self.wants(SocketState::SynRecv) {
            add(&mut stack.list_half_open().map(SocketRow::from));
        }
        if is_tcp && self.wants(SocketState::TimeWait) {
            add(&mut stack.list_time_waits().map(SocketRow::from));
        }
        (rows, omitted)
    }

    /// Returns whether a socket is wanted.
    pub(crate) fn accepts(&self, row: &SocketRow) -> bool {
        (self.netids.is_empty() || self.netids.contains(&row.netid))
            && self.wants(row.state)
            && self.ipv4.is_none_or(|v4| v4 == row.local.is_ipv4())
            && self.local.iter().all(|end| end.matches(Some(row.local)))
            && self.peer.iter().all(|end| end.matches(row.peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(local: &str, peer: Option<&str>, state: SocketState) -> SocketRow {
        SocketRow {
            state,
            ..SocketRow::bare(
                local.parse().expect("an address"),
                peer.map(|peer| peer.parse().expect("an address")),
            )
        }
    }

    #[test]
    fn each_part_of_a_filter_must_match() {
        let open = row("10.0.0.2:7", Some("10.0.0.1:999"), SocketState::Established);
        let waiting = row("[fd77::2]:7", None, SocketState::Listening);
        let filter = |text: &str| serde_json::from_str::<SocketFilter>(text).expect(text);
        for (text, accepts) in [
            ("{}", [true, true]),
            (r#"{"states":["established"]}"#, [true, false]),
            (r#"{"ipv4":false}"#, [false, true]),
            (r#"{"netids":["udp"]}"#, [false, false]),
            (r#"{"local":[{"port":7}]}"#, [true, true]),
            (r#"{"peer":[{"prefix":"10.0.0.0/24"}]}"#, [true, false]),
            (r#"{"peer":[{"prefix":"10.0.1.0/24"}]}"#, [false, false]),
            (
                r#"{"peer":[{"prefix":"10.0.0.0/24"},{"port":998}]}"#,
                [false, false],
            ),
        ] {
            let filter = filter(text);
            assert_eq!(
                [filter.accepts(&open), filter.accepts(&waiting)],
                accepts,
                "{text}"
            );
        }
        assert!(serde_json::from_str::<SocketFilter>(r#"{"state":[]}"#).is_err());
    }
}
