//! IPv6 extension headers and their options (RFC 8200 sections 4.2 to 4.6, RFC 8504 section 5.3).

use super::error::Problem;
use super::{
    Icmpv6ParameterProblemCode as Code, IpParseErrorAction, Ipv6, MAX_OPTIONS, MAX_PADDING,
};
use crate::IpProto;

/// The action of a node that does not know an option: the two high bits of the option's type (RFC 8200
/// section 4.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ipv6OptionAction {
    /// 00: skip the option.
    Skip,
    /// 01: discard the packet.
    Discard,
    /// 10: discard the packet and send an ICMP error.
    DiscardSendIcmp,
    /// 11: discard the packet and send an ICMP error unless the destination was multicast.
    DiscardSendIcmpNoMulticast,
}

impl Ipv6OptionAction {
    /// Returns the action that the option type `kind` encodes.
    pub const fn of(kind: u8) -> Self {
        match kind >> 6 {
            0 => Self::Skip,
            1 => Self::Discard,
            2 => Self::DiscardSendIcmp,
            _ => Self::DiscardSendIcmpNoMulticast,
        }
    }
}

/// An option of a hop-by-hop or destination options header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Ipv6Option<'a> {
    /// One byte of padding (type 0).
    Pad1,
    /// Two bytes of padding and this many more (type 1).
    PadN(u8),
    /// Router alert: routers inspect the packet (RFC 2711, type 5).
    RouterAlert(u16),
    /// Any other option. [`Ipv6OptionAction::of`] its type tells how to treat the packet.
    Unknown {
        /// The option's type.
        kind: u8,
        /// The bytes after the option's length field.
        data: &'a [u8],
    },
}

mod kind {
    pub(super) const PAD1: u8 = 0;
    pub(super) const PADN: u8 = 1;
    pub(super) const ROUTER_ALERT: u8 = 5;
}

/// Returns the first option of `options` and the bytes after it, `None` at the end, or the offset of the
/// wrong byte.
fn next(options: &[u8]) -> Result<Option<(Ipv6Option<'_>, &[u8])>, usize> {
    let Some((&kind, behind_kind)) = options.split_first() else {
        return Ok(None);
    };
    if kind == kind::PAD1 {
        return Ok(Some((Ipv6Option::Pad1, behind_kind)));
    }
    let Some((&len, behind_len)) = behind_kind.split_first() else {
        return Err(0);
    };
    let Some((data, rest)) = behind_len.split_at_checked(usize::from(len)) else {
        return Err(1);
    };
    let option = match (kind, data) {
        (kind::PADN, _) => Ipv6Option::PadN(len),
        (kind::ROUTER_ALERT, &[high, low]) => {
            Ipv6Option::RouterAlert(u16::from_be_bytes([high, low]))
        }
        (kind::ROUTER_ALERT, _) => return Err(1),
        _ => Ipv6Option::Unknown { kind, data },
    };
    Ok(Some((option, rest)))
}

/// Checks the options of the header at offset `at` of the packet.
#[inline]
pub(super) fn check_options(header: &[u8], at: usize) -> Result<(), Problem<Ipv6>> {
    match header {
        // What nearly all senders write: the router alert of multicast listeners (RFC 9777), and padding alone.
        [_, _, kind::ROUTER_ALERT, 2, _, _, kind::PADN, 0] | [_, _, kind::PADN, 4, _, _, _, _] => {
            Ok(())
        }
        _ => {
            check_options_and_padding(header.get(2..).unwrap_or(&[]), at + 2)?;
            Ok(())
        }
    }
}

/// Checks `options`, which are at offset `at` of the packet, and returns the number of padding bytes at
/// their end.
///
/// The loop tells right from wrong and no more: what is wrong is found out when it is too late to be fast.
#[inline]
pub(super) fn check_options_and_padding(options: &[u8], at: usize) -> Result<usize, Problem<Ipv6>> {
    let mut rest = options;
    let (mut count, mut padding) = (0, 0);
    loop {
        let behind = match *rest {
            [] => return Ok(padding),
            [kind::PAD1, ref behind @ ..] => {
                padding += 1;
                behind
            }
            [kind, len, ref behind @ ..] if behind.len() >= usize::from(len) => {
                if kind == kind::PADN {
                    padding += 2 + usize::from(len);
                } else {
                    if !is_skipped(kind, len) || count == MAX_OPTIONS {
                        return Err(wrong_option(options, rest, at, count));
                    }
                    count += 1;
                    padding = 0;
                }
                behind.split_at(usize::from(len)).1
            }
            _ => return Err(wrong_option(options, rest, at, count)),
        };
        if padding > MAX_PADDING {
            return Err(too_much_padding(options, rest, at));
        }
        rest = behind;
    }
}

/// Returns true for an option that this host knows or may skip.
#[inline]
fn is_skipped(kind: u8, len: u8) -> bool {
    match kind {
        kind::ROUTER_ALERT => len == 2,
        _ => matches!(Ipv6OptionAction::of(kind), Ipv6OptionAction::Skip),
    }
}

#[cold]
fn too_much_padding(options: &[u8], rest: &[u8], at: usize) -> Problem<Ipv6> {
    Problem::silent(Code::OptionTooBig, at + (options.len() - rest.len()))
}

/// Returns the problem of the option at the front of `rest`, the last part of `options`, which are at offset
/// `at` of the packet. `count` options that are not padding are in front of it.
#[cold]
fn wrong_option(options: &[u8], rest: &[u8], at: usize, count: usize) -> Problem<Ipv6> {
    let at = at + (options.len() - rest.len());
    match next(rest) {
        Err(within) => Problem::at(Code::ErroneousHeaderField, at + within),
        Ok(Some((Ipv6Option::Unknown { kind, .. }, _))) if count < MAX_OPTIONS => unknown(kind, at),
        Ok(_) => Problem::silent(Code::TooManyOptions, at),
    }
}

/// Returns the problem of an unknown option whose type does not allow skipping it.
fn unknown(kind: u8, at: usize) -> Problem<Ipv6> {
    let (must_send_icmp, action) = match Ipv6OptionAction::of(kind) {
        Ipv6OptionAction::Skip | Ipv6OptionAction::Discard => {
            (false, IpParseErrorAction::DiscardPacket)
        }
        Ipv6OptionAction::DiscardSendIcmp => (true, IpParseErrorAction::DiscardPacketSendIcmp),
        Ipv6OptionAction::DiscardSendIcmpNoMulticast => {
            (true, IpParseErrorAction::DiscardPacketSendIcmpNoMulticast)
        }
    };
    Problem {
        must_send_icmp,
        action,
        ..Problem::at(Code::UnrecognizedOption, at)
    }
}

/// An iterator over the options of a header that was checked.
#[derive(Clone, Copy, Debug)]
pub struct Ipv6Options<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Ipv6Options<'a> {
    type Item = Ipv6Option<'a>;

    fn next(&mut self) -> Option<Ipv6Option<'a>> {
        match next(self.rest) {
            Ok(Some((option, rest))) => {
                self.rest = rest;
                Some(option)
            }
            Ok(None) | Err(_) => {
                self.rest = &[];
                None
            }
        }
    }
}

/// A routing header (RFC 8200 section 4.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoutingHeader<'a> {
    /// Routing type; some values are constants of this type.
    pub kind: u8,
    /// Number of nodes still to be visited.
    pub segments_left: u8,
    /// The type-specific data, from the fifth byte on.
    pub data: &'a [u8],
}

impl<'a> RoutingHeader<'a> {
    /// Source route, deprecated (RFC 5095).
    pub const SOURCE_ROUTE: u8 = 0;
    /// Mobile IPv6 (RFC 6275).
    pub const MOBILE: u8 = 2;
    /// RPL source route (RFC 6554).
    pub const RPL: u8 = 3;
    /// Segment routing (RFC 8754).
    pub const SEGMENT: u8 = 4;

    /// Reads `header`, a whole routing header.
    pub(super) fn new(header: &'a [u8]) -> Option<Self> {
        let (&[_, _, kind, segments_left], data) = header.split_first_chunk::<4>()?;
        Some(Self {
            kind,
            segments_left,
            data,
        })
    }
}

/// An extension header.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Ipv6Extension<'a> {
    /// Options for every node on the path.
    HopByHop(Ipv6Options<'a>),
    /// Options for the destination.
    DestinationOptions(Ipv6Options<'a>),
    /// A list of nodes to visit. The parser accepts it only if none is left.
    Routing(RoutingHeader<'a>),
    /// A fragment header, also that of an atomic fragment.
    Fragment,
}

/// An iterator over the extension headers of a packet that was checked, in order.
#[derive(Clone, Copy, Debug)]
pub struct Ipv6Extensions<'a> {
    proto: IpProto,
    rest: &'a [u8],
}

impl<'a> Ipv6Extensions<'a> {
    pub(super) fn new(proto: IpProto, chain: &'a [u8]) -> Self {
        Self { proto, rest: chain }
    }
}

impl<'a> Iterator for Ipv6Extensions<'a> {
    type Item = Ipv6Extension<'a>;

    fn next(&mut self) -> Option<Ipv6Extension<'a>> {
        if !self.proto.is_extension_header() {
            return None;
        }
        let (&next, &units) = (self.rest.first()?, self.rest.get(1)?);
        let len = match self.proto {
            IpProto::FRAGMENT => 8,
            _ => 8 + usize::from(units) * 8,
        };
        let (header, rest) = self.rest.split_at_checked(len)?;
        let options = Ipv6Options {
            rest: header.get(2..).unwrap_or(&[]),
        };
        let extension = match self.proto {
            IpProto::HOP_BY_HOP => Ipv6Extension::HopByHop(options),
            IpProto::DEST_OPTS => Ipv6Extension::DestinationOptions(options),
            IpProto::ROUTING => Ipv6Extension::Routing(RoutingHeader::new(header)?),
            _ => Ipv6Extension::Fragment,
        };
        self.proto = IpProto(next);
        self.rest = rest;
        Some(extension)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_at_a_glance_passes_option_by_option_too() {
        let values = [kind::PAD1, kind::PADN, 2, 4, kind::ROUTER_ALERT, 0xc2];
        let mut passed = 0;
        for n in 0..values.len().pow(6) {
            let mut header = [0; 8];
            let mut digits = n;
            for byte in &mut header[2..] {
                *byte = values[digits % values.len()];
                digits /= values.len();
            }
            let whole = check_options(&header, 40);
            let stepwise = check_options_and_padding(&header[2..], 42).map(|_| ());
            assert_eq!(whole, stepwise, "{header:?}");
            passed += usize::from(whole.is_ok());
        }
        assert!(passed > 0 && passed < values.len().pow(6), "{passed}");
    }
}
