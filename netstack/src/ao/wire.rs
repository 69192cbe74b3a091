//! The option in a segment, and the bytes that a code covers (RFC 5925 sections 2.2 and 5.1).

use std::net::IpAddr;
use std::ops::Range;

use packet::IpProto;
use packet::tcp::{MAX_HEADER_LEN, MIN_HEADER_LEN, TcpOption, TcpOptionIter};

use super::algorithm::{Code, TrafficKey};

/// Length of the option without its code, in bytes.
const HEAD_LEN: usize = 4;
/// Place of the checksum in a TCP header.
const CHECKSUM: Range<usize> = 16..18;

/// The option of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The place of the option in the header.
    pub(super) at: Range<usize>,
    /// KeyID.
    pub(super) key_id: u8,
    /// RNextKeyID.
    pub(super) next_key_id: u8,
}

impl Found {
    /// Returns the place of the code in the header.
    pub(super) fn code(&self) -> Range<usize> {
        self.at.start + HEAD_LEN..self.at.end
    }
}

/// The options of a segment contradict RFC 5925 section 2.2: two of the kind, or one beside that of MD5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Contradiction;

/// Finds the option in a header that was parsed before.
pub(super) fn find(header: &[u8]) -> Result<Option<Found>, Contradiction> {
    let Some(options) = header.get(MIN_HEADER_LEN..) else {
        return Ok(None);
    };
    let mut found = None;
    let mut has_md5 = false;
    let mut iter = TcpOptionIter::new(options);
    while let Ok(Some(option)) = iter.try_next() {
        match option {
            TcpOption::Authentication {
                key_id,
                next_key_id,
                code,
            } => {
                let end = header.len() - iter.rest().len();
                let at = end - HEAD_LEN - code.len()..end;
                let option = Found {
                    at,
                    key_id,
                    next_key_id,
                };
                if found.replace(option).is_some() {
                    return Err(Contradiction);
                }
            }
            TcpOption::Md5(_) => has_md5 = true,
            _ => {}
        }
    }
    if has_md5 && found.is_some() {
        return Err(Contradiction);
    }
    Ok(found)
}

/// A segment as the code covers it.
pub(super) struct Covered<'a> {
    /// Sequence number extension.
    pub(super) extension: u32,
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    /// The TCP header, its checksum and code whatever they are.
    pub(super) header: &'a [u8],
    /// The option in it.
    pub(super) option: &'a Found,
    /// The other options are covered, too.
    pub(super) with_options: bool,
}

impl Covered<'_> {
    /// Computes the code with `payload`, `payload_len` bytes in pieces, behind the header.
    pub(super) fn code<'p>(
        &self,
        key: &TrafficKey,
        payload: impl Iterator<Item = &'p [u8]>,
        payload_len: usize,
    ) -> Code {
        let mut header = [0; MAX_HEADER_LEN];
        for (byte, from) in header.iter_mut().zip(self.header) {
            *byte = *from;
        }
        let zeroed = [CHECKSUM, self.option.code()];
        for place in zeroed {
            header.get_mut(place).unwrap_or(&mut []).fill(0);
        }
        let part = |place: Range<usize>| header.get(place).unwrap_or(&[]);
        let len = (self.header.len() + payload_len) as u32;
        key.code(|update| {
            update(&self.extension.to_be_bytes());
            pseudo_header(self.src, self.dst, len, update);
            if self.with_options {
                update(part(0..self.header.len()));
            } else {
                update(part(0..MIN_HEADER_LEN));
                update(part(self.option.at.clone()));
            }
            payload.for_each(update);
        })
    }
}

/// Passes on the pseudo-header of a segment of `len` bytes (RFC 9293 section 3.1, RFC 8200 section 8.1).
fn pseudo_header(src: IpAddr, dst: IpAddr, len: u32, update: &mut dyn FnMut(&[u8])) {
    let proto = IpProto::TCP.0;
    addresses(src, dst, update);
    match src {
        IpAddr::V4(_) => {
            // The length of an IPv4 segment has 16 bits.
            let [_, _, high, low] = len.to_be_bytes();
            update(&[0, proto, high, low]);
        }
        IpAddr::V6(_) => {
            update(&len.to_be_bytes());
            update(&[0, 0, 0, proto]);
        }
    }
}

/// Passes on the bytes of two addresses.
fn addresses(src: IpAddr, dst: IpAddr, update: &mut dyn FnMut(&[u8])) {
    for address in [src, dst] {
        match address {
            IpAddr::V4(v4) => update(&v4.octets()),
            IpAddr::V6(v6) => update(&v6.octets()),
        }
    }
}

/// Returns the context of the key derivation: both ends and their initial sequence numbers (RFC 5925 section 5.2).
pub(super) fn context(
    src: std::net::SocketAddr,
    dst: std::net::SocketAddr,
    src_isn: u32,
    dst_isn: u32,
) -> Vec<u8> {
    let mut context = Vec::with_capacity(44);
    addresses(src.ip(), dst.ip(), &mut |part| {
        context.extend_from_slice(part)
    });
    for port in [src.port(), dst.port()] {
        context.extend_from_slice(&port.to_be_bytes());
    }
    for isn in [src_isn, dst_isn] {
        context.extend_from_slice(&isn.to_be_bytes());
    }
    context
}
