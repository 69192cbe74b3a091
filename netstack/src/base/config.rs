//! All limits of the stack.
//!
//! They bound every queue, table and buffer; the layers count the packets that exceed them. Every
//! constructor that takes a [`Config`] calls [`Config::validate`], which checks the limits against each
//! other.

use super::congestion::{Algorithm, TOLERATED_LOSS_PERCENT};
use super::mtu_probing::MtuProbing;
use super::time::Duration;

/// Limits and policies of a whole stack.
///
/// ```
/// use netstack::base::Config;
///
/// let mut config = Config::default();
/// config.validate()?;
///
/// config.reassembly_bytes = 1_000;
/// let error = config.validate().unwrap_err();
/// assert_eq!(error.key, "reassembly_bytes");
/// # Ok::<(), netstack::base::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// Limits and policies of TCP.
    pub tcp: TcpConfig,
    /// Most TCP connections. Those that are half open or in TIME-WAIT have limits of their own.
    pub max_connections: usize,
    /// Most half-open TCP connections: those of peers that have sent a SYN and nothing else. Each takes
    /// about 100 bytes. Each listener has a share, of eight at least; beyond it SYN cookies take over.
    pub max_half_open: usize,
    /// Most TCP connections in TIME-WAIT, about 100 bytes each. Beyond it the oldest one ends early.
    pub max_time_wait: usize,
    /// Memory for packets, in bytes: everything that is received, queued or sent. `None`: a sixteenth of the
    /// machine's memory, from 32 MiB to 1 GiB.
    pub memory_bytes: Option<usize>,
    /// Most large slabs, each of which holds one packet of the device's largest size: together with
    /// `max_small_slabs` another way to say how much memory, for those who count in packets.
    pub max_large_slabs: usize,
    /// Most small slabs, of 2 KiB each.
    pub max_small_slabs: usize,
    /// Most datagrams that a UDP socket queues.
    pub udp_queue_datagrams: usize,
    /// Most bytes that a UDP socket queues.
    pub udp_queue_bytes: usize,
    /// Most datagrams under reassembly.
    pub reassembly_slots: usize,
    /// Most bytes held for reassembly.
    pub reassembly_bytes: usize,
    /// Longest time that a datagram waits for its fragments (RFC 8200 section 4.5: 60 s).
    pub reassembly_timeout: Duration,
    /// Mean rate of ICMP errors, over all destinations (RFC 4443 section 2.4(f)).
    pub icmp_errors_per_second: u32,
    /// Largest burst of ICMP errors.
    pub icmp_error_burst: u32,
    /// Pings to more than one host that are answered.
    pub echo: EchoPolicy,
    /// Most destinations whose path MTU is cached.
    pub path_mtu_entries: usize,
    /// Time after which what a router reported of a path is forgotten, so that longer packets are tried again: five
    /// minutes at least; `None`: never (RFC 1191 section 6.3, RFC 8201 section 5.3).
    pub path_mtu_age: Option<Duration>,
    /// First port of the ephemeral range (RFC 6056).
    pub ephemeral_port_first: u16,
    /// Last port of the ephemeral range.
    pub ephemeral_port_last: u16,
    /// Time to live (hop limit in IPv6) of sent packets.
    pub ttl: u8,
    /// Longest time for which a worker thread without work looks for packets before it sleeps, where it has measured that this
    /// shortens its pauses; at most 1 ms. It takes processor time. Zero: it sleeps at once.
    pub busy_poll: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            tcp: TcpConfig::default(),
            max_connections: 65_536,
            max_half_open: 16_384,
            max_time_wait: 65_536,
            memory_bytes: None,
            max_large_slabs: usize::MAX,
            max_small_slabs: usize::MAX,
            udp_queue_datagrams: 4_096,
            udp_queue_bytes: 4 << 20,
            reassembly_slots: 256,
            reassembly_bytes: 4 << 20,
            reassembly_timeout: Duration::from_secs(60),
            icmp_errors_per_second: 1_000,
            icmp_error_burst: 50,
            echo: EchoPolicy::default(),
            path_mtu_entries: 4_096,
            path_mtu_age: Some(Duration::from_secs(600)),
            ephemeral_port_first: 32_768,
            ephemeral_port_last: 60_999,
            ttl: 64,
            busy_poll: Duration::from_micros(60),
        }
    }
}

/// The pings that are answered besides those to one host. The answer comes from an address of the host's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EchoPolicy {
    /// To IPv4 broadcast addresses. Not by default: all hosts of a network would answer a source that may be forged
    /// (RFC 1122 section 3.2.2.6 allows either).
    pub broadcast: bool,
    /// To IPv4 multicast groups that the host is a member of. Not by default, either.
    pub multicast_v4: bool,
    /// To IPv6 multicast groups that the host is a member of, as RFC 4443 section 4.2 recommends.
    pub multicast_v6: bool,
}

impl Default for EchoPolicy {
    fn default() -> Self {
        Self {
            broadcast: false,
            multicast_v4: false,
            multicast_v6: true,
        }
    }
}

/// Limits and policies of TCP. Times are durations, sizes are bytes.
#[derive(Clone, Debug)]
pub struct TcpConfig {
    /// Initial receive window, in bytes.
    pub recv_buffer_initial: usize,
    /// Largest receive window that autotuning reaches, in bytes.
    pub recv_buffer_max: usize,
    /// Unsent plus unacknowledged bytes that a connection queues at first, in bytes. It never takes less.
    pub send_buffer_initial: usize,
    /// Most unsent plus unacknowledged bytes that a connection queues. On a long path it takes twice its congestion
    /// window.
    pub send_buffer: usize,
    /// Lower bound of the retransmission timeout (RFC 6298: 1 s; default 200 ms, as in Linux).
    pub rto_min: Duration,
    /// Initial retransmission timeout (RFC 6298 section 2.1: 1 s).
    pub rto_initial: Duration,
    /// Upper bound of the retransmission timeout.
    pub rto_max: Duration,
    /// Longest delay of an ACK (RFC 9293 section 3.8.6.3: less than 500 ms).
    pub delayed_ack: Duration,
    /// ACKs that are sent at once, without delay, at the start of a connection and after a pause, so that the
    /// sender's window grows; as on Linux.
    pub quick_acks: u8,
    /// Retransmissions of a SYN or SYN-ACK before the connection is aborted.
    pub syn_retries: u8,
    /// Retransmissions of data before the connection is aborted (RFC 9293 section 3.8.3, R2).
    pub data_retries: u8,
    /// Time in TIME-WAIT, 2 MSL (RFC 9293 section 3.4.1); default 60 s, as in Linux.
    pub time_wait: Duration,
    /// Time in FIN-WAIT-2 after the application closed both directions.
    pub fin_wait_2: Duration,
    /// Time in which the peer must acknowledge what was queued before the connection is aborted (the user timeout
    /// of RFC 9293 section 3.9.1.1). `None` means off: a peer that keeps its window closed and answers probes stays
    /// connected for as long as memory is at ease.
    pub user_timeout: Option<Duration>,
    /// Time in which the peer must acknowledge a sixteenth of what is queued once the application has let go of
    /// the connection.
    pub orphan_timeout: Duration,
    /// Idle time before the first keepalive probe; `None` means off (RFC 9293 section 3.8.4).
    pub keepalive_idle: Option<Duration>,
    /// Time between keepalive probes.
    pub keepalive_interval: Duration,
    /// Unanswered probes before the connection is aborted.
    pub keepalive_probes: u8,
    /// Tell the peer the user timeout, and follow the peer's unless a socket sets its own (RFC 5482).
    pub user_timeout_option: bool,
    /// Use Nagle's algorithm unless a socket turns it off (RFC 9293 section 3.7.4).
    pub nagle: bool,
    /// Offer timestamps (RFC 7323).
    pub timestamps: bool,
    /// Offer selective acknowledgements (RFC 2018).
    pub sack: bool,
    /// Find losses by time, and probe for those at the end of a flight (RACK-TLP, RFC 8985), where both
    /// sides agreed on selective acknowledgements.
    pub rack_tlp: bool,
    /// Use explicit congestion notification (RFC 3168) with peers that offer it, and where `ecn_offer` is set.
    pub ecn: bool,
    /// Offer explicit congestion notification when connecting.
    pub ecn_offer: bool,
    /// Prefer accurate feedback (RFC 9768) to the classic one.
    pub accurate_ecn: bool,
    /// Offer window scaling (RFC 7323).
    pub window_scaling: bool,
    /// Initial congestion window in segments (RFC 6928).
    pub initial_window_segments: u32,
    /// The congestion control algorithm, unless a listener or a socket chooses another one.
    pub congestion: Algorithm,
    /// Losses in a round trip, in percent, from which BBR takes them for a full path: 1 to 50 (`LossThresh` in
    /// draft-ietf-ccwg-bbr-06, which says 2). More suits links that lose packets of themselves, and is hard on others.
    pub bbr_loss_percent: u8,
    /// Begin with what earlier connections to the same host found out about the path (RFC 9040).
    pub path_metrics: bool,
    /// Spread what is sent over the round trip, instead of sending it in bursts. Algorithms with a rate of
    /// their own always do.
    pub pacing: bool,
    /// Most out-of-order ranges that a connection keeps, which bounds the work per segment
    /// (CVE-2018-5390).
    pub max_reassembly_ranges: usize,
    /// Most connections not yet accepted, per listener.
    pub backlog: usize,
    /// Most connections per listener that a SYN with data and a cookie opened and whose handshake is not done (RFC 7413);
    /// 0 means off: listeners give and take no cookies.
    pub fast_open_backlog: usize,
    /// Smallest MSS that a peer may impose (CVE-2019-11479).
    pub min_mss: u16,
    /// Largest MSS that is announced and used, for paths that carry less than their links say.
    pub max_mss: u16,
    /// When the path MTU is found by sending segments of different sizes, for paths that drop large ones without a
    /// report (RFC 4821).
    pub mtu_probing: MtuProbing,
    /// MSS from which such a search begins (RFC 4821 section 7.2: packets of 1,024 bytes; as on Linux, the headers are not
    /// counted). IPv6 never goes below packets of 1,280 bytes.
    pub mtu_probe_base: u16,
}

impl TcpConfig {
    /// Returns the bytes that a connection may queue on any path.
    pub(crate) fn least_send_buffer(&self) -> usize {
        self.send_buffer_initial.min(self.send_buffer)
    }
}

impl Default for TcpConfig {
    fn default() -> Self {
        Self {
            recv_buffer_initial: 256 << 10,
            recv_buffer_max: 16 << 20,
            send_buffer_initial: 2 << 20,
            send_buffer: 16 << 20,
            rto_min: Duration::from_millis(200),
            rto_initial: Duration::from_secs(1),
            rto_max: Duration::from_secs(120),
            delayed_ack: Duration::from_millis(40),
            quick_acks: 16,
            syn_retries: 6,
            data_retries: 15,
            time_wait: Duration::from_secs(60),
            fin_wait_2: Duration::from_secs(60),
            user_timeout: None,
            orphan_timeout: Duration::from_secs(60),
            keepalive_idle: None,
            keepalive_interval: Duration::from_secs(75),
            keepalive_probes: 9,
            user_timeout_option: false,
            nagle: true,
            timestamps: true,
            sack: true,
            rack_tlp: true,
            ecn: true,
            ecn_offer: true,
            accurate_ecn: true,
            window_scaling: true,
            initial_window_segments: 10,
            congestion: Algorithm::default(),
            bbr_loss_percent: TOLERATED_LOSS_PERCENT,
            path_metrics: true,
            pacing: true,
            max_reassembly_ranges: 512,
            backlog: 1_024,
            fast_open_backlog: 0,
            min_mss: 88,
            max_mss: u16::MAX,
            mtu_probing: MtuProbing::default(),
            mtu_probe_base: 1_024,
        }
    }
}

/// A limit that is out of bounds or contradicts another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("config: {key} is {value}: {must}")]
pub struct ConfigError {
    /// The limit's key in the configuration file.
    pub key: &'static str,
    /// The invalid value.
    pub value: String,
    /// The remedy, as an instruction.
    pub must: &'static str,
}

impl Config {
    /// Least memory for packets, in bytes.
    pub const MIN_MEMORY_BYTES: usize = 1 << 20;
    /// Memory for packets of a host that is not told how much, in bytes.
    pub const DEFAULT_MEMORY_BYTES: usize = 256 << 20;

    /// Checks every limit against its bounds and against the others.
    ///
    /// # Errors
    /// The first limit that is invalid.
    pub fn validate(&self) -> Result<(), ConfigError> {
        fn need(
            ok: bool,
            key: &'static str,
            value: impl ToString,
            must: &'static str,
        ) -> Result<(), ConfigError> {
            if ok {
                Ok(())
            } else {
                Err(ConfigError {
                    key,
                    value: value.to_string(),
                    must,
                })
            }
        }
        let tcp = &self.tcp;
        need(
            self.max_connections > 0,
            "max_connections",
            self.max_connections,
            "set at least 1",
        )?;
        if let Some(bytes) = self.memory_bytes {
            need(
                bytes >= Self::MIN_MEMORY_BYTES,
                "memory_bytes",
                bytes,
                "set at least 1048576",
            )?;
        }
        need(
            self.max_half_open > 0,
            "max_half_open",
            self.max_half_open,
            "set at least 1",
        )?;
        need(
            self.max_time_wait > 0,
            "max_time_wait",
            self.max_time_wait,
            "set at least 1",
        )?;
        need(
            self.max_large_slabs >= 16,
            "max_large_slabs",
            self.max_large_slabs,
            "set at least 16",
        )?;
        need(
            self.max_small_slabs >= 64,
            "max_small_slabs",
            self.max_small_slabs,
            "set at least 64",
        )?;
        need(self.ttl > 0, "ttl", self.ttl, "set at least 1")?;
        need(
            self.ephemeral_port_first > 0 && self.ephemeral_port_first <= self.ephemeral_port_last,
            "ephemeral_port_first",
            self.ephemeral_port_first,
            "set it above 0 and not above ephemeral_port_last",
        )?;
        need(
            self.reassembly_bytes >= 65_535,
            "reassembly_bytes",
            self.reassembly_bytes,
            "set at least 65535, one largest datagram",
        )?;
        need(
            tcp.recv_buffer_initial >= 2_048 && tcp.recv_buffer_initial <= tcp.recv_buffer_max,
            "tcp.recv_buffer_initial",
            tcp.recv_buffer_initial,
            "set it between 2048 and tcp.recv_buffer_max",
        )?;
        need(
            tcp.recv_buffer_max <= 1 << 30,
            "tcp.recv_buffer_max",
            tcp.recv_buffer_max,
            "set at most 1073741824 (the largest scaled window, RFC 7323)",
        )?;
        need(
            tcp.send_buffer >= 2_048 && tcp.send_buffer <= 1 << 30,
            "tcp.send_buffer",
            tcp.send_buffer,
            "set it between 2048 and 1073741824",
        )?;
        need(
            tcp.send_buffer_initial >= 2_048,
            "tcp.send_buffer_initial",
            tcp.send_buffer_initial,
            "set it to 2048 at least; what is above tcp.send_buffer has no effect",
        )?;
        need(
            tcp.rto_min <= tcp.rto_initial && tcp.rto_initial <= tcp.rto_max,
            "tcp.rto_initial",
            format!("{:?}", tcp.rto_initial),
            "set it between tcp.rto_min and tcp.rto_max",
        )?;
        need(
            tcp.delayed_ack < Duration::from_millis(500),
            "tcp.delayed_ack",
            format!("{:?}", tcp.delayed_ack),
            "set it below 500 ms (RFC 9293 section 3.8.6.3)",
        )?;
        need(
            tcp.backlog > 0,
            "tcp.backlog",
            tcp.backlog,
            "set at least 1",
        )?;
        need(
            (1..=10).contains(&tcp.initial_window_segments),
            "tcp.initial_window_segments",
            tcp.initial_window_segments,
            "set it between 1 and 10 (RFC 6928)",
        )?;
        need(
            (1..=50).contains(&tcp.bbr_loss_percent),
            "tcp.bbr_loss_percent",
            tcp.bbr_loss_percent,
            "set it between 1 and 50",
        )?;
        super::limits::check(self)
    }
}
