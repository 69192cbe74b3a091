//! Counters without a lock, one set per worker.

pub mod kept;

use std::sync::atomic::{AtomicU64, Ordering};

use super::mib::Objects;
use super::time::Duration;

macro_rules! counters {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])+ $variant:ident => $label:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[doc = $doc])+ $variant,)+ }

        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Returns a stable name for reports and metrics.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }

            /// Returns a sentence about it, for people.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii_start(),)+ }
            }
        }
    };
}

counters! {
    /// The reason why a packet was discarded. Each discarded packet is counted under exactly one.
    DropReason {
        /// Neither version 4 nor 6, or shorter than a fixed header.
        IpTooShortOrVersion => "ip_too_short_or_version",
        /// IPv4 or IPv6 header fields that contradict each other or the length received.
        IpHeaderMalformed => "ip_header_malformed",
        /// IPv4 header checksum wrong.
        IpHeaderChecksum => "ip_header_checksum",
        /// An option or extension header that calls for a Parameter Problem.
        IpParameterProblem => "ip_parameter_problem",
        /// IPv4 source route: the sender chose the way back (RFC 7126 sections 4.3 and 4.4).
        IpSourceRouted => "ip_source_routed",
        /// Source address that no sender may use (multicast, broadcast, loopback, one of our own).
        IpSourceInvalid => "ip_source_invalid",
        /// Destination is not one of our addresses.
        IpDestinationNotOurs => "ip_destination_not_ours",
        /// Upper-layer protocol is not supported.
        IpProtocolUnknown => "ip_protocol_unknown",
        /// IPv6 no next header: nothing to deliver.
        IpNoNextHeader => "ip_no_next_header",
        /// Fragment with impossible offset, length or overlap.
        FragmentInvalid => "fragment_invalid",
        /// Fragment overlaps an earlier one (RFC 5722).
        FragmentOverlap => "fragment_overlap",
        /// Exact duplicate of a fragment.
        FragmentDuplicate => "fragment_duplicate",
        /// Reassembly memory or slots exhausted.
        FragmentNoMemory => "fragment_no_memory",
        /// Reassembly timed out.
        FragmentTimeout => "fragment_timeout",
        /// ICMP too short, bad checksum or malformed.
        IcmpMalformed => "icmp_malformed",
        /// ICMP checksum wrong.
        IcmpChecksum => "icmp_checksum",
        /// ICMP type or code that a host ignores.
        IcmpIgnored => "icmp_ignored",
        /// ICMP error that matches no flow, or fails the checks of RFC 5927.
        IcmpUnmatched => "icmp_unmatched",
        /// IGMP of a length that no version has, or with a wrong checksum.
        IgmpMalformed => "igmp_malformed",
        /// IGMP that a host ignores: messages for routers, queries that came from elsewhere.
        IgmpIgnored => "igmp_ignored",
        /// UDP too short or length field wrong.
        UdpMalformed => "udp_malformed",
        /// UDP checksum wrong or missing where it must be.
        UdpChecksum => "udp_checksum",
        /// No socket on that UDP port.
        UdpNoSocket => "udp_no_socket",
        /// Datagram with an option that changes what its user data means, and that this stack does not know (RFC 9868
        /// section 12).
        UdpUnsafeOption => "udp_unsafe_option",
        /// Datagram to a multicast group of the host that no socket at this port joined; or one of ours that neither leaves the
        /// host nor has a member here.
        UdpNotJoined => "udp_not_joined",
        /// Datagram or ping to a multicast group from a source that no member wants; of a datagram, no member at its port.
        GroupSourceUnwanted => "group_source_unwanted",
        /// The UDP socket's queue is full.
        UdpQueueFull => "udp_queue_full",
        /// Datagram of the sender that had most, which made room for another sender: in a full queue, or with its
        /// whole flow in the full table of sockets.
        UdpDisplaced => "udp_displaced",
        /// First datagram of a flow for which the full table of sockets has no room.
        UdpFlowsFull => "udp_flows_full",
        /// Datagram that waited in the queue of a socket when that was closed, or connected to another peer.
        UdpUnread => "udp_unread",
        /// TCP too short, data offset or options malformed.
        TcpMalformed => "tcp_malformed",
        /// TCP checksum wrong.
        TcpChecksum => "tcp_checksum",
        /// No connection and no listener.
        TcpNoListener => "tcp_no_listener",
        /// SYN, or the end of a handshake, to a listener whose backlog is full.
        TcpBacklogFull => "tcp_backlog_full",
        /// SYN, or the end of a handshake, while there are `max_connections`.
        TcpTableFull => "tcp_table_full",
        /// SYN with FIN to a listener.
        TcpSynFin => "tcp_syn_fin",
        /// SYN that a listener's filter refuses.
        TcpFiltered => "tcp_filtered",
        /// Segment, as a rule the SYN again, of a handshake that the program has not decided about.
        TcpUndecided => "tcp_undecided",
        /// Segment without the authentication option that it must have, or with two (TCP-AO, RFC 5925 section 7.5).
        TcpAoMissing => "tcp_ao_missing",
        /// Segment with an authentication option that names none of our keys (RFC 5925 section 7.5).
        TcpAoUnknownKey => "tcp_ao_unknown_key",
        /// Segment whose authentication code is wrong (RFC 5925 section 7.5).
        TcpAoBad => "tcp_ao_bad",
        /// SYN of a peer for which a listener has no key, and which it must have (RFC 5925 section 7.3).
        TcpAoRefused => "tcp_ao_refused",
        /// Segment of ours that no key was left to sign with (RFC 5925 section 7.4).
        TcpAoUnsigned => "tcp_ao_unsigned",
        /// Segment outside the receive window, or otherwise not acceptable (RFC 9293 3.10.7.4).
        TcpNotAcceptable => "tcp_not_acceptable",
        /// Failed PAWS (RFC 7323).
        TcpPaws => "tcp_paws",
        /// SYN or RST that is answered with a challenge ACK (RFC 5961).
        TcpChallenged => "tcp_challenged",
        /// ACK of data that was never sent, or too old (RFC 5961).
        TcpBadAck => "tcp_bad_ack",
        /// Data past a full receive or reassembly buffer.
        TcpNoBuffer => "tcp_no_buffer",
        /// Data after the application closed the connection.
        TcpDataAfterClose => "tcp_data_after_close",
        /// Data that its flow may not add: memory is short, and the flow holds its share of it.
        MemoryShare => "memory_share",
        /// Data ahead of a gap, refused because memory is short.
        MemoryOutOfOrder => "memory_out_of_order",
        /// Data for which there is no memory at all.
        MemoryLimit => "memory_limit",
        /// SYN refused because memory is nearly used up.
        MemoryNoConnection => "memory_no_connection",
        /// No free buffer to receive into.
        NoReceiveBuffer => "no_receive_buffer",
        /// The owning worker's inbox is full.
        InboxFull => "inbox_full",
        /// The transmit side could not take the packet (device error, queue full).
        TransmitFailed => "transmit_failed",
        /// No route, or no source address, to the destination.
        NoRoute => "no_route",
        /// Larger than the path allows and not allowed to be fragmented.
        TooBig => "too_big",
        /// A packet larger than the device could have sent.
        DeviceTruncated => "device_truncated",
        /// Virtio header that contradicts the packet.
        DeviceHeader => "device_header",
    }
}

counters! {
    /// An event other than a discarded packet.
    Counter {
        /// Packets that the stack sent to itself.
        Looped => "looped",
        /// Packets received from the device.
        PacketsIn => "packets_in",
        /// Packets handed to the device.
        PacketsOut => "packets_out",
        /// Bytes received from the device, IP header included.
        BytesIn => "bytes_in",
        /// Bytes handed to the device, IP header included.
        BytesOut => "bytes_out",
        /// ICMP echo requests answered.
        EchoReplies => "echo_replies",
        /// ICMP errors sent.
        IcmpErrorsSent => "icmp_errors_sent",
        /// ICMP errors suppressed by the rate limit.
        IcmpErrorsLimited => "icmp_errors_limited",
        /// UDP datagrams with options in their surplus area (RFC 9868), which were ignored.
        UdpOptions => "udp_options",
        /// UDP datagrams whose surplus area holds no valid options, and was ignored.
        UdpSurplusInvalid => "udp_surplus_invalid",
        /// Reports of multicast groups sent, by IGMP and MLD.
        GroupReports => "group_reports",
        /// Queries about multicast groups taken in, of IGMP and MLD.
        GroupQueries => "group_queries",
        /// Joins of multicast groups that were refused, because there were too many.
        GroupJoinsRefused => "group_joins_refused",
        /// Datagrams reassembled from fragments.
        Reassembled => "reassembled",
        /// Fragments sent.
        FragmentsOut => "fragments_out",
        /// Connections that the application began to open.
        TcpConnects => "tcp_connects",
        /// Connections that the application opened and handshakes of peers that a reset or an error ended before
        /// ESTABLISHED.
        TcpAttemptFails => "tcp_attempt_fails",
        /// Connections that ended in ESTABLISHED or CLOSE-WAIT, by a reset or an error.
        TcpEstabResets => "tcp_estab_resets",
        /// Connections opened by the application that reached ESTABLISHED.
        TcpActiveOpens => "tcp_active_opens",
        /// Connections opened by a peer that reached ESTABLISHED.
        TcpPassiveOpens => "tcp_passive_opens",
        /// Connections closed, for any reason. One in TIME-WAIT is closed.
        TcpClosed => "tcp_closed",
        /// Handshakes of peers that were given up, since their last segment never came.
        TcpHandshakesExpired => "tcp_handshakes_expired",
        /// SYN cookies sent.
        TcpSynCookiesSent => "tcp_syn_cookies_sent",
        /// Fast Open cookies sent to clients that asked for one, or had one that is not valid.
        TcpFastOpenCookies => "tcp_fast_open_cookies",
        /// Connections that a SYN with data and a valid cookie opened.
        TcpFastOpenPassive => "tcp_fast_open_passive",
        /// Valid cookies that opened nothing, since the listener had no place for one more such connection, or memory was
        /// short.
        TcpFastOpenRefused => "tcp_fast_open_refused",
        /// Fast Open cookies that peers gave.
        TcpFastOpenCookiesGot => "tcp_fast_open_cookies_got",
        /// Connections opened by the application whose data the peer took with the SYN.
        TcpFastOpenActive => "tcp_fast_open_active",
        /// Connections opened by the application whose peer knows no Fast Open, or did not take the data.
        TcpFastOpenActiveFails => "tcp_fast_open_active_fails",
        /// Handshakes that made room in the full queue for one of another peer, which had fewer there.
        TcpHandshakesDisplaced => "tcp_handshakes_displaced",
        /// Connections reset before they were accepted, to make room in the full backlog for one of another peer,
        /// which had fewer there.
        TcpUnacceptedDisplaced => "tcp_unaccepted_displaced",
        /// Connections of the peer that had most, reset to make room in the full table for one of another peer.
        TcpDisplaced => "tcp_displaced",
        /// Idle connections reset to make room in the full table, in which no peer had much more than others.
        TcpIdleDisplaced => "tcp_idle_displaced",
        /// UDP flows of the peer that had most, ended to make room for one of another peer.
        UdpFlowsDisplaced => "udp_flows_displaced",
        /// UDP flows that ended because they were idle.
        UdpFlowsIdle => "udp_flows_idle",
        /// Valid SYN cookies that came back.
        TcpSynCookiesReturned => "tcp_syn_cookies_returned",
        /// TIME-WAITs that ended early, to make room for another.
        TcpTimeWaitsRecycled => "tcp_time_waits_recycled",
        /// Segments retransmitted.
        TcpRetransmits => "tcp_retransmits",
        /// Retransmission timeouts.
        TcpTimeouts => "tcp_timeouts",
        /// Segments whose authentication code was right (TCP-AO, RFC 5925).
        TcpAoAccepted => "tcp_ao_accepted",
        /// ICMP errors ignored because they concern an authenticated connection (RFC 5925 section 7.8).
        TcpAoIcmpIgnored => "tcp_ao_icmp_ignored",
        /// RST segments sent.
        TcpResetsOut => "tcp_resets_out",
        /// RST segments accepted.
        TcpResetsIn => "tcp_resets_in",
        /// Packets handed over from the worker that received them to the one that owns their flow.
        HandedOver => "handed_over",
        /// Times that memory became short, and flows were held to their share.
        MemoryPressures => "memory_pressures",
        /// Times that memory was nearly used up, and holders were given up.
        MemoryLimits => "memory_limits",
        /// Bytes copied out of slabs that they did not fill, because memory was short.
        MemoryCopiedBytes => "memory_copied_bytes",
        /// Bytes received ahead of a gap and dropped, because memory was nearly used up.
        MemoryDroppedBytes => "memory_dropped_bytes",
        /// Connections aborted for their memory that the application had closed.
        MemoryAbortedOrphans => "memory_aborted_orphans",
        /// Other connections aborted for their memory.
        MemoryAborted => "memory_aborted",
        /// Slabs given back to the system after a peak.
        SlabsFreed => "slabs_freed",
        /// Panics in the program's code (tasks, services, wakers, subscribers, devices, destructors)
        /// that the stack caught.
        ProgramPanics => "program_panics",
    }
}

const DROPS: usize = DropReason::ALL.len();
const COUNTERS: usize = Counter::ALL.len();

/// One worker's counters, written by that worker and read by any thread.
#[derive(Debug)]
pub struct Counters {
    drops: [AtomicU64; DROPS],
    counts: [AtomicU64; COUNTERS],
    /// Timers of connections that are armed now.
    timers: AtomicU64,
    /// Turns that found something to do, and the nanoseconds that they took.
    busy_turns: AtomicU64,
    busy_nanos: AtomicU64,
    /// The objects of the MIBs.
    pub(super) mib: Objects,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            drops: [const { AtomicU64::new(0) }; DROPS],
            counts: [const { AtomicU64::new(0) }; COUNTERS],
            timers: AtomicU64::new(0),
            busy_turns: AtomicU64::new(0),
            busy_nanos: AtomicU64::new(0),
            mib: Objects::default(),
        }
    }
}

impl Counters {
    /// Creates counters that are all zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one discarded packet.
    pub fn drop_packet(&self, reason: DropReason) {
        self.drops[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Adds `count` to `counter`.
    pub fn add(&self, counter: Counter, count: u64) {
        self.counts[counter as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// Notes how many timers of connections are armed now.
    pub fn set_timers(&self, timers: usize) {
        self.timers.store(timers as u64, Ordering::Relaxed);
    }

    /// Returns how many timers of connections were armed at the end of the last turn.
    pub fn timers(&self) -> u64 {
        self.timers.load(Ordering::Relaxed)
    }

    /// Counts a turn that found something to do, and the time that it took.
    pub fn add_busy(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.busy_turns.fetch_add(1, Ordering::Relaxed);
        self.busy_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Returns the number of turns that found something to do, and the time that they took together.
    pub fn busy(&self) -> (u64, Duration) {
        let nanos = self.busy_nanos.load(Ordering::Relaxed);
        let turns = self.busy_turns.load(Ordering::Relaxed);
        (turns, Duration::from_nanos(nanos))
    }

    /// Returns the number of packets that were discarded for `reason`.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize].load(Ordering::Relaxed)
    }

    /// Returns the value of `counter`.
    pub fn count(&self, counter: Counter) -> u64 {
        self.counts[counter as usize].load(Ordering::Relaxed)
    }
}
