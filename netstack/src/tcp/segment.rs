//! Segments as the connection sees them: parsed and verified on the way in; not yet cut, addressed
//! or checksummed on the way out.
//!
//! * **Define.** A [`Segment`] is a received segment whose structure, options and checksum are right.
//! * **Enforce.** Its fields are private, and [`Segment::parse`] is the only constructor: it verifies
//!   the bytes and cuts the payload out of the same bytes, so header and payload always agree.
//! * **Consume.** The connection takes segments only in this form and verifies nothing again.
//!
//! A [`Segment`] may be a super-segment: up to 64 KiB that the device received as one, with the size
//! of the wire segments in `gso_size`. A [`SegmentOut`] may be longer than one wire segment, too; the
//! device or the stack cuts it at `mss`.

use core::net::IpAddr;
use core::ops::Range;

use super::seq::SeqNum;
use super::settings::{DEFAULT_MSS, DEFAULT_MSS_V6};
use packet::Payload;
use packet::frame::{Chunks, RxPacket};
use packet::tcp::{TcpFlags, TcpOptions, TcpParseError, TcpView};

/// The ports of a received segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ports {
    /// Port of the sender.
    pub src: u16,
    /// Port that the segment was sent to.
    pub dst: u16,
}

/// A received segment whose checksum was verified.
///
/// The urgent pointer is not kept: urgent data is data in the stream (RFC 9293 section 3.8.5).
#[derive(Clone, Debug)]
pub struct Segment {
    seq: SeqNum,
    ack: SeqNum,
    flags: TcpFlags,
    window: u16,
    ecn: u8,
    gso_size: u16,
    options: TcpOptions,
    payload: Payload,
}

impl Segment {
    /// Verifies the segment in `packet.data[range]`, which was sent from `src` to `dst`, and takes it
    /// with its payload. The payload shares the packet's memory.
    ///
    /// The checksum is computed unless `packet.checksum` says that the device vouches for it. `ecn`
    /// are the ECN bits of the IP header.
    ///
    /// # Errors
    /// The first defect found; the segment must be dropped.
    #[inline]
    pub fn parse(
        src: IpAddr,
        dst: IpAddr,
        packet: &RxPacket,
        range: Range<usize>,
        ecn: u8,
    ) -> Result<(Ports, Self), TcpParseError> {
        let bytes = packet.data.get(range.clone()).unwrap_or(&[]);
        let view = TcpView::parse(src, dst, bytes, packet.checksum)?;
        let payload_range = range.start + view.header_len()..range.end;
        let payload = if payload_range.is_empty() {
            // An empty slice would keep the slab from reuse.
            Payload::default()
        } else {
            packet.data.slice(payload_range)
        };
        let wire = view.wire();
        let ports = Ports {
            src: wire.src_port.get(),
            dst: wire.dst_port.get(),
        };
        let segment = Self {
            seq: SeqNum(wire.seq.get()),
            ack: SeqNum(wire.ack.get()),
            flags: wire.control(),
            window: wire.window.get(),
            ecn,
            gso_size: packet.gso_size,
            options: options_of(src, &view),
            payload,
        };
        Ok((ports, segment))
    }

    /// Returns the sequence number of the first byte of payload (of the SYN, if there is one).
    #[inline]
    pub fn seq(&self) -> SeqNum {
        self.seq
    }

    /// Returns the acknowledgment number; it means something only with the ACK flag.
    #[inline]
    pub fn ack(&self) -> SeqNum {
        self.ack
    }

    /// Returns true if all of `flags` are set.
    #[inline]
    pub fn has(&self, flags: TcpFlags) -> bool {
        self.flags.contains(flags)
    }

    /// Returns the control bits.
    #[inline]
    pub(super) fn flags(&self) -> TcpFlags {
        self.flags
    }

    /// Returns the window field as on the wire, not scaled.
    #[inline]
    pub fn window(&self) -> u16 {
        self.window
    }

    /// Returns the options. A SYN that has no MSS has the one that counts then.
    #[inline]
    pub fn options(&self) -> &TcpOptions {
        &self.options
    }

    /// Returns the ECN bits of the IP header.
    #[inline]
    pub fn ecn(&self) -> u8 {
        self.ecn
    }

    /// Returns the payload size of the segments that were coalesced into this one, in bytes; 0 if it
    /// was sent as it is.
    #[inline]
    pub fn gso_size(&self) -> u16 {
        self.gso_size
    }

    /// Returns the payload.
    #[inline]
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// Leaves what follows the SYN of the segment, which is known: payload and FIN.
    pub(super) fn skip_syn(&mut self) {
        self.seq += 1;
        self.flags.remove(TcpFlags::SYN);
    }

    /// Takes the payload out of the segment.
    #[inline]
    pub(super) fn take_payload(&mut self) -> Payload {
        core::mem::take(&mut self.payload)
    }

    /// Returns the length of the payload, in bytes.
    #[inline]
    pub(super) fn payload_len(&self) -> u32 {
        self.payload.len() as u32
    }

    /// Returns how many segments of the wire it consists of.
    #[inline]
    pub(super) fn wire_segments(&self) -> u32 {
        match self.gso_size {
            0 => 1,
            size => self.payload_len().div_ceil(u32::from(size)).max(1),
        }
    }

    /// Returns the length in sequence space: payload, SYN and FIN (SEG.LEN of RFC 9293 section 3.4).
    #[inline]
    pub(super) fn seq_len(&self) -> u32 {
        self.payload_len()
            .wrapping_add(u32::from(self.flags.contains(TcpFlags::SYN)))
            .wrapping_add(u32::from(self.flags.contains(TcpFlags::FIN)))
    }
}

/// Returns the options of a segment from `src`. A SYN without an MSS gets the default of its family, because nothing
/// behind this knows the family.
#[inline]
fn options_of(src: IpAddr, view: &TcpView<'_>) -> TcpOptions {
    let mut options = view.options();
    if view.wire().control().contains(TcpFlags::SYN) {
        options.mss.get_or_insert(match src {
            IpAddr::V4(_) => DEFAULT_MSS,
            IpAddr::V6(_) => DEFAULT_MSS_V6,
        });
    }
    options
}

/// The parts of a segment, for tests that say exactly what a peer sends.
#[cfg(test)]
#[derive(Clone, Debug, Default)]
pub(super) struct SegmentParts {
    pub(super) seq: SeqNum,
    pub(super) ack: SeqNum,
    pub(super) flags: TcpFlags,
    pub(super) window: u16,
    pub(super) ecn: u8,
    pub(super) gso_size: u16,
    pub(super) options: TcpOptions,
    pub(super) payload: Payload,
}

#[cfg(test)]
impl From<SegmentParts> for Segment {
    fn from(parts: SegmentParts) -> Self {
        let SegmentParts {
            seq,
            ack,
            flags,
            window,
            ecn,
            gso_size,
            options,
            payload,
        } = parts;
        Self {
            seq,
            ack,
            flags,
            window,
            ecn,
            gso_size,
            options,
            payload,
        }
    }
}

/// A segment to send.
#[derive(Clone, Debug, Default)]
pub struct SegmentOut {
    /// Sequence number.
    pub seq: SeqNum,
    /// Acknowledgment number.
    pub ack: SeqNum,
    /// Control bits. FIN and PSH belong to the last wire segment if it is cut.
    pub flags: TcpFlags,
    /// Window field as on the wire.
    pub window: u16,
    /// Options, repeated on every wire segment if it is cut.
    pub options: TcpOptions,
    /// Payload, sharing the send queue's memory.
    pub payload: Chunks,
    /// Payload bytes of each wire segment, if `payload` is longer than that.
    pub mss: u16,
    /// ECN bits of the IP header, of each wire segment.
    pub ecn: u8,
}

/// A reset that comes from no connection. It is the few numbers that make it one, since each segment that arrives may
/// be answered with it and hardly any is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reset {
    /// Sequence number.
    pub seq: SeqNum,
    /// Acknowledgment number.
    pub ack: SeqNum,
    /// Control bits.
    pub flags: TcpFlags,
}

impl From<Reset> for SegmentOut {
    fn from(Reset { seq, ack, flags }: Reset) -> Self {
        Self {
            seq,
            ack,
            flags,
            ..Self::default()
        }
    }
}

/// Returns the reset that answers a segment for which there is no connection (RFC 9293 section
/// 3.10.7.1); `None` if the segment is itself a reset.
pub fn reset_for(seg: &Segment) -> Option<Reset> {
    if seg.has(TcpFlags::RST) {
        return None;
    }
    Some(if seg.has(TcpFlags::ACK) {
        Reset {
            seq: seg.ack,
            ack: SeqNum(0),
            flags: TcpFlags::RST,
        }
    } else {
        Reset {
            seq: SeqNum(0),
            ack: seg.seq + seg.seq_len(),
            flags: TcpFlags::RST | TcpFlags::ACK,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};
    use packet::IpProto;
    use packet::checksum::RxChecksum;
    use packet::tcp::{TcpHeader, Timestamps};

    const SRC: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const DST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

    /// Returns a packet whose segment begins at byte 20 and ends 3 bytes before the packet's end.
    fn packet(payload: &[u8]) -> (RxPacket, Range<usize>) {
        let header = TcpHeader {
            src_port: 4_000,
            dst_port: 80,
            seq: 7,
            ack: 9,
            flags: TcpFlags::ACK | TcpFlags::URG,
            window: 1_234,
            urgent: 2,
            options: TcpOptions {
                timestamps: Some(Timestamps { val: 1, ecr: 2 }),
                ..TcpOptions::default()
            },
        };
        let mut segment = vec![0; header.len()];
        header.write(&mut segment);
        segment.extend_from_slice(payload);
        // The right checksum is the one for which the segment verifies.
        let right = (0..=u16::MAX).find(|sum| {
            segment[16..18].copy_from_slice(&sum.to_be_bytes());
            packet::checksum::verify_transport(SRC, DST, IpProto::TCP, &segment)
        });
        assert!(right.is_some());
        let range = 20..20 + segment.len();
        let bytes = [&[0; 20][..], &segment, b"pad"].concat();
        let packet = RxPacket {
            data: Payload::from(bytes::Bytes::from(bytes)),
            gso_size: 2,
            ..RxPacket::default()
        };
        (packet, range)
    }

    #[test]
    fn parse_cuts_the_payload_where_the_header_ends() {
        let (packet, range) = packet(b"hello");
        let (ports, seg) = Segment::parse(SRC, DST, &packet, range, 3).expect("valid");
        assert_eq!((ports.src, ports.dst), (4_000, 80));
        assert_eq!((seg.seq(), seg.ack()), (SeqNum(7), SeqNum(9)));
        assert_eq!((seg.window(), seg.ecn(), seg.gso_size()), (1_234, 3, 2));
        assert!(seg.has(TcpFlags::ACK | TcpFlags::URG) && !seg.has(TcpFlags::SYN));
        assert_eq!(
            seg.options().timestamps,
            Some(Timestamps { val: 1, ecr: 2 })
        );
        // Urgent bytes stay where they are in the stream.
        assert_eq!(&seg.payload()[..], b"hello");
        assert_eq!(seg.seq_len(), 5);
    }

    #[test]
    fn parse_refuses_what_was_not_verified() {
        let (packet, range) = packet(b"hello");
        let parse = |packet: &RxPacket, range| {
            Segment::parse(SRC, DST, packet, range, 0).map(|(_, seg)| seg.seq_len())
        };
        // The checksum covers the addresses and the length.
        let other = IpAddr::V6(Ipv6Addr::LOCALHOST);
        let wrong = Segment::parse(other, DST, &packet, range.clone(), 0);
        assert_eq!(wrong.map(|_| ()), Err(TcpParseError::Checksum));
        let short = range.start..range.end - 1;
        assert_eq!(parse(&packet, short.clone()), Err(TcpParseError::Checksum));
        // Unless the device vouches for it.
        let vouched = RxPacket {
            checksum: RxChecksum::Vouched,
            ..packet.clone()
        };
        assert_eq!(parse(&vouched, short), Ok(4));
        let beyond = range.start..packet.data.len() + 1;
        assert_eq!(parse(&packet, beyond), Err(TcpParseError::TooShort));
        assert_eq!(
            parse(&packet, range.start..range.start + 24),
            Err(TcpParseError::DataOffset)
        );
        assert_eq!(parse(&packet, range), Ok(5));
    }

    #[test]
    fn rfc9293_3_7_1_a_syn_without_an_mss_has_that_of_its_family() {
        let v6 = [IpAddr::V6(Ipv6Addr::LOCALHOST); 2];
        for ([src, dst], default) in [([SRC, DST], 536), (v6, 1_220)] {
            let mss = |flags, mss| {
                let header = TcpHeader {
                    flags,
                    options: TcpOptions {
                        mss,
                        ..TcpOptions::default()
                    },
                    ..TcpHeader::default()
                };
                let mut segment = vec![0; header.len()];
                header.write(&mut segment);
                let packet = RxPacket {
                    data: Payload::from(bytes::Bytes::from(segment)),
                    checksum: RxChecksum::Vouched,
                    ..RxPacket::default()
                };
                let range = 0..header.len();
                let (_, segment) = Segment::parse(src, dst, &packet, range, 0).expect("valid");
                segment.options().mss
            };
            assert_eq!(mss(TcpFlags::SYN, None), Some(default));
            assert_eq!(mss(TcpFlags::SYN | TcpFlags::ACK, None), Some(default));
            assert_eq!(mss(TcpFlags::SYN, Some(900)), Some(900));
            assert_eq!(mss(TcpFlags::ACK, None), None);
        }
    }

    #[test]
    fn a_reset_is_acceptable_to_who_asked() {
        let syn = Segment::from(SegmentParts {
            seq: SeqNum(u32::MAX),
            flags: TcpFlags::SYN,
            ..SegmentParts::default()
        });
        let rst = reset_for(&syn).expect("reset");
        assert_eq!(rst.flags, TcpFlags::RST | TcpFlags::ACK);
        assert_eq!((rst.seq, rst.ack), (SeqNum(0), SeqNum(0)));

        let ack = Segment::from(SegmentParts {
            seq: SeqNum(7),
            ack: SeqNum(99),
            flags: TcpFlags::ACK,
            ..SegmentParts::default()
        });
        let rst = reset_for(&ack).expect("reset");
        assert_eq!((rst.flags, rst.seq), (TcpFlags::RST, SeqNum(99)));

        let rst = Segment::from(SegmentParts {
            flags: TcpFlags::RST,
            ..SegmentParts::default()
        });
        assert!(reset_for(&rst).is_none());
    }
}
