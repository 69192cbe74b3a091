//! The packets of one datagram: itself, or its fragments, written one by one as they are asked for.
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

// One is the rule, and it is handed over at once: boxing it would allocate per packet.
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
    /// The transport header: in front of the first fragment's payload.
    transport: Head,
    payload: Chunks,
}

impl Packets {
    // Every argument is a part of the datagram; a struct for one private caller names them twice.
    #[allow(clippy::too_many_arguments)]
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
            // IPv4 has 16 bits of it.
            id: if dst.is_ipv4() { id & 0xffff } else { id },
            plan: FragmentPlan::new(dst.is_ipv6(), head.len() + len, params.path.mtu)?,
            transport: head,
            payload,
        })))
    }

    /// How many packets are left.
    pub fn remaining(&self) -> usize {
        match &self.0 {
            State::Whole(packet) => usize::from(packet.is_some()),
            State::Cut(fragments) => fragments.plan.remaining(),
        }
    }

    /// True if the datagram is sent in fragments.
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
        // Every step is at least 8 bytes, which is as long as the transport headers here are: the
        // first fragment holds the header whole (RFC 7112), the others none of it.
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
        // The plan guarantees what this checks; a refusal ends the datagram.
        prepend_ip_fragment(&mut head, &self.fields, info, payload.len_bytes()).ok()?;
        Some(TxPacket {
            head,
            payload,
            offload: TxOffload::default(),
        })
    }
}

/// `range` of the bytes of `chunks`, sharing them.
fn slice(chunks: &Chunks, range: Range<usize>) -> Chunks {
    let mut part = Chunks::new();
    let mut at = 0;
    for piece in chunks {
        let end = at + piece.len();
        if at < range.end && range.start < end {
            let inside = range.start.saturating_sub(at)..(range.end - at).min(piece.len());
            // As many pieces as before, at most.
            let _ = part.push(piece.slice(inside));
        }
        at = end;
    }
    part
}
