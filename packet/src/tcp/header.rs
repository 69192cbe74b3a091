//! The header as values: what is read from a segment, and what is written to one.

use zerocopy::IntoBytes;

use super::options::TcpOptions;
use super::view::WireHeader;
use super::{MAX_HEADER_LEN, MIN_HEADER_LEN};

bitflags::bitflags! {
    /// Control bits (RFC 9293 section 3.1, RFC 3168), as they are in the header's fourteenth octet.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
    pub struct TcpFlags: u8 {
        /// No more data from the sender.
        const FIN = 0x01;
        /// Synchronise sequence numbers.
        const SYN = 0x02;
        /// Reset the connection.
        const RST = 0x04;
        /// Hand the data over now.
        const PSH = 0x08;
        /// The acknowledgement field counts.
        const ACK = 0x10;
        /// The urgent pointer counts.
        const URG = 0x20;
        /// Congestion was experienced (echo).
        const ECE = 0x40;
        /// Congestion window reduced.
        const CWR = 0x80;
    }
}

/// A TCP header's fields. Numbers are in host order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TcpHeader {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number of the first octet of payload, or of the SYN.
    pub seq: u32,
    /// Next sequence number expected; counts only with [`TcpFlags::ACK`].
    pub ack: u32,
    /// Control bits.
    pub flags: TcpFlags,
    /// Window, as it is in the header: not scaled.
    pub window: u16,
    /// Urgent pointer; counts only with [`TcpFlags::URG`].
    pub urgent: u16,
    /// Options in use.
    pub options: TcpOptions,
}

impl TcpHeader {
    /// Length with options and padding, in octets: 20 to 60, a multiple of 4.
    #[inline]
    #[allow(clippy::len_without_is_empty)] // A header is never empty.
    pub fn len(&self) -> usize {
        MIN_HEADER_LEN + self.options.encoded_len()
    }

    /// Writes [`len`](Self::len) octets to the front of `out`, with a checksum field of zero and
    /// padding of no-operation options. Answers how many octets were written: 0 if `out` is too
    /// short, and then it is as it was.
    pub fn write(&self, out: &mut [u8]) -> usize {
        let len = self.len();
        debug_assert!(len <= MAX_HEADER_LEN && len.is_multiple_of(4));
        let Some(out) = out.get_mut(..len) else {
            return 0;
        };
        let fixed = WireHeader {
            src_port: self.src_port.into(),
            dst_port: self.dst_port.into(),
            seq: self.seq.into(),
            ack: self.ack.into(),
            data_offset: (len as u8 / 4) << 4,
            flags: self.flags.bits(),
            window: self.window.into(),
            checksum: 0.into(),
            urgent: self.urgent.into(),
        };
        let Some((head, options)) = out.split_at_mut_checked(MIN_HEADER_LEN) else {
            return 0;
        };
        head.copy_from_slice(fixed.as_bytes());
        self.options.write(options);
        len
    }
}
