//! Every limit of the stack in one place, checked against each other before anything runs.
//!
//! * **Define.** A [`Config`] that was validated bounds every queue, table and buffer.
//! * **Enforce.** [`Config::validate`] is called by every constructor that takes one.
//! * **Consume.** The layers allocate up to these numbers and count what exceeds them.

use super::time::Duration;

/// Limits and policies of a whole stack.
#[derive(Clone, Debug)]
pub struct Config {
    /// TCP's.
    pub tcp: TcpConfig,
    /// Most TCP connections at a time, in all states, TIME-WAIT included.
    pub max_connections: usize,
    /// Most large slabs (each holds one packet of the device's largest size).
    pub max_large_slabs: usize,
    /// Most small slabs (2 KiB each).
    pub max_small_slabs: usize,
    /// Datagrams that a UDP socket queues.
    pub udp_queue_datagrams: usize,
    /// Bytes that a UDP socket queues.
    pub udp_queue_bytes: usize,
    /// Most datagrams under reassembly.
    pub reassembly_slots: usize,
    /// Most bytes held for reassembly.
    pub reassembly_bytes: usize,
    /// How long a datagram may wait for its fragments (RFC 8200 section 4.5: 60 s).
    pub reassembly_timeout: Duration,
    /// ICMP errors per second, over all destinations (RFC 4443 section 2.4(f)).
    pub icmp_errors_per_second: u32,
    /// Burst of ICMP errors.
    pub icmp_error_burst: u32,
    /// Most paths whose MTU is remembered.
    pub path_mtu_entries: usize,
    /// First port of the ephemeral range (RFC 6056).
    pub ephemeral_port_first: u16,
    /// Last port of the ephemeral range.
    pub ephemeral_port_last: u16,
    /// Time to live / hop limit of what we send.
    pub ttl: u8,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            tcp: TcpConfig::default(),
            max_connections: 65_536,
            max_large_slabs: 2_048,
            max_small_slabs: 65_536,
            udp_queue_datagrams: 4_096,
            udp_queue_bytes: 4 << 20,
            reassembly_slots: 256,
            reassembly_bytes: 4 << 20,
            reassembly_timeout: Duration::from_secs(60),
            icmp_errors_per_second: 1_000,
            icmp_error_burst: 50,
            path_mtu_entries: 4_096,
            ephemeral_port_first: 32_768,
            ephemeral_port_last: 60_999,
            ttl: 64,
        }
    }
}

/// Limits and policies of TCP. Times are durations, sizes are bytes.
#[derive(Clone, Debug)]
pub struct TcpConfig {
    /// Receive window offered at first, in bytes.
    pub recv_buffer_initial: usize,
    /// Receive window that autotuning may reach, in bytes.
    pub recv_buffer_max: usize,
    /// Unsent plus unacknowledged bytes that a connection may queue.
    pub send_buffer: usize,
    /// Lower bound of the retransmission timeout (RFC 6298 says 1 s; as the kernel does, 200 ms).
    pub rto_min: Duration,
    /// First retransmission timeout (RFC 6298 section 2.1: 1 s).
    pub rto_initial: Duration,
    /// Upper bound of the retransmission timeout.
    pub rto_max: Duration,
    /// How long an ACK may be delayed (RFC 9293 section 3.8.6.3: under 500 ms).
    pub delayed_ack: Duration,
    /// SYN and SYN-ACK retransmissions before giving up.
    pub syn_retries: u8,
    /// Data retransmissions before giving up (RFC 9293 section 3.8.3, R2).
    pub data_retries: u8,
    /// Time in TIME-WAIT: 2 MSL (RFC 9293 section 3.4.1); the kernel's 60 s.
    pub time_wait: Duration,
    /// Time in FIN-WAIT-2 after both halves were closed by the application.
    pub fin_wait_2: Duration,
    /// Idle time before the first keepalive; `None`: off by default (RFC 9293 section 3.8.4).
    pub keepalive_idle: Option<Duration>,
    /// Time between keepalive probes.
    pub keepalive_interval: Duration,
    /// Unanswered probes before the connection is given up.
    pub keepalive_probes: u8,
    /// Nagle's algorithm at first (RFC 9293 section 3.7.4).
    pub nagle: bool,
    /// Offer timestamps (RFC 7323).
    pub timestamps: bool,
    /// Offer selective acknowledgements (RFC 2018).
    pub sack: bool,
    /// Offer window scaling (RFC 7323).
    pub window_scaling: bool,
    /// Initial congestion window in segments (RFC 6928).
    pub initial_window_segments: u32,
    /// Out-of-order ranges that a connection keeps (bounded work: CVE-2018-5390).
    pub max_reassembly_ranges: usize,
    /// Connections not yet accepted, per listener.
    pub backlog: usize,
    /// Smallest MSS that a peer may impose (CVE-2019-11479).
    pub min_mss: u16,
}

impl Default for TcpConfig {
    fn default() -> Self {
        Self {
            recv_buffer_initial: 256 << 10,
            recv_buffer_max: 4 << 20,
            send_buffer: 2 << 20,
            rto_min: Duration::from_millis(200),
            rto_initial: Duration::from_secs(1),
            rto_max: Duration::from_secs(120),
            delayed_ack: Duration::from_millis(40),
            syn_retries: 6,
            data_retries: 15,
            time_wait: Duration::from_secs(60),
            fin_wait_2: Duration::from_secs(60),
            keepalive_idle: None,
            keepalive_interval: Duration::from_secs(75),
            keepalive_probes: 9,
            nagle: true,
            timestamps: true,
            sack: true,
            window_scaling: true,
            initial_window_segments: 10,
            max_reassembly_ranges: 64,
            backlog: 1_024,
            min_mss: 88,
        }
    }
}

/// A configuration that contradicts itself: which key, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("config: {key} is {value}: {must}")]
pub struct ConfigError {
    /// The key, as in the configuration file.
    pub key: &'static str,
    /// Its value.
    pub value: String,
    /// What it must be.
    pub must: &'static str,
}

impl Config {
    /// Checks every limit against its bounds and against the others.
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
        )
    }
}
