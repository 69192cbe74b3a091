//! The packets of reports: TTL 1, Router Alert, and the addresses that the RFCs want.
//!
//! Sections: RFC 9776 sections 4, 4.2.14 and 4.2.15, RFC 9777 sections 5, 5.2.14 and 5.2.15, RFC 2236
//! section 2, RFC 2710 section 3.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use packet::build::{
    BuildError, Head, IpFields, prepend_icmp, prepend_ip, prepend_ipv4_with_options,
    prepend_options_header,
};
use packet::frame::TxOffload;
use packet::ip::IpVersion;
use packet::membership::{IgmpMessage, MldMessage, QueryVersion};
use packet::{Chunks, IpProto, Payload, TxPacket};

use super::reporter::Report;
use crate::ip::addresses::AddressTable;

/// The option that makes routers look at a packet (RFC 2113).
const ROUTER_ALERT_V4: [u8; 4] = [148, 4, 0, 0];
/// The same in IPv6, with the value of MLD (RFC 2711).
const ROUTER_ALERT_V6: [u8; 4] = [5, 2, 0, 0];
/// Precedence "internetwork control", which RFC 9776 section 4 wants for IGMP.
const INTERNETWORK_CONTROL: u8 = 0xc0;

/// Groups of routers, to which messages go that are about several groups or about one that was left.
mod routers {
    use super::{Ipv4Addr, Ipv6Addr};

    pub(super) const ALL_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 2);
    pub(super) const IGMP_V3: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);
    pub(super) const ALL_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
    pub(super) const MLD_V2: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
}

/// Returns how many bytes of records fit a report on a link with this MTU.
pub fn max_record_bytes(family: IpVersion, mtu: u16) -> usize {
    let headers = match family {
        // IP header with the option, IGMP header.
        IpVersion::V4 => 24 + 8,
        // IP header, hop-by-hop options, ICMP header.
        IpVersion::V6 => 40 + 8 + 8,
    };
    usize::from(mtu).saturating_sub(headers)
}

/// Builds the packet of a report.
///
/// IGMP is sent from an address of the host, or from 0.0.0.0 if it has none. MLD is sent from a link-local
/// address, or from `::` if the host has none: routers ignore such a report, but switches that listen do not.
///
/// # Errors
/// [`BuildError::TooLong`] if the report does not fit a packet.
pub fn packet(
    family: IpVersion,
    report: &Report,
    addresses: &AddressTable,
) -> Result<TxPacket, BuildError> {
    match family {
        IpVersion::V4 => igmp_packet(report, addresses),
        IpVersion::V6 => mld_packet(report, addresses),
    }
}

fn fields(src: IpAddr, dst: IpAddr, proto: IpProto, traffic_class: u8) -> IpFields {
    IpFields {
        src,
        dst,
        proto,
        ttl: 1,
        traffic_class,
        ident: 0,
        dont_fragment: true,
        flow_label: 0,
    }
}

fn igmp_packet(report: &Report, addresses: &AddressTable) -> Result<TxPacket, BuildError> {
    let v4 = |group: &IpAddr| match group {
        IpAddr::V4(v4) => Ok(*v4),
        IpAddr::V6(_) => Err(BuildError::MixedVersions),
    };
    let (message, dst) = match report {
        Report::Records(records) => (IgmpMessage::ReportV3(records), routers::IGMP_V3),
        Report::Old(QueryVersion::One, group) => (IgmpMessage::ReportV1(v4(group)?), v4(group)?),
        Report::Old(_, group) => (IgmpMessage::ReportV2(v4(group)?), v4(group)?),
        Report::Leave(group) => (IgmpMessage::LeaveV2(v4(group)?), routers::ALL_V4),
    };
    let dst = IpAddr::V4(dst);
    let src = addresses.select_source(dst);
    let src = src.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let fields = fields(src, dst, IpProto::IGMP, INTERNETWORK_CONTROL);
    let payload = message.to_vec();
    let mut head = Head::new();
    prepend_ipv4_with_options(&mut head, &fields, &ROUTER_ALERT_V4, payload.len())?;
    Ok(finished(head, payload))
}

fn mld_packet(report: &Report, addresses: &AddressTable) -> Result<TxPacket, BuildError> {
    let v6 = |group: &IpAddr| match group {
        IpAddr::V6(v6) => Ok(*v6),
        IpAddr::V4(_) => Err(BuildError::MixedVersions),
    };
    let (message, dst) = match report {
        Report::Records(records) => (MldMessage::ReportV2(records), routers::MLD_V2),
        Report::Old(_, group) => (MldMessage::Report(v6(group)?), v6(group)?),
        Report::Leave(group) => (MldMessage::Done(v6(group)?), routers::ALL_V6),
    };
    let (src, dst) = (IpAddr::V6(link_local(addresses)), IpAddr::V6(dst));
    let fields = fields(src, dst, IpProto::HOP_BY_HOP, 0);
    let (header, payload) = message.to_parts();
    let (len, mut head) = (payload.len(), Head::new());
    prepend_icmp(
        &mut head,
        header,
        src,
        dst,
        core::iter::once(&payload[..]),
        len,
    )?;
    prepend_options_header(&mut head, IpProto::ICMPV6, &ROUTER_ALERT_V6)?;
    prepend_ip(&mut head, &fields, len)?;
    Ok(finished(head, payload))
}

/// Returns a link-local address of the host, or `::` if it has none.
pub fn link_local(addresses: &AddressTable) -> Ipv6Addr {
    let own = addresses.iter().map(|prefix| prefix.address());
    let mut link_local = own.filter_map(|address| match address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some(v6),
        _ => None,
    });
    link_local.next().unwrap_or(Ipv6Addr::UNSPECIFIED)
}

fn finished(head: Head, payload: Vec<u8>) -> TxPacket {
    TxPacket {
        head,
        payload: Chunks::from(Payload::from(bytes::Bytes::from(payload))),
        offload: TxOffload::default(),
    }
}
