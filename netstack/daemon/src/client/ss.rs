//! `netstackd ss`: the daemon's sockets, as `ss` lists the kernel's.

use std::fmt::Write as _;

use clap::Args;

use super::connection::{Connection, ControlArgs};
use super::filter::{self, Kind};
use super::{json_line, print};
use crate::control::protocol::{Reply, Request};
use crate::control::rows::{NetId, SocketFilter, SocketRow, SocketState, TcpRow, TimerRow};
use crate::failure::Failure;
use crate::output::print_last;

/// Flags of `ss`. Some name what is so in any case, for the habit.
#[derive(Debug, Args)]
// Each is a flag of ss.
#[allow(clippy::struct_excessive_bools)]
pub struct SsArgs {
    #[command(flatten)]
    control: ControlArgs,
    /// TCP.
    #[arg(short, long)]
    tcp: bool,
    /// UDP.
    #[arg(short, long)]
    udp: bool,
    /// Sockets for ICMP echo.
    #[arg(short = 'w', long)]
    raw: bool,
    /// Numbers instead of names: always so.
    #[arg(short, long)]
    numeric: bool,
    /// Listeners, too.
    #[arg(short, long)]
    all: bool,
    /// Listeners alone.
    #[arg(short, long)]
    listening: bool,
    /// Shows what TCP knows of each connection.
    #[arg(short, long)]
    info: bool,
    /// Memory that each socket holds.
    #[arg(short, long)]
    memory: bool,
    /// IPv4 alone.
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    ipv4: bool,
    /// IPv6 alone.
    #[arg(short = '6', long)]
    ipv6: bool,
    /// No header.
    #[arg(short = 'H', long)]
    no_header: bool,
    /// One JSON object a line.
    #[arg(short, long)]
    json: bool,
    /// state NAME, exclude NAME, src ADDRESS[/PREFIX][:PORT], dst ADDRESS[/PREFIX][:PORT], sport = :PORT, dport = :PORT.
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
}

/// Prints the sockets.
///
/// # Errors
/// A filter is wrong, or no daemon answers.
pub(crate) fn run(args: &SsArgs) -> Result<(), Failure> {
    let filter = filter_of(args).map_err(Failure::Usage)?;
    let mut connection = Connection::open(&args.control)?;
    connection.send(&Request::Ss(filter))?;
    if !args.no_header && !args.json {
        print(&header())?;
    }
    loop {
        match connection.reply()? {
            Reply::Socket(row) if args.json => print(&json_line(&row)?)?,
            Reply::Socket(row) => print(&text_of(&row, args.info, args.memory))?,
            Reply::End(end) => {
                if end.omitted > 0 {
                    print_last(format!(
                        "netstackd: {} more that are half open or in TIME-WAIT are left out",
                        end.omitted
                    ));
                }
                return Ok(());
            }
            _ => return Err(super::connection::strange("the control socket")),
        }
    }
}

fn filter_of(args: &SsArgs) -> Result<SocketFilter, String> {
    let chosen = [
        (args.tcp, NetId::Tcp),
        (args.udp, NetId::Udp),
        (args.raw, NetId::Icmp),
    ];
    let mut filter = SocketFilter {
        netids: chosen
            .iter()
            .filter(|(is, _)| *is)
            .map(|(_, id)| *id)
            .collect(),
        ipv4: match (args.ipv4, args.ipv6) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        },
        ..SocketFilter::default()
    };
    let kind = match (args.all, args.listening) {
        (true, _) => Kind::All,
        (_, true) => Kind::Listening,
        _ => Kind::Connected,
    };
    filter::parse(&args.filter, kind, &mut filter)?;
    Ok(filter)
}

fn header() -> String {
    format!(
        "{:<6}{:<11}{:>7}{:>8}  {:<28} {:<28}\n",
        "Netid", "State", "Recv-Q", "Send-Q", "Local Address:Port", "Peer Address:Port"
    )
}

fn text_of(row: &SocketRow, info: bool, memory: bool) -> String {
    let peer = row.peer.map_or("*:*".to_owned(), |peer| peer.to_string());
    let mut text = format!(
        "{:<6}{:<11}{:>7}{:>8}  {:<28} {:<28}",
        row.netid.name(),
        row.state.short(),
        row.recv_q,
        row.send_q,
        row.local.to_string(),
        peer
    );
    text.truncate(text.trim_end().len());
    text.push('\n');
    let mut more = String::new();
    if memory {
        let buffer = row.tcp.as_ref().map_or(0, |tcp| tcp.recv_buffer_bytes);
        // Writing to a String does not fail.
        let _ = write!(
            more,
            " skmem:(r{},rb{buffer},t{}) held:{}",
            row.recv_q, row.send_q, row.memory_bytes
        );
    }
    if let Some(timer) = row.timer.filter(|_| info) {
        // Writing to a String does not fail.
        let _ = write!(more, "{}", timer_of(row.state, timer));
    }
    if info {
        match (&row.tcp, row.datagrams) {
            (Some(tcp), _) => more.push_str(&info_of(tcp)),
            (None, Some((received, dropped))) => {
                let _ = write!(more, " received:{received} dropped:{dropped}");
            }
            (None, None) => {}
        }
        if let Some(worker) = row.worker {
            let _ = write!(more, " worker:{worker}");
        }
    }
    if !more.is_empty() {
        text.push('\t');
        text.push_str(&more);
        text.push('\n');
    }
    text
}

/// Returns the timer as `ss -o` has it.
fn timer_of(state: SocketState, timer: TimerRow) -> String {
    let name = if state == SocketState::TimeWait {
        "timewait"
    } else {
        "on"
    };
    let remaining = match timer.remaining_millis {
        millis @ 0..10_000 => format!("{millis}ms"),
        millis => format!("{}sec", millis / 1_000),
    };
    format!(" timer:({name},{remaining},{})", timer.retries)
}

/// Returns how long the connection was busy, and the part of this for which the peer's window or the program held it back.
fn times_of(tcp: &TcpRow) -> String {
    let busy = tcp.busy_micros;
    if busy == 0 {
        return String::new();
    }
    let mut text = format!(" busy:{}ms", busy / 1_000);
    for (name, micros) in [
        ("rwnd_limited", tcp.recv_window_limited_micros),
        ("sndbuf_limited", tcp.send_buffer_limited_micros),
    ] {
        if micros > 0 {
            let share = 100.0 * micros as f64 / busy as f64;
            // Writing to a String does not fail.
            let _ = write!(text, " {name}:{}ms({share:.1}%)", micros / 1_000);
        }
    }
    text
}

/// Returns what `ss -i` calls the same: times in milliseconds, the congestion window in segments.
fn info_of(tcp: &TcpRow) -> String {
    let millis = |micros: u64| micros as f64 / 1e3;
    let mss = u32::from(tcp.mss).max(1);
    let segments = |bytes: u32| bytes.div_ceil(mss);
    let mut text = String::new();
    if tcp.ecn {
        text.push_str(" ecn");
    }
    // Writing to a String does not fail.
    let _ = write!(
        text,
        " rto:{} rtt:{}/{} minrtt:{} mss:{} cwnd:{}",
        millis(tcp.rto_micros),
        millis(tcp.srtt_micros),
        millis(tcp.rttvar_micros),
        millis(tcp.min_rtt_micros),
        tcp.mss,
        segments(tcp.cwnd_bytes)
    );
    if tcp.ssthresh_bytes < i32::MAX as u32 {
        let _ = write!(text, " ssthresh:{}", segments(tcp.ssthresh_bytes));
    }
    let _ = write!(
        text,
        " bytes_acked:{} bytes_received:{} segs_out:{} segs_in:{} data_segs_out:{} data_segs_in:{} delivered:{}",
        tcp.bytes_acked,
        tcp.bytes_received,
        tcp.segments_out,
        tcp.segments_in,
        tcp.data_segments_out,
        tcp.data_segments_in,
        tcp.delivered
    );
    for (name, rate) in [
        ("pacing_rate", tcp.pacing_bytes_per_second),
        ("delivery_rate", tcp.delivery_bytes_per_second),
    ] {
        if let Some(rate) = rate {
            let _ = write!(text, " {name} {}bps", rate.saturating_mul(8));
        }
    }
    text.push_str(&times_of(tcp));
    for (name, value) in [
        ("unacked", segments(tcp.in_flight_bytes)),
        ("notsent", tcp.unsent_bytes),
        ("retrans", tcp.retransmits),
        ("retrans_in_flight", segments(tcp.resent_in_flight_bytes)),
        ("backoff", tcp.timeouts_in_row.into()),
        ("probes", tcp.keepalive_probes.into()),
        ("timeouts", tcp.timeouts),
        ("timeout_series", tcp.timeout_series),
        ("recoveries", tcp.recoveries),
        ("spurious", tcp.spurious),
        ("lost", segments(tcp.lost_bytes)),
        ("sacked", segments(tcp.sacked_bytes)),
        ("dsack_dups", tcp.duplicates_reported),
        ("reord_seen", tcp.reorderings),
        ("rcv_ooopack", tcp.out_of_order_segments),
        ("rcv_ooo", tcp.out_of_order_bytes),
    ] {
        if value > 0 {
            let _ = write!(text, " {name}:{value}");
        }
    }
    if tcp.bytes_resent > 0 {
        let _ = write!(text, " bytes_retrans:{}", tcp.bytes_resent);
    }
    if tcp.timeout_micros > 0 {
        let _ = write!(text, " timeout_time:{}ms", tcp.timeout_micros / 1_000);
    }
    let _ = write!(
        text,
        " snd_wnd:{} rcv_wnd:{}",
        tcp.send_window_bytes, tcp.recv_window_bytes
    );
    if let Some(kind) = &tcp.recovery {
        let _ = write!(text, " recovery:{kind}");
    }
    if tcp.has_reordering {
        text.push_str(" reordering");
    }
    text
}
