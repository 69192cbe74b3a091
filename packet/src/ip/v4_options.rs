//! IPv4 options (RFC 791 section 3.1, RFC 2113; RFC 7126 on what to think of them).

use core::net::Ipv4Addr;

/// Option numbers: copied flag, class and number in one octet.
mod kind {
    pub(super) const END: u8 = 0;
    pub(super) const NOP: u8 = 1;
    pub(super) const RECORD_ROUTE: u8 = 7;
    pub(super) const TIMESTAMP: u8 = 68;
    pub(super) const LOOSE_SOURCE_ROUTE: u8 = 131;
    pub(super) const STRICT_SOURCE_ROUTE: u8 = 137;
    pub(super) const ROUTER_ALERT: u8 = 148;
}

/// One option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Ipv4Option<'a> {
    /// Padding of one octet (kind 1).
    Nop,
    /// Routers write their addresses here (kind 7).
    RecordRoute(RouteOption<'a>),
    /// Visit these, and others if need be (kind 131).
    LooseSourceRoute(RouteOption<'a>),
    /// Visit just these (kind 137).
    StrictSourceRoute(RouteOption<'a>),
    /// Nodes write the time here (kind 68).
    Timestamp {
        /// Octet of the option, counted from 1, at which the next entry is to be written.
        pointer: u8,
        /// Nodes that found no room.
        overflow: u8,
        /// 0: timestamps only; 1: address and timestamp; 3: only nodes with the given address.
        flag: u8,
        /// The entries, of 4 or 8 octets each.
        entries: &'a [u8],
    },
    /// Routers are to look at this packet (RFC 2113, kind 148).
    RouterAlert(u16),
    /// Any other option.
    Unknown {
        /// The option's first octet.
        kind: u8,
        /// What follows its length octet.
        data: &'a [u8],
    },
}

/// Body of the three options that hold a list of addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouteOption<'a> {
    /// Octet of the option, counted from 1, of the next address: 4 is the first one.
    pub pointer: u8,
    /// The addresses, 4 octets each.
    pub route: &'a [u8],
}

impl RouteOption<'_> {
    /// Whether all addresses were used up: of a source route, that the packet has arrived.
    pub fn is_complete(&self) -> bool {
        usize::from(self.pointer) > self.route.len() + 3
    }

    /// The addresses, in order.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        let (chunks, _) = self.route.as_chunks::<4>();
        chunks.iter().map(|octets| Ipv4Addr::from(*octets))
    }
}

/// The options of a header that was checked.
///
/// ```
/// use packet::ip::{Ipv4Option, Ipv4Options};
///
/// let mut options = Ipv4Options::new(&[1, 148, 4, 0, 0, 0, 0, 0]);
/// assert_eq!(options.next(), Some(Ipv4Option::Nop));
/// assert_eq!(options.next(), Some(Ipv4Option::RouterAlert(0)));
/// assert_eq!(options.next(), None);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Ipv4Options<'a> {
    rest: &'a [u8],
}

impl<'a> Ipv4Options<'a> {
    /// Iterates over `options`: what follows the fixed header. Ends at the first thing malformed.
    pub fn new(options: &'a [u8]) -> Self {
        Self { rest: options }
    }
}

impl<'a> Iterator for Ipv4Options<'a> {
    type Item = Ipv4Option<'a>;

    fn next(&mut self) -> Option<Ipv4Option<'a>> {
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

/// The first option of `options` and what follows it; `None` at the end; or the octet, counted
/// from the beginning of `options`, at which it is wrong.
fn next(options: &[u8]) -> Result<Option<(Ipv4Option<'_>, &[u8])>, usize> {
    let Some((&kind, behind_kind)) = options.split_first() else {
        return Ok(None);
    };
    match kind {
        kind::END => return Ok(None),
        kind::NOP => return Ok(Some((Ipv4Option::Nop, behind_kind))),
        _ => {}
    }
    // A kind without a length octet behind it is wrong at the kind; a length that is less than the
    // two octets it counts itself, or more than there are, at the length.
    let Some(&len) = behind_kind.first() else {
        return Err(0);
    };
    let Some((option, rest)) = options.split_at_checked(usize::from(len)) else {
        return Err(1);
    };
    let Some(data) = option.get(2..) else {
        return Err(1);
    };
    let option = match kind {
        kind::RECORD_ROUTE => Ipv4Option::RecordRoute(route(data)?),
        kind::LOOSE_SOURCE_ROUTE => Ipv4Option::LooseSourceRoute(route(data)?),
        kind::STRICT_SOURCE_ROUTE => Ipv4Option::StrictSourceRoute(route(data)?),
        kind::TIMESTAMP => timestamp(data)?,
        kind::ROUTER_ALERT => match *data {
            [high, low] => Ipv4Option::RouterAlert(u16::from_be_bytes([high, low])),
            _ => return Err(1),
        },
        _ => Ipv4Option::Unknown { kind, data },
    };
    Ok(Some((option, rest)))
}

/// The pointer counts from 1 at the option's kind, so the first entry is at 4. Room that is left
/// but does not hold an address is an error that RFC 791 names.
fn route(data: &[u8]) -> Result<RouteOption<'_>, usize> {
    let Some((&pointer, route)) = data.split_first() else {
        return Err(1);
    };
    let len = route.len() + 3;
    let at = usize::from(pointer);
    if at < 4 || (at <= len && at + 3 > len) {
        return Err(2);
    }
    Ok(RouteOption { pointer, route })
}

fn timestamp(data: &[u8]) -> Result<Ipv4Option<'_>, usize> {
    let Some((&[pointer, overflow_flag], entries)) = data.split_first_chunk::<2>() else {
        return Err(1);
    };
    let flag = overflow_flag & 0x0f;
    let entry_len = match flag {
        0 => 4,
        1 | 3 => 8,
        _ => return Err(3),
    };
    let len = entries.len() + 4;
    let at = usize::from(pointer);
    if at < 5 || (at <= len && at + entry_len - 1 > len) {
        return Err(2);
    }
    Ok(Ipv4Option::Timestamp {
        pointer,
        overflow: overflow_flag >> 4,
        flag,
        entries,
    })
}

/// Checks all options; fails with the offset, within `options`, of the octet that is wrong.
///
/// An option that may appear once (routes, timestamp) is wrong at the kind of its second appearance,
/// and so is a second source route of either sort (RFC 1122 section 3.2.1.8).
pub(super) fn check(options: &[u8]) -> Result<(), usize> {
    let mut rest = options;
    let (mut recorded, mut routed, mut stamped) = (false, false, false);
    loop {
        let at = options.len() - rest.len();
        let Some((option, behind)) = next(rest).map_err(|within| at + within)? else {
            return Ok(());
        };
        let mut any_number = false;
        let seen = match option {
            Ipv4Option::RecordRoute(_) => &mut recorded,
            Ipv4Option::LooseSourceRoute(_) | Ipv4Option::StrictSourceRoute(_) => &mut routed,
            Ipv4Option::Timestamp { .. } => &mut stamped,
            _ => &mut any_number,
        };
        if core::mem::replace(seen, true) {
            return Err(at);
        }
        rest = behind;
    }
}
