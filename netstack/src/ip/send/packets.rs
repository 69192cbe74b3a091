//! The packets of one datagram: a single one, or its fragments, which are built one at a time.
//!
//! Sections: RFC 791 section 3.2, RFC 8200 section 4.5, RFC 7112 (the first fragment holds all
//! headers), RFC 6946 (a datagram that fits is never sent as a fragment).

use core::net::IpAddr;
use core::ops::Range;

use packet::build::{Head, IpFields, prepend_ip, prepend_ip_fragment};
use packet::frame::TxOffload;
use packet::ip::FragmentInfo;
use packet::{Chunks, IpProto, TxPacket};

use super::{SendError, TxParams, fits};
use crate::ip::fragment::FragmentPlan;

/// The packets of one datagram, in order: usually one.
#[derive(Clone, Debug)]
pub struct Packets(State);

// A single packet is the common case, and a box would allocate for each.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug)]
enum State {
    Whole(Option<TxPacket>),
    Cut(Fragments),
}

#[derive(Clone, Debug)]
struct Fragments {
    fields: IpFields,
    id: u32,
    plan: FragmentPlan,
    /// The transport header, which precedes the first fragment's payload.
    transport: Head,
    payload: Chunks,
}

impl Packets {
    /// The one packet of a datagram.
    #[inline]
    pub(super) fn whole(packet: TxPacket) -> Self {
        Self(State::Whole(Some(packet)))
    }

    // Each argument is a part of the datagram; a struct for this private function would only repeat them.
    #[allow(clippy::too_many_arguments)]
    #[inline]
    pub(super) fn new(
        src: IpAddr,
        dst: IpAddr,
        proto: IpProto,
        mut head: Head,
        payload: Chunks,
        offload: TxOffload,
        params: &TxParams,
        ident: impl FnOnce() -> u32,
    ) -> Result<Self, SendError> {
        let len = payload.len_bytes();
        if fits(dst, head.len() + len, params) {
            let ident = params.ident(dst, ident);
            prepend_ip(&mut head, &params.fields(src, dst, proto, ident), len)?;
            return Ok(Self(State::Whole(Some(TxPacket {
                head,
                payload,
                offload,
            }))));
        }
        let id = ident();
        Ok(Self(State::Cut(Fragments {
            fields: params.fields(src, dst, proto, 0),
            // IPv4 uses 16 bits.
            id: if dst.is_ipv4() { id & 0xffff } else { id },
            plan: FragmentPlan::new(dst.is_ipv6(), head.len() + len, params.path.mtu)?,
            transport: head,
            payload,
        })))
    }

    /// Returns the number of packets left.
    pub fn remaining(&self) -> usize {
        match &self.0 {
            State::Whole(packet) => usize::from(packet.is_some()),
            State::Cut(fragments) => fragments.plan.remaining(),
        }
    }

    /// Appends the packets that are left to `out`. A single packet is moved once.
    pub fn append_to(self, out: &mut Vec<TxPacket>) {
        match self.0 {
            State::Whole(Some(packet)) => out.push(packet),
            State::Whole(None) => {}
            State::Cut(fragments) => out.extend(fragments),
        }
    }

    /// Returns `true` if the datagram is sent in fragments.
    pub fn is_fragmented(&self) -> bool {
        matches!(self.0, State::Cut(_))
    }
}

impl Iterator for Packets {
    type Item = TxPacket;

    fn next(&mut self) -> Option<TxPacket> {
        match &mut self.0 {
            State::Whole(packet) => packet.take(),
            State::Cut(fragments) => fragments.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining(), Some(self.remaining()))
    }
}

impl Iterator for Fragments {
    type Item = TxPacket;

    fn next(&mut self) -> Option<TxPacket> {
        let part = self.plan.next()?;
        let transport_len = self.transport.len();
        // The first fragment has at least 8 bytes, the length of the UDP and ICMP headers: it holds the
        // whole header (RFC 7112), and the others none of it.
        let (mut head, payload) = match part.range.start.checked_sub(transport_len) {
            Some(start) => (Head::new(), start..part.range.end - transport_len),
            None => (
                self.transport.clone(),
                0..part.range.end.saturating_sub(transport_len),
            ),
        };
        let info = FragmentInfo {
            id: self.id,
            // The plan's datagrams are at most 65,535 bytes long.
            offset_bytes: part.range.start as u16,
            more: part.more,
        };
        let payload = slice(&self.payload, payload);
        // The plan guarantees valid fields; an error would end the datagram.
        prepend_ip_fragment(&mut head, &self.fields, info, payload.len_bytes()).ok()?;
        Some(TxPacket {
            head,
            payload,
            offload: TxOffload::default(),
        })
    }
}

/// Returns the bytes of `chunks` in `range`, shared, not copied.
fn slice(chunks: &Chunks, range: Range<usize>) -> Chunks {
    let mut part = Chunks::new();
    let mut at = 0;
    for piece in chunks {
        let end = at + piece.len();
        if at < range.end && range.start < end {
            let inside = range.start.saturating_sub(at)..(range.end - at).min(piece.len());
            // Never more pieces than `chunks` has.
            let _ = part.push(piece.slice(inside));
        }
        at = end;
    }
    part
}
