//! Cuts TCP super-segments into packets, for devices whose other side takes no larger ones.
//!
//! The headers of each packet are those of the super-segment with what changes from one to the next: lengths,
//! identification, sequence number, flags, checksums. Payload is copied once, and summed on the way.
//! Sections: RFC 9293 section 3.7, RFC 3168 section 6.1.2 (CWR on the first packet only), RFC 6864.

use packet::checksum::{self, Checksum};
use packet::frame::{SegmentKind, TxPacket};
use packet::ip::Outline;
use packet::tcp::TcpFlags;
use packet::{IpProto, Payload};

use super::channel::buffer::Lender;
use super::channel::out_memory::OutMemory;
use super::channel::run::{RUN_BYTES_MAX, RUN_PACKETS_MAX, Run};

/// Length of a TCP header without options, in bytes.
const TCP_LEN: usize = 20;
/// Offsets in a TCP header, in bytes.
const SEQ_AT: usize = 4;
const FLAGS_AT: usize = 13;
const CHECKSUM_AT: usize = 16;

/// The packet does not say how to cut it, or contradicts itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NotCuttable;

/// A super-segment that is being cut into packets.
pub(super) struct Cut<'a> {
    template: Template<'a>,
    source: Source<'a>,
    /// Bytes of payload in each packet but the last.
    size: usize,
    /// Bytes of payload in all.
    total: usize,
    /// Packets in all, and those that were written.
    count: usize,
    next: usize,
}

impl<'a> Cut<'a> {
    /// Begins to cut a super-segment.
    pub(super) fn new(packet: &'a TxPacket) -> Result<Self, NotCuttable> {
        let segment = packet.offload.segment.as_ref().ok_or(NotCuttable)?;
        let ipv6 = match segment.kind {
            SegmentKind::Tcp4 => false,
            SegmentKind::Tcp6 => true,
            SegmentKind::Udp => return Err(NotCuttable),
        };
        let head = packet.head.as_slice();
        let size = usize::from(segment.size);
        let tcp_at = packet.offload.checksum.ok_or(NotCuttable)?.start.into();
        let is_whole =
            usize::from(segment.header_len) == head.len() && head.len() >= tcp_at + TCP_LEN;
        if size == 0 || !is_whole || tcp_at < if ipv6 { 40 } else { 20 } {
            return Err(NotCuttable);
        }
        let outline = Outline::read(head).ok_or(NotCuttable)?;
        let pseudo = checksum::pseudo_header(outline.src, outline.dst, IpProto::TCP, 0);
        let total = packet.payload.len_bytes();
        Ok(Self {
            template: Template {
                head,
                tcp_at,
                ipv6,
                pseudo,
            },
            source: Source::new(packet.payload.as_slice()),
            size,
            total,
            count: total.div_ceil(size).max(1),
            next: 0,
        })
    }

    /// Returns the length of each packet but the last, in bytes.
    pub(super) fn packet_len(&self) -> usize {
        self.template.head.len() + self.size.min(self.total)
    }

    /// Returns the number of packets that are left.
    pub(super) fn left(&self) -> usize {
        self.count - self.next
    }

    /// Cuts the next packets, as many as fit a run. Returns `None` if none is left.
    pub(super) fn next_run(
        &mut self,
        memory: &mut OutMemory,
        lender: &Lender,
    ) -> Option<Result<Run, NotCuttable>> {
        let packet_len = self.packet_len();
        let most = (RUN_BYTES_MAX / packet_len).clamp(1, RUN_PACKETS_MAX);
        let packets = self.left().min(most);
        if packets == 0 {
            return None;
        }
        let payload = (packets * self.size).min(self.total - self.next * self.size);
        let len = packets * self.template.head.len() + payload;
        let written = memory.fill(len, lender, |out| self.write(packets, out));
        Some(written.map(|bytes| Run::new(bytes, packet_len)))
    }

    /// Writes the next packets, one behind the other.
    fn write(&mut self, packets: usize, mut out: &mut [u8]) -> Result<(), NotCuttable> {
        for _ in 0..packets {
            let offset = self.next * self.size;
            let len = self.size.min(self.total - offset);
            let (packet, behind) = out
                .split_at_mut_checked(self.template.head.len() + len)
                .ok_or(NotCuttable)?;
            let (header, payload) = packet.split_at_mut(self.template.head.len());
            let sum = self.source.copy_and_sum(payload);
            let place = Place {
                index: self.next,
                offset,
                is_last: self.next + 1 == self.count,
            };
            let written = self.template.write(place, len, sum, header);
            written.ok_or(NotCuttable)?;
            self.next += 1;
            out = behind;
        }
        Ok(())
    }
}

/// The place of a packet in its super-segment.
#[derive(Clone, Copy)]
struct Place {
    index: usize,
    /// Bytes of payload in front of it.
    offset: usize,
    is_last: bool,
}

/// The headers of a super-segment.
struct Template<'a> {
    head: &'a [u8],
    tcp_at: usize,
    ipv6: bool,
    /// The sum of the pseudo-header, without the length.
    pseudo: Checksum,
}

impl Template<'_> {
    /// Writes the headers of the packet with `len` bytes of payload, whose sum is `payload`.
    fn write(&self, place: Place, len: usize, payload: Checksum, out: &mut [u8]) -> Option<()> {
        out.copy_from_slice(self.head);
        let (ip, tcp) = out.split_at_mut(self.tcp_at);
        let tcp_len = tcp.len() + len;

        let seq = tcp.get_mut(SEQ_AT..SEQ_AT + 4)?;
        let first = u32::from_be_bytes(seq.try_into().ok()?);
        seq.copy_from_slice(&first.wrapping_add(place.offset as u32).to_be_bytes());
        let flags = tcp.get_mut(FLAGS_AT)?;
        if !place.is_last {
            *flags &= !((TcpFlags::PSH | TcpFlags::FIN).bits() as u8);
        }
        if place.index > 0 {
            *flags &= !(TcpFlags::CWR.bits() as u8);
        }
        let field = tcp.get_mut(CHECKSUM_AT..CHECKSUM_AT + 2)?;
        field.copy_from_slice(&[0, 0]);
        let mut sum = self.pseudo;
        // At most 65,535: a super-segment is no longer.
        sum.add_u32(tcp_len as u32);
        sum.add_bytes(tcp);
        sum.append(payload);
        let sum = sum.finish().to_be_bytes();
        tcp.get_mut(CHECKSUM_AT..CHECKSUM_AT + 2)?
            .copy_from_slice(&sum);

        if self.ipv6 {
            let len = (self.tcp_at - 40 + tcp_len) as u16;
            ip.get_mut(4..6)?.copy_from_slice(&len.to_be_bytes());
        } else {
            let len = (self.tcp_at + tcp_len) as u16;
            ip.get_mut(2..4)?.copy_from_slice(&len.to_be_bytes());
            let id = ip.get_mut(4..6)?;
            let first = u16::from_be_bytes([id[0], id[1]]);
            id.copy_from_slice(&first.wrapping_add(place.index as u16).to_be_bytes());
            ip.get_mut(10..12)?.copy_from_slice(&[0, 0]);
            let sum = checksum::of(ip).to_be_bytes();
            ip.get_mut(10..12)?.copy_from_slice(&sum);
        }
        Some(())
    }
}

/// The payload of a super-segment, from front to back.
struct Source<'a> {
    pieces: core::slice::Iter<'a, Payload>,
    rest: &'a [u8],
}

impl<'a> Source<'a> {
    fn new(pieces: &'a [Payload]) -> Self {
        Self {
            pieces: pieces.iter(),
            rest: &[],
        }
    }

    /// Fills `to`, as far as the payload goes, and returns the sum of the bytes.
    fn copy_and_sum(&mut self, mut to: &mut [u8]) -> Checksum {
        let mut sum = Checksum::new();
        while !to.is_empty() {
            if self.rest.is_empty() {
                match self.pieces.next() {
                    Some(piece) => self.rest = piece,
                    None => break,
                }
            }
            let mut piece = Checksum::new();
            let copied = piece.copy_and_add(self.rest, to);
            sum.append(piece);
            self.rest = self.rest.get(copied..).unwrap_or(&[]);
            to = to.get_mut(copied..).unwrap_or(&mut []);
        }
        sum
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::IpAddr;

    use bytes::Bytes;
    use packet::RxChecksum;
    use packet::build::{Head, IpFields, prepend_ip};
    use packet::frame::{ChecksumOffload, Chunks, SegmentOffload, TxOffload};
    use packet::ip::{IpPacket, Ipv4, Ipv6};
    use packet::tcp::TcpView;

    use super::*;

    const HEADER_LEN: usize = 32;

    pub(in crate::device) fn super_segment(
        ipv6: bool,
        pieces: &[usize],
        size: u16,
        flags: TcpFlags,
    ) -> TxPacket {
        let (src, dst): (IpAddr, IpAddr) = if ipv6 {
            ([1; 16].into(), [2; 16].into())
        } else {
            ([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
        };
        let mut tcp = [0_u8; HEADER_LEN];
        tcp[..4].copy_from_slice(&[0x10, 0x01, 0x20, 0x02]);
        tcp[4..8].copy_from_slice(&0xffff_fff0_u32.to_be_bytes());
        tcp[12] = (HEADER_LEN as u8 / 4) << 4;
        tcp[13] = flags.bits() as u8;
        // Two NOPs and a timestamp.
        tcp[20..24].copy_from_slice(&[1, 1, 8, 10]);
        let mut payload = Chunks::new();
        let mut next = 0_u8;
        for len in pieces {
            let bytes: Vec<u8> = (0..*len)
                .map(|_| {
                    next = next.wrapping_add(7);
                    next
                })
                .collect();
            payload
                .push(Payload::from(Bytes::from(bytes)))
                .expect("room");
        }
        let mut head = Head::new();
        head.prepend(HEADER_LEN)
            .expect("room")
            .copy_from_slice(&tcp);
        let fields = IpFields {
            src,
            dst,
            proto: IpProto::TCP,
            ttl: 64,
            traffic_class: 0,
            ident: 0xffff,
            dont_fragment: true,
            flow_label: 0,
        };
        prepend_ip(&mut head, &fields, payload.len_bytes()).expect("an IP header");
        let start = if ipv6 { 40 } else { 20 };
        TxPacket {
            offload: TxOffload {
                checksum: Some(ChecksumOffload { start, offset: 16 }),
                segment: Some(SegmentOffload {
                    kind: if ipv6 {
                        SegmentKind::Tcp6
                    } else {
                        SegmentKind::Tcp4
                    },
                    size,
                    header_len: start + HEADER_LEN as u16,
                }),
            },
            head,
            payload,
        }
    }

    fn pieces(packet: &TxPacket) -> Vec<Bytes> {
        let mut cut = Cut::new(packet).expect("cuttable");
        let (mut memory, lender) = (OutMemory::new(), Lender::default());
        let runs = std::iter::from_fn(|| cut.next_run(&mut memory, &lender));
        runs.flat_map(|run| run.expect("cuttable")).collect()
    }

    /// Returns sequence number, flags and payload of a packet, after all its checksums were verified.
    fn verified(bytes: &[u8]) -> (u32, TcpFlags, Vec<u8>) {
        let (src, dst, tcp) = match bytes[0] >> 4 {
            4 => {
                let ip = IpPacket::<Ipv4>::parse(bytes).expect("IPv4");
                assert_eq!(ip.total_len(), bytes.len());
                (ip.src().into(), ip.dst().into(), ip.payload())
            }
            _ => {
                let ip = IpPacket::<Ipv6>::parse(bytes).expect("IPv6");
                assert_eq!(ip.total_len(), bytes.len());
                (ip.src().into(), ip.dst().into(), ip.payload())
            }
        };
        let view = TcpView::parse(src, dst, tcp, RxChecksum::Unknown).expect("TCP");
        let header = view.header();
        (header.seq, header.flags, view.payload().to_vec())
    }

    #[test]
    fn packets_of_a_super_segment_are_valid_and_give_its_payload() {
        let flags = TcpFlags::ACK | TcpFlags::PSH | TcpFlags::FIN | TcpFlags::CWR;
        for ipv6 in [false, true] {
            for lens in [
                &[3_000][..],
                &[1, 2_999, 77, 1_460],
                &[1_000],
                &[2_000, 2_000],
            ] {
                let packet = super_segment(ipv6, lens, 1_000, flags);
                let cut = pieces(&packet);
                let total: usize = lens.iter().sum();
                assert_eq!(cut.len(), total.div_ceil(1_000));
                let mut payload = Vec::new();
                for (index, bytes) in cut.iter().enumerate() {
                    let (seq, flags, part) = verified(bytes);
                    assert_eq!(seq, 0xffff_fff0_u32.wrapping_add(payload.len() as u32));
                    let is_last = index + 1 == cut.len();
                    assert!(is_last || part.len() == 1_000);
                    assert_eq!(flags.contains(TcpFlags::PSH | TcpFlags::FIN), is_last);
                    assert_eq!(flags.contains(TcpFlags::CWR), index == 0);
                    if !ipv6 {
                        let id = u16::from_be_bytes([bytes[4], bytes[5]]);
                        assert_eq!(id, 0xffff_u16.wrapping_add(index as u16));
                    }
                    payload.extend(part);
                }
                assert_eq!(payload, packet.payload.to_vec());
            }
        }
    }

    #[test]
    fn a_long_super_segment_comes_in_runs_that_one_call_can_carry() {
        let packet = super_segment(false, &[60_000, 5_000], 1_000, TcpFlags::ACK);
        let buffers = packet::Buffers::new(65_600, 4, 4);
        let mut memory = OutMemory::new();
        for lender in [Lender::default(), Lender::of(&buffers)] {
            let mut cut = Cut::new(&packet).expect("cuttable");
            let first = cut.next_run(&mut memory, &lender).expect("a run");
            let rest = cut.next_run(&mut memory, &lender).expect("another");
            let (first, rest) = (first.expect("cuttable"), rest.expect("cuttable"));
            assert_eq!((first.packets(), rest.packets()), (62, 3));
            assert!(first.bytes().len() <= RUN_BYTES_MAX);
            assert!(cut.next_run(&mut memory, &lender).is_none());
            let payload: Vec<u8> = first.chain(rest).flat_map(|one| verified(&one).2).collect();
            assert!(payload == packet.payload.to_vec());
        }
        assert_eq!(buffers.large().in_use(), 0, "the packets are gone");
    }

    #[test]
    fn a_request_that_contradicts_the_packet_is_refused() {
        let good = super_segment(false, &[3_000], 1_000, TcpFlags::ACK);
        let change = |change: fn(&mut TxPacket)| {
            let mut packet = good.clone();
            change(&mut packet);
            Cut::new(&packet).map(drop)
        };
        fn segment(packet: &mut TxPacket) -> &mut SegmentOffload {
            packet.offload.segment.as_mut().expect("a segment")
        }
        let bad: [fn(&mut TxPacket); 6] = [
            |packet| packet.offload.segment = None,
            |packet| packet.offload.checksum = None,
            |packet| segment(packet).size = 0,
            |packet| segment(packet).kind = SegmentKind::Udp,
            |packet| segment(packet).header_len = 51,
            |packet| {
                packet.offload.checksum = Some(ChecksumOffload {
                    start: 33,
                    offset: 16,
                })
            },
        ];
        for bad in bad {
            assert_eq!(change(bad), Err(NotCuttable));
        }
    }
}
