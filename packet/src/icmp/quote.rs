//! The quote in an ICMP error: the beginning of the packet that caused it, and its extensions.

use super::{Extensions, HEADER_LEN};
use crate::ip::{IpVersion, Outline};

/// Returns how many bytes an error message quotes of a packet of `original_len` bytes: as many as fit
/// into a packet without IP options that every node can receive, which is 576 bytes long (IPv4,
/// RFC 1812 section 4.3.2.3) or 1280 (IPv6, RFC 4443 section 2.4 c).
pub const fn quote_len(version: IpVersion, original_len: usize) -> usize {
    let room = version.min_mtu() - version.fixed_header_len() - HEADER_LEN;
    if original_len < room {
        original_len
    } else {
        room
    }
}

/// The part of an error message after its header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quote<'a> {
    /// The beginning of the packet that caused the error. If extensions follow, it is padded with zeros
    /// to at least 128 bytes.
    pub original: &'a [u8],
    /// The extension structure after it, if there is a valid one.
    pub extensions: Option<Extensions<'a>>,
    /// `true` if `original` may be padded.
    padded: bool,
}

/// Smallest length of the quoted packet if extensions follow it, in bytes (RFC 4884 section 3).
const MIN_WITH_EXTENSIONS: usize = 128;

impl<'a> Quote<'a> {
    /// Splits the body of an error message. `quote_len` is the value of the message's length field in
    /// bytes, or 0 if it has none.
    pub(super) fn split(body: &'a [u8], quote_len: usize) -> Self {
        // An impossible length is ignored: the field was unused before RFC 4884.
        if quote_len >= MIN_WITH_EXTENSIONS
            && let Some((original, behind)) = body.split_at_checked(quote_len)
        {
            return Self {
                original,
                extensions: Extensions::parse(behind),
                padded: true,
            };
        }
        Self {
            original: body,
            extensions: None,
            padded: false,
        }
    }

    /// Reads the addresses and the beginning of the upper layer of the quoted packet. Returns `None` if
    /// the quote ends within the IPv4 header or fixed IPv6 header, or is not an IP packet. The packet
    /// is not verified.
    pub fn packet(&self) -> Option<Outline<'a>> {
        if self.padded {
            Outline::read(self.original)
        } else {
            Outline::read_beginning(self.original)
        }
    }
}
