//! The objects, each with its field in a snapshot, its names in `nstat` for IPv4 and IPv6, and its name in the MIB.
//!
//! A packet that the device coalesced from several, or will cut into several, counts as one, as on Linux; segments of
//! TCP that are sent count each.

macro_rules! objects {
    (
        $(#[$meta:meta])* $object:ident, $(#[$snapshot_meta:meta])* $snapshot:ident
        { $($(#[$doc:meta])* $variant:ident, $field:ident, $v4:literal, $v6:literal, $mib:literal;)+ }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum $object { $($(#[$doc])* $variant,)+ }

        impl $object {
            /// Every object, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// Their number.
            pub const COUNT: usize = Self::ALL.len();

            /// Returns the name in `nstat` for IPv4, or for both families; empty if there is none.
            pub const fn nstat_v4(self) -> &'static str {
                match self { $(Self::$variant => $v4,)+ }
            }

            /// Returns the name in `nstat` for IPv6; empty if there is none.
            pub const fn nstat_v6(self) -> &'static str {
                match self { $(Self::$variant => $v6,)+ }
            }

            /// Returns the name of the object in the MIB; empty if it is Linux's alone.
            pub const fn mib(self) -> &'static str {
                match self { $(Self::$variant => $mib,)+ }
            }
        }

        $(#[$snapshot_meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct $snapshot { $($(#[$doc])* pub $field: u64,)+ }

        impl $snapshot {
            /// Returns the value of an object.
            pub const fn get(&self, object: $object) -> u64 {
                match object { $($object::$variant => self.$field,)+ }
            }

            pub(super) const fn get_mut(&mut self, object: $object) -> &mut u64 {
                match object { $($object::$variant => &mut self.$field,)+ }
            }
        }
    };
}

objects! {
    /// An object of IP (RFC 4293, `ipSystemStatsTable`: a row for each family).
    IpObject,
    /// The objects of IP in one family.
    IpStats {
        /// Packets received, those with errors and those of the host itself included.
        InReceives, in_receives, "IpInReceives", "Ip6InReceives", "ipSystemStatsInReceives";
        /// Bytes of these packets.
        InOctets, in_octets, "IpExtInOctets", "Ip6InOctets", "ipSystemStatsInOctets";
        /// Packets discarded for errors in their headers: checksum, lengths, options, extension headers.
        InHdrErrors, in_hdr_errors, "IpInHdrErrors", "Ip6InHdrErrors", "ipSystemStatsInHdrErrors";
        /// Packets discarded because of an address: a destination that is not the host's, an invalid source.
        InAddrErrors, in_addr_errors, "IpInAddrErrors", "Ip6InAddrErrors", "ipSystemStatsInAddrErrors";
        /// Packets discarded because of an unknown protocol.
        InUnknownProtos, in_unknown_protos, "IpInUnknownProtos", "Ip6InUnknownProtos", "ipSystemStatsInUnknownProtos";
        /// Packets discarded because they ended before their length said.
        InTruncatedPkts, in_truncated_pkts, "IpExtInTruncatedPkts", "Ip6InTruncatedPkts", "ipSystemStatsInTruncatedPkts";
        /// Packets discarded though nothing was wrong with them: source routes, which the host does not follow, and
        /// reassembled datagrams without memory.
        InDiscards, in_discards, "IpInDiscards", "Ip6InDiscards", "ipSystemStatsInDiscards";
        /// Packets delivered to a protocol above.
        InDelivers, in_delivers, "IpInDelivers", "Ip6InDelivers", "ipSystemStatsInDelivers";
        /// Packets to multicast groups that were received.
        InMcastPkts, in_mcast_pkts, "IpExtInMcastPkts", "Ip6InMcastPkts", "ipSystemStatsInMcastPkts";
        /// Bytes of these packets.
        InMcastOctets, in_mcast_octets, "IpExtInMcastOctets", "Ip6InMcastOctets", "ipSystemStatsInMcastOctets";
        /// Packets to broadcast addresses of the host that were received.
        InBcastPkts, in_bcast_pkts, "IpExtInBcastPkts", "", "ipSystemStatsInBcastPkts";
        /// Fragments received.
        ReasmReqds, reasm_reqds, "IpReasmReqds", "Ip6ReasmReqds", "ipSystemStatsReasmReqds";
        /// Datagrams reassembled.
        ReasmOks, reasm_oks, "IpReasmOKs", "Ip6ReasmOKs", "ipSystemStatsReasmOKs";
        /// Failures of the reassembly: time, errors, memory. Not a number of fragments, and not one of datagrams.
        ReasmFails, reasm_fails, "IpReasmFails", "Ip6ReasmFails", "ipSystemStatsReasmFails";
        /// Datagrams whose time for reassembly was over.
        ReasmTimeout, reasm_timeout, "IpReasmTimeout", "Ip6ReasmTimeout", "";
        /// Packets that protocols of the host asked to send.
        OutRequests, out_requests, "IpOutRequests", "Ip6OutRequests", "ipSystemStatsOutRequests";
        /// Packets discarded for want of a route or a source.
        OutNoRoutes, out_no_routes, "IpOutNoRoutes", "Ip6OutNoRoutes", "ipSystemStatsOutNoRoutes";
        /// Packets discarded though nothing was wrong with them.
        OutDiscards, out_discards, "IpOutDiscards", "Ip6OutDiscards", "ipSystemStatsOutDiscards";
        /// Packets that needed fragmentation and got it.
        FragOks, frag_oks, "IpFragOKs", "Ip6FragOKs", "ipSystemStatsOutFragOKs";
        /// Packets that needed fragmentation and could not get it.
        FragFails, frag_fails, "IpFragFails", "Ip6FragFails", "ipSystemStatsOutFragFails";
        /// Fragments made.
        FragCreates, frag_creates, "IpFragCreates", "Ip6FragCreates", "ipSystemStatsOutFragCreates";
        /// Packets handed to the device, or to the host itself.
        OutTransmits, out_transmits, "IpOutTransmits", "Ip6OutTransmits", "ipSystemStatsOutTransmits";
        /// Bytes of these packets.
        OutOctets, out_octets, "IpExtOutOctets", "Ip6OutOctets", "ipSystemStatsOutOctets";
        /// Packets to multicast groups that were handed on.
        OutMcastPkts, out_mcast_pkts, "IpExtOutMcastPkts", "Ip6OutMcastPkts", "ipSystemStatsOutMcastPkts";
        /// Bytes of these packets.
        OutMcastOctets, out_mcast_octets, "IpExtOutMcastOctets", "Ip6OutMcastOctets", "ipSystemStatsOutMcastOctets";
    }
}

objects! {
    /// An object of ICMP (RFC 4293, `icmpStatsTable` and `icmpMsgStatsTable`: a row for each family).
    IcmpObject,
    /// The objects of ICMP in one family.
    IcmpStats {
        /// Messages received, those with errors included.
        InMsgs, in_msgs, "IcmpInMsgs", "Icmp6InMsgs", "icmpStatsInMsgs";
        /// Messages received and found to have errors.
        InErrors, in_errors, "IcmpInErrors", "Icmp6InErrors", "icmpStatsInErrors";
        /// Of these, those with a wrong checksum.
        InCsumErrors, in_csum_errors, "IcmpInCsumErrors", "Icmp6InCsumErrors", "";
        /// Destination Unreachable received.
        InDestUnreachs, in_dest_unreachs, "IcmpInDestUnreachs", "Icmp6InDestUnreachs", "icmpMsgStatsInPkts";
        /// Packet Too Big received.
        InPktTooBigs, in_pkt_too_bigs, "", "Icmp6InPktTooBigs", "icmpMsgStatsInPkts";
        /// Time Exceeded received.
        InTimeExcds, in_time_excds, "IcmpInTimeExcds", "Icmp6InTimeExcds", "icmpMsgStatsInPkts";
        /// Parameter Problem received.
        InParmProbs, in_parm_probs, "IcmpInParmProbs", "Icmp6InParmProblems", "icmpMsgStatsInPkts";
        /// Redirect received.
        InRedirects, in_redirects, "IcmpInRedirects", "Icmp6InRedirects", "icmpMsgStatsInPkts";
        /// Echo Request received.
        InEchos, in_echos, "IcmpInEchos", "Icmp6InEchos", "icmpMsgStatsInPkts";
        /// Echo Reply received.
        InEchoReps, in_echo_reps, "IcmpInEchoReps", "Icmp6InEchoReplies", "icmpMsgStatsInPkts";
        /// Queries of multicast listener discovery received.
        InGroupQueries, in_group_queries, "", "Icmp6InGroupMembQueries", "icmpMsgStatsInPkts";
        /// Messages sent.
        OutMsgs, out_msgs, "IcmpOutMsgs", "Icmp6OutMsgs", "icmpStatsOutMsgs";
        /// Messages that were not sent: by the limit of their rate, or for want of memory.
        OutErrors, out_errors, "IcmpOutErrors", "Icmp6OutErrors", "icmpStatsOutErrors";
        /// Destination Unreachable sent.
        OutDestUnreachs, out_dest_unreachs, "IcmpOutDestUnreachs", "Icmp6OutDestUnreachs", "icmpMsgStatsOutPkts";
        /// Time Exceeded sent.
        OutTimeExcds, out_time_excds, "IcmpOutTimeExcds", "Icmp6OutTimeExcds", "icmpMsgStatsOutPkts";
        /// Parameter Problem sent.
        OutParmProbs, out_parm_probs, "IcmpOutParmProbs", "Icmp6OutParmProblems", "icmpMsgStatsOutPkts";
        /// Echo Request sent.
        OutEchos, out_echos, "IcmpOutEchos", "Icmp6OutEchos", "icmpMsgStatsOutPkts";
        /// Echo Reply sent.
        OutEchoReps, out_echo_reps, "IcmpOutEchoReps", "Icmp6OutEchoReplies", "icmpMsgStatsOutPkts";
        /// Reports of multicast listener discovery sent, of its second version.
        OutMldV2Reports, out_mld_v2_reports, "", "Icmp6OutMLDv2Reports", "icmpMsgStatsOutPkts";
    }
}

objects! {
    /// An object of UDP (RFC 4113; the MIB has the sum of both families).
    UdpObject,
    /// The objects of UDP in one family.
    UdpStats {
        /// Datagrams delivered to sockets, once for each.
        InDatagrams, in_datagrams, "UdpInDatagrams", "Udp6InDatagrams", "udpInDatagrams";
        /// Datagrams for which there was no socket.
        NoPorts, no_ports, "UdpNoPorts", "Udp6NoPorts", "udpNoPorts";
        /// Datagrams that could not be delivered for another reason.
        InErrors, in_errors, "UdpInErrors", "Udp6InErrors", "udpInErrors";
        /// Datagrams sent.
        OutDatagrams, out_datagrams, "UdpOutDatagrams", "Udp6OutDatagrams", "udpOutDatagrams";
        /// Of those that could not be delivered, those for which a socket's queue or memory had no room.
        RcvbufErrors, rcvbuf_errors, "UdpRcvbufErrors", "Udp6RcvbufErrors", "";
        /// Of those that could not be delivered, those whose checksum was wrong or missing.
        InCsumErrors, in_csum_errors, "UdpInCsumErrors", "Udp6InCsumErrors", "";
        /// Datagrams to groups that no socket at the port had joined.
        IgnoredMulti, ignored_multi, "UdpIgnoredMulti", "Udp6IgnoredMulti", "";
    }
}

objects! {
    /// An object of TCP (RFC 4022), for both families.
    TcpObject,
    /// The objects of TCP.
    TcpStats {
        /// Connections that went from CLOSED to SYN-SENT.
        ActiveOpens, active_opens, "TcpActiveOpens", "TcpActiveOpens", "tcpActiveOpens";
        /// Connections that went from LISTEN to SYN-RECEIVED. A SYN that is answered by a cookie counts when the cookie
        /// comes back.
        PassiveOpens, passive_opens, "TcpPassiveOpens", "TcpPassiveOpens", "tcpPassiveOpens";
        /// Connections that went from SYN-SENT or SYN-RECEIVED to CLOSED or LISTEN.
        AttemptFails, attempt_fails, "TcpAttemptFails", "TcpAttemptFails", "tcpAttemptFails";
        /// Connections that went from ESTABLISHED or CLOSE-WAIT to CLOSED.
        EstabResets, estab_resets, "TcpEstabResets", "TcpEstabResets", "tcpEstabResets";
        /// Segments received, those with errors included.
        InSegs, in_segs, "TcpInSegs", "TcpInSegs", "tcpInSegs";
        /// Segments sent, without those that are sent again.
        OutSegs, out_segs, "TcpOutSegs", "TcpOutSegs", "tcpOutSegs";
        /// Segments sent again.
        RetransSegs, retrans_segs, "TcpRetransSegs", "TcpRetransSegs", "tcpRetransSegs";
        /// Segments received in error: checksum, lengths, options.
        InErrs, in_errs, "TcpInErrs", "TcpInErrs", "tcpInErrs";
        /// Segments sent with RST.
        OutRsts, out_rsts, "TcpOutRsts", "TcpOutRsts", "tcpOutRsts";
        /// Of the segments in error, those with a wrong checksum.
        InCsumErrors, in_csum_errors, "TcpInCsumErrors", "TcpInCsumErrors", "";
    }
}
