//! A TCP header's fields as values.

use zerocopy::IntoBytes;

use super::options::TcpOptions;
use super::view::WireHeader;
use super::{MAX_HEADER_LEN, MIN_HEADER_LEN};

bitflags::bitflags! {
    /// Control bits (RFC 9293 section 3.1, RFC 3168, RFC 9768): those of the header's fourteenth byte, and the
    /// last bit of the thirteenth.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
    pub struct TcpFlags: u16 {
        /// The sender has no more data.
        const FIN = 0x01;
        /// Synchronise sequence numbers.
        const SYN = 0x02;
        /// Reset the connection.
        const RST = 0x04;
        /// Deliver the data to the application now.
        const PSH = 0x08;
        /// The acknowledgement field is valid.
        const ACK = 0x10;
        /// The urgent pointer is valid.
        const URG = 0x20;
        /// ECN echo: the peer's packets experienced congestion.
        const ECE = 0x40;
        /// The congestion window was reduced.
        const CWR = 0x80;
        /// Accurate ECN; with CWR and ECE a field of three bits (RFC 9768 section 3.2.2).
        const AE = 0x100;
    }
}

impl TcpFlags {
    /// Returns the part of the thirteenth byte and the fourteenth byte of a header.
    #[inline]
    pub(crate) fn to_wire(self) -> (u8, u8) {
        let [high, low] = self.bits().to_be_bytes();
        (high & 1, low)
    }
}

/// A TCP header's fields, in host order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TcpHeader {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number of the first payload byte, or of the SYN.
    pub seq: u32,
    /// Next sequence number expected; valid only with [`TcpFlags::ACK`].
    pub ack: u32,
    /// Control bits.
    pub flags: TcpFlags,
    /// Window field, without the window scale applied.
    pub window: u16,
    /// Urgent pointer; valid only with [`TcpFlags::URG`].
    pub urgent: u16,
    /// Options.
    pub options: TcpOptions,
}

impl TcpHeader {
    /// Returns the length of the header with options and padding, in bytes: 20 to 60, a multiple of 4.
    #[inline]
    #[allow(clippy::len_without_is_empty)] // A header is never empty.
    pub fn len(&self) -> usize {
        MIN_HEADER_LEN + self.options.encoded_len()
    }

    /// Writes the header to the front of `out`, with a zero checksum and padded with no-operation
    /// options. Returns the number of bytes written: [`len`](Self::len), or 0 if `out` is too short,
    /// which leaves it unchanged.
    pub fn write(&self, out: &mut [u8]) -> usize {
        let len = self.len();
        debug_assert!(len <= MAX_HEADER_LEN && len.is_multiple_of(4));
        let Some(out) = out.get_mut(..len) else {
            return 0;
        };
        let (high, low) = self.flags.to_wire();
        let fixed = WireHeader {
            src_port: self.src_port.into(),
            dst_port: self.dst_port.into(),
            seq: self.seq.into(),
            ack: self.ack.into(),
            data_offset: (len as u8 / 4) << 4 | high,
            flags: low,
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
