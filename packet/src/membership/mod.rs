//! Messages of multicast group membership: IGMP for IPv4 (RFC 9776, with RFC 2236 and RFC 1112) and MLD for
//! IPv6 (RFC 9777, with RFC 2710), whose messages are ICMPv6 messages.
//!
//! Both protocols have the same messages in other clothes, so one set of types serves both:
//!
//! | [`Membership`] | IGMP | MLD |
//! |---|---|---|
//! | [`Membership::Query`] | type 0x11, of three versions | type 130, of two versions |
//! | [`Membership::Report`], of an older version | types 0x12 and 0x16 | type 131 |
//! | [`Membership::Other`] | all others | |
//!
//! A host reads queries, and the older reports of its neighbours. It writes reports of every version and the
//! message by which it leaves: see [`IgmpMessage`] and [`MldMessage`].
//!
//! * **Define.** A [`Query`] has a length that some version has, and all the sources that it announces.
//! * **Enforce.** [`Membership::parse_igmp`] and [`Membership::of_mld`] are the only constructors.
//! * **Consume.** The host's state machine answers queries without looking at lengths again.
//!
//! ```
//! use packet::membership::{Membership, QueryVersion};
//!
//! // A general query of IGMPv2 that allows 10 seconds.
//! let bytes = [0x11, 100, 0xee, 0x9b, 0, 0, 0, 0];
//! let Ok(Membership::Query(query)) = Membership::parse_igmp(&bytes) else { panic!() };
//! assert_eq!((query.version, query.group), (QueryVersion::Two, None));
//! assert_eq!(query.max_response.as_secs(), 10);
//! ```

mod write;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use crate::checksum;
use crate::icmp::{Icmpv6View, Mld};

pub use write::{IgmpMessage, MldMessage, Record, RecordKind};

/// Types of IGMP messages.
mod igmp {
    pub(super) const QUERY: u8 = 0x11;
    pub(super) const REPORT_V1: u8 = 0x12;
    pub(super) const REPORT_V2: u8 = 0x16;
    pub(super) const LEAVE_V2: u8 = 0x17;
    pub(super) const REPORT_V3: u8 = 0x22;
}

/// The longest response time that IGMPv1 allows, whose queries do not say it (RFC 9776 section 7.2.1).
const IGMP_V1_RESPONSE: Duration = Duration::from_secs(10);

/// A message of group membership.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Membership<'a> {
    /// A router asks what its neighbours are members of.
    Query(Query<'a>),
    /// A neighbour said in an older version that it is a member of this group.
    Report(IpAddr),
    /// Any other message, which a host ignores.
    Other,
}

/// The version of the protocol that a query is of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum QueryVersion {
    /// IGMPv1.
    One,
    /// IGMPv2 and MLDv1.
    Two,
    /// IGMPv3 and MLDv2.
    Three,
}

/// A query.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Query<'a> {
    /// Its version.
    pub version: QueryVersion,
    /// The group asked about; `None` in a general query.
    pub group: Option<IpAddr>,
    /// The longest time that an answer may take.
    pub max_response: Duration,
    /// The querier's robustness variable; 0 if it does not say.
    pub robustness: u8,
    /// The querier's query interval; zero if it does not say.
    pub interval: Duration,
    /// The sources asked about, one address after the other; none unless the query is of version three.
    sources: &'a [u8],
    ipv6: bool,
}

/// The reason to discard a message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum MembershipParseError {
    /// The message is shorter than its fields, or has a length that no version has.
    #[error("group membership message has a length that no version has")]
    Length,
    /// The checksum is wrong.
    #[error("group membership checksum is wrong")]
    Checksum,
}

impl<'a> Membership<'a> {
    /// Parses `bytes`, the whole payload of an IPv4 packet of protocol IGMP. Bytes beyond the message's fields
    /// are covered by the checksum, and ignored (RFC 9776 section 4.1.10).
    ///
    /// # Errors
    /// Returns the first fault found: length, then checksum.
    pub fn parse_igmp(bytes: &'a [u8]) -> Result<Self, MembershipParseError> {
        let Some((&[kind, code, _, _, a, b, c, d], rest)) = bytes.split_first_chunk::<8>() else {
            return Err(MembershipParseError::Length);
        };
        if !checksum::verify(bytes) {
            return Err(MembershipParseError::Checksum);
        }
        let group = Ipv4Addr::new(a, b, c, d);
        match kind {
            igmp::QUERY => igmp_query(code, group, rest).map(Self::Query),
            igmp::REPORT_V1 | igmp::REPORT_V2 => Ok(Self::Report(group.into())),
            _ => Ok(Self::Other),
        }
    }

    /// Reads a message of MLD. Returns `None` for any other ICMPv6 message.
    pub fn of_mld(view: &Icmpv6View<'a>) -> Option<Result<Self, MembershipParseError>> {
        let (kind, rest) = view.mld()?;
        Some(match kind {
            Mld::Query => mld_query(rest, view.body()).map(Self::Query),
            Mld::Report => match view.body().first_chunk::<16>() {
                Some(group) => Ok(Self::Report(Ipv6Addr::from(*group).into())),
                None => Err(MembershipParseError::Length),
            },
            Mld::Done | Mld::ReportV2 => Ok(Self::Other),
        })
    }
}

impl<'a> Query<'a> {
    /// Returns the number of sources that the query asks about.
    pub fn source_count(&self) -> usize {
        self.sources.len() / if self.ipv6 { 16 } else { 4 }
    }

    /// Iterates over the sources that the query asks about.
    pub fn sources(&self) -> impl Iterator<Item = IpAddr> + 'a {
        let (v4, v6): (&[[u8; 4]], &[[u8; 16]]) = if self.ipv6 {
            (&[], self.sources.as_chunks().0)
        } else {
            (self.sources.as_chunks().0, &[])
        };
        let v4 = v4.iter().map(|octets| IpAddr::from(*octets));
        v4.chain(v6.iter().map(|octets| IpAddr::from(*octets)))
    }
}

/// Reads a query of IGMP behind its group address. Its length says its version (RFC 9776 section 7.1).
fn igmp_query(code: u8, group: Ipv4Addr, rest: &[u8]) -> Result<Query<'_>, MembershipParseError> {
    let query = Query {
        version: QueryVersion::Two,
        group: (!group.is_unspecified()).then_some(group.into()),
        max_response: Duration::from_millis(u64::from(code) * 100),
        robustness: 0,
        interval: Duration::ZERO,
        sources: &[],
        ipv6: false,
    };
    if rest.is_empty() && code == 0 {
        return Ok(Query {
            version: QueryVersion::One,
            max_response: IGMP_V1_RESPONSE,
            ..query
        });
    }
    if rest.is_empty() {
        return Ok(query);
    }
    let (fields, sources) = version_three(rest, 4)?;
    Ok(Query {
        version: QueryVersion::Three,
        max_response: Duration::from_millis(u64::from(decode_8(code)) * 100),
        robustness: fields.robustness,
        interval: fields.interval,
        sources,
        ..query
    })
}

/// Reads a query of MLD: `rest` are the four bytes behind the checksum. Its length says its version (RFC 9777
/// section 8.1).
fn mld_query(rest: [u8; 4], body: &[u8]) -> Result<Query<'_>, MembershipParseError> {
    let Some((group, behind)) = body.split_first_chunk::<16>() else {
        return Err(MembershipParseError::Length);
    };
    let [high, low, _, _] = rest;
    let code = u16::from_be_bytes([high, low]);
    let group = Ipv6Addr::from(*group);
    let query = Query {
        version: QueryVersion::Two,
        group: (!group.is_unspecified()).then_some(group.into()),
        max_response: Duration::from_millis(code.into()),
        robustness: 0,
        interval: Duration::ZERO,
        sources: &[],
        ipv6: true,
    };
    if behind.is_empty() {
        return Ok(query);
    }
    let (fields, sources) = version_three(behind, 16)?;
    Ok(Query {
        version: QueryVersion::Three,
        max_response: Duration::from_millis(decode_16(code).into()),
        robustness: fields.robustness,
        interval: fields.interval,
        sources,
        ..query
    })
}

/// Fields that only the newest version has.
struct VersionThree {
    robustness: u8,
    interval: Duration,
}

/// Reads the fields of the newest version, and the sources behind them, of `address_len` bytes each.
fn version_three(
    bytes: &[u8],
    address_len: usize,
) -> Result<(VersionThree, &[u8]), MembershipParseError> {
    let Some((&[flags, interval, high, low], sources)) = bytes.split_first_chunk::<4>() else {
        return Err(MembershipParseError::Length);
    };
    let count = usize::from(u16::from_be_bytes([high, low]));
    let sources = sources
        .get(..count * address_len)
        .ok_or(MembershipParseError::Length)?;
    let fields = VersionThree {
        robustness: flags & 7,
        interval: Duration::from_secs(decode_8(interval).into()),
    };
    Ok((fields, sources))
}

/// Decodes a Max Resp Code of IGMPv3 or a Querier's Query Interval Code: linear below 128, a floating-point number
/// from there on (RFC 9776 sections 4.1.1 and 4.1.7).
const fn decode_8(code: u8) -> u32 {
    if code < 0x80 {
        return code as u32;
    }
    ((code & 0x0f) as u32 | 0x10) << ((code >> 4 & 7) as u32 + 3)
}

/// Decodes a Maximum Response Code of MLDv2 (RFC 9777 section 5.1.3).
const fn decode_16(code: u16) -> u32 {
    if code < 0x8000 {
        return code as u32;
    }
    ((code & 0x0fff) as u32 | 0x1000) << ((code >> 12 & 7) as u32 + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_linear_at_first_and_exponential_then() {
        for (code, value) in [(0, 0), (127, 127), (0x80, 128), (0x8f, 248), (0xff, 31_744)] {
            assert_eq!(decode_8(code), value, "{code:#x}");
        }
        for (code, value) in [(0x7fff, 32_767), (0x8000, 32_768), (0xffff, 0x1fff << 10)] {
            assert_eq!(decode_16(code), value, "{code:#x}");
        }
    }
}
