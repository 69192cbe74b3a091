//! IPv4 options (RFC 791 section 3.1, RFC 2113, RFC 7126).

use core::net::Ipv4Addr;

/// Option numbers: copied flag, class and number in one byte.
mod kind {
    pub(super) const END: u8 = 0;
    pub(super) const NOP: u8 = 1;
    pub(super) const RECORD_ROUTE: u8 = 7;
    pub(super) const TIMESTAMP: u8 = 68;
    pub(super) const LOOSE_SOURCE_ROUTE: u8 = 131;
    pub(super) const STRICT_SOURCE_ROUTE: u8 = 137;
    pub(super) const ROUTER_ALERT: u8 = 148;
}

/// An IPv4 option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Ipv4Option<'a> {
    /// Padding of one byte (kind 1).
    Nop,
    /// Record route: routers write their addresses into it (kind 7).
    RecordRoute(RouteOption<'a>),
    /// Loose source route: the packet visits these addresses, and others if needed (kind 131).
    LooseSourceRoute(RouteOption<'a>),
    /// Strict source route: the packet visits only these addresses (kind 137).
    StrictSourceRoute(RouteOption<'a>),
    /// Timestamp: nodes write the time into it (kind 68).
    Timestamp {
        /// Octet of the option, counted from 1, at which the next entry will be written.
        pointer: u8,
        /// Number of nodes that found no room.
        overflow: u8,
        /// 0: timestamps only; 1: addresses and timestamps; 3: timestamps of the given addresses only.
        flag: u8,
        /// The entries, of 4 or 8 bytes each.
        entries: &'a [u8],
    },
    /// Router alert: routers inspect the packet (RFC 2113, kind 148).
    RouterAlert(u16),
    /// Any other option.
    Unknown {
        /// The option's first byte.
        kind: u8,
        /// The bytes after the option's length field.
        data: &'a [u8],
    },
}

/// The contents of the three options that hold a list of addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouteOption<'a> {
    /// Octet of the option, counted from 1, at which the next address is: 4 for the first one.
    pub pointer: u8,
    /// The addresses, 4 bytes each.
    pub route: &'a [u8],
}

impl RouteOption<'_> {
    /// Returns `true` if all addresses have been used. The packet has then reached the end of a source
    /// route.
    pub fn is_complete(&self) -> bool {
        usize::from(self.pointer) > self.route.len() + 3
    }

    /// Iterates over the addresses, in order.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        let (chunks, _) = self.route.as_chunks::<4>();
        chunks.iter().map(|address| Ipv4Addr::from(*address))
    }
}

/// An iterator over the options of an IPv4 header.
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
    /// Creates an iterator over `options`, the bytes between the fixed header and the payload. It ends
    /// at the first malformed option.
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

/// Returns the first option of `options` and the bytes after it, `None` at the end, or the offset of the
/// wrong byte.
fn next(options: &[u8]) -> Result<Option<(Ipv4Option<'_>, &[u8])>, usize> {
    let Some((&kind, behind_kind)) = options.split_first() else {
        return Ok(None);
    };
    match kind {
        kind::END => return Ok(None),
        kind::NOP => return Ok(Some((Ipv4Option::Nop, behind_kind))),
        _ => {}
    }
    // A kind without a length is wrong at the kind. A length below 2, which it counts itself, or beyond
    // the end is wrong at the length.
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

/// Parses the data of a route option. The pointer counts from 1 at the option's kind, so the first entry
/// is at 4. RFC 791 makes it an error if the remaining room does not hold a whole address.
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

/// Checks all options. An error is the offset of the wrong byte within `options`.
///
/// If an option that may appear once (route, timestamp) appears twice, or if there are two source routes
/// of either kind (RFC 1122 section 3.2.1.8), the second one is wrong at its kind.
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
