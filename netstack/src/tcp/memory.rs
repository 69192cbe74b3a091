//! Gives memory of a connection back when that of the stack runs short.

use packet::Buffers;

use super::context::Context;
use super::outcome::TcpError;
use super::{Stage, Tcp};
use crate::base::Instant;

impl Tcp {
    /// Returns the memory that the connection keeps others from using, in bytes: the slabs of its queues, and
    /// those that the application took and has not dropped.
    pub fn pinned(&self) -> usize {
        self.tcb().map_or(0, |tcb| tcb.account.pinned())
    }

    /// Moves what the queues hold out of slabs that it does not fill; returns how many bytes were copied.
    pub fn compact(&mut self, buffers: &Buffers) -> usize {
        self.checked(|tcp| match &mut tcp.stage {
            Stage::Open(tcb) => tcb.compact(buffers),
            Stage::FastOpened(state) => state.block.compact(buffers),
            // A resting connection holds nothing.
            _ => 0,
        })
    }

    /// Drops what arrived ahead of a gap: the peer sends it again (RFC 2018 section 8 lets a receiver do so).
    /// Returns how many bytes that were.
    pub fn drop_out_of_order(&mut self) -> usize {
        self.checked(|tcp| match &mut tcp.stage {
            Stage::Open(tcb) => tcb.assembler.take().map_or(0, |board| board.len()),
            _ => 0,
        })
    }

    /// Returns a number that grows with each byte that the application reads and the peer acknowledges.
    pub fn progress(&self) -> u64 {
        self.tcb().map_or(0, |tcb| {
            let read = tcb.stats.bytes_in.saturating_sub(tcb.ring.len() as u64);
            tcb.stats.bytes_out.saturating_add(read)
        })
    }

    /// Ends the connection, because its memory is needed. The next [`poll_transmit`](Self::poll_transmit)
    /// returns a reset.
    pub fn abort_for_memory<'a>(&mut self, cx: impl Into<Context<'a>>) {
        self.abort_for(TcpError::OutOfMemory, &mut cx.into());
    }

    /// Ends the connection, because its place is needed. The next [`poll_transmit`](Self::poll_transmit) returns a
    /// reset.
    pub fn abort_for_room<'a>(&mut self, cx: impl Into<Context<'a>>) {
        self.abort_for(TcpError::Displaced, &mut cx.into());
    }

    fn abort_for(&mut self, error: TcpError, cx: &mut Context<'_>) {
        self.wake();
        self.checked(|tcp| {
            if let Some(tcb) = tcp.tcb_mut() {
                tcb.abort_with(error, cx);
            }
        });
    }

    /// Returns when the connection sent or heard something last; `None` during the handshake and after the end.
    pub fn last_active(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Open(tcb) => Some(tcb.last_active()),
            Stage::Resting(resting) => Some(resting.last_active()),
            _ => None,
        }
    }
}
