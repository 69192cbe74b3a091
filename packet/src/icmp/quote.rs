//! What an ICMP error quotes: the beginning of the packet that caused it, and what may follow that.

use super::{Extensions, HEADER_LEN};
use crate::ip::{IpVersion, Outline};

/// How much of a packet of `original_len` octets an error message quotes: as much as fits into a
/// packet that every node can receive, 576 octets (RFC 1812 section 4.3.2.3) or 1280 (RFC 4443
/// section 2.4 c), without IP options.
pub const fn quote_len(version: IpVersion, original_len: usize) -> usize {
    let room = version.min_mtu() - version.fixed_header_len() - HEADER_LEN;
    if original_len < room {
        original_len
    } else {
        room
    }
}

/// What follows the header of an error message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quote<'a> {
    /// The beginning of the packet that caused the error. With extensions behind it, it is filled up
    /// with zeros to 128 octets at least.
    pub original: &'a [u8],
    /// The extension structure behind it, if there is a valid one.
    pub extensions: Option<Extensions<'a>>,
    /// Whether `original` may be filled up.
    filled_up: bool,
}

/// Least length of the quoted part when extensions follow it (RFC 4884 section 3).
const MIN_WITH_EXTENSIONS: usize = 128;

impl<'a> Quote<'a> {
    /// `quote_len` is what the message's length field says, in octets; 0 for none.
    pub(super) fn split(body: &'a [u8], quote_len: usize) -> Self {
        // A length that makes no sense is no length: the field was unused before RFC 4884.
        if quote_len >= MIN_WITH_EXTENSIONS
            && let Some((original, behind)) = body.split_at_checked(quote_len)
        {
            return Self {
                original,
                extensions: Extensions::parse(behind),
                filled_up: true,
            };
        }
        Self {
            original: body,
            extensions: None,
            filled_up: false,
        }
    }

    /// The quoted packet's addresses and the beginning of its upper layer; `None` if the quote is
    /// cut within its IP headers or is no IP packet. It was sent by somebody else: nothing is verified.
    pub fn packet(&self) -> Option<Outline<'a>> {
        if self.filled_up {
            Outline::read(self.original)
        } else {
            Outline::read_beginning(self.original)
        }
    }
}
