//! The extension structure that may follow the packet quoted by an ICMP error (RFC 4884 sections 7
//! and 8).

use crate::checksum;

/// Length of the structure's own header, and of each object's, in bytes.
const HEADER_LEN: usize = 4;

/// The version that RFC 4884 defines.
const VERSION: u8 = 2;

/// An extension structure with at least one object, whose version, checksum and lengths are right.
///
/// ```
/// use packet::icmp::Extensions;
///
/// // Version 2 without a checksum, then one MPLS label stack entry (RFC 4950).
/// let bytes = [0x20, 0, 0, 0, 0, 8, 1, 1, 0, 1, 0x21, 0x40];
/// let object = Extensions::parse(&bytes).unwrap().objects().next().unwrap();
/// assert_eq!((object.class, object.kind, object.payload), (1, 1, &bytes[8..]));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extensions<'a> {
    bytes: &'a [u8],
}

/// One object of an extension structure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExtensionObject<'a> {
    /// Class number: 1 for MPLS label stacks (RFC 4950), 2 for interface information (RFC 5837).
    pub class: u8,
    /// Type within the class, called C-Type by RFC 4884.
    pub kind: u8,
    /// The bytes after the object's header of four bytes.
    pub payload: &'a [u8],
}

impl<'a> Extensions<'a> {
    /// Parses `bytes`, a whole structure with its header.
    ///
    /// Returns `None` for a structure that must be ignored (RFC 4884 section 9): its version is not 2,
    /// its checksum is present and wrong, its objects do not fill it exactly, or it has none.
    ///
    /// An error message without a length field has no extensions. A program that wants the extensions
    /// of senders older than RFC 4884 may parse the bytes after the first 128 bytes of the quote
    /// (section 5.5).
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (&[version, _, sum_high, sum_low], objects) = bytes.split_first_chunk()?;
        if version >> 4 != VERSION || objects.is_empty() {
            return None;
        }
        if [sum_high, sum_low] != [0, 0] && !checksum::verify(bytes) {
            return None;
        }
        let mut rest = objects;
        while !rest.is_empty() {
            (_, rest) = split_object(rest)?;
        }
        Some(Self { bytes })
    }

    /// Returns the structure with its header in wire format.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Iterates over the objects, in order.
    pub fn objects(&self) -> impl Iterator<Item = ExtensionObject<'a>> + use<'a> {
        let mut rest = self.bytes.get(HEADER_LEN..).unwrap_or(&[]);
        core::iter::from_fn(move || {
            let (object, behind) = split_object(rest)?;
            rest = behind;
            Some(object)
        })
    }
}

/// Returns the first object and the bytes after it. An object's length includes its header.
fn split_object(bytes: &[u8]) -> Option<(ExtensionObject<'_>, &[u8])> {
    let (&[len_high, len_low, class, kind], _) = bytes.split_first_chunk()?;
    let len = usize::from(u16::from_be_bytes([len_high, len_low]));
    let (object, rest) = bytes.split_at_checked(len)?;
    let payload = object.get(HEADER_LEN..)?;
    let object = ExtensionObject {
        class,
        kind,
        payload,
    };
    Some((object, rest))
}
