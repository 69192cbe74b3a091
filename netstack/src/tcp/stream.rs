//! The stream of bytes in both directions: reading and writing.

use packet::buf::FLOOR_BYTES;
use packet::{Buffers, Payload};

use super::outcome::State;
use super::tcb::{Flags, Tcb};
use super::{Stage, Tcp};
use crate::base::Instant;

/// Reading.
impl Tcp {
    /// Returns the first contiguous bytes that were received and not read; empty if there are none.
    pub fn recv_chunk(&self) -> &[u8] {
        self.tcb().map_or(&[], |tcb| tcb.ring.front())
    }

    /// Copies bytes that were received and not read to `out`, without taking them; returns how many:
    /// all that fit.
    pub fn recv_peek(&self, out: &mut [u8]) -> usize {
        self.tcb().map_or(0, |tcb| tcb.ring.copy_to(out))
    }

    /// Removes `count` bytes of those that [`recv_chunk`](Self::recv_chunk) showed (or of several
    /// chunks in turn). The window may grow: see [`wants_transmit`](Self::wants_transmit).
    pub fn recv_consume(&mut self, count: usize, now: Instant) {
        if self.recv_len() == 0 {
            return;
        }
        self.checked(|tcp| {
            if let Some(tcb) = tcp.tcb_mut() {
                let count = tcb.ring.consume(count);
                tcb.after_read(count, now);
            }
        });
    }

    /// Takes the first slice of the received bytes, without a copy. The window may grow: see
    /// [`wants_transmit`](Self::wants_transmit).
    pub fn recv_pop(&mut self, now: Instant) -> Option<Payload> {
        // Most reads of a task that waits find nothing: they end no rest.
        if self.recv_len() == 0 {
            return None;
        }
        self.checked(|tcp| {
            let tcb = tcp.tcb_mut()?;
            let chunk = tcb.ring.pop()?;
            tcb.after_read(chunk.len(), now);
            Some(chunk)
        })
    }

    /// Returns the number of bytes received and not read.
    pub fn recv_len(&self) -> usize {
        self.tcb().map_or(0, |tcb| tcb.ring.len())
    }

    /// Returns true if the application read everything up to the peer's FIN. For a connection that
    /// ended in another way, see [`state`](Self::state) and [`error`](Self::error).
    pub fn is_recv_finished(&self) -> bool {
        self.tcb()
            .is_some_and(|tcb| tcb.flags.contains(Flags::FIN_RECEIVED) && tcb.ring.len() == 0)
    }
}

/// Writing.
impl Tcp {
    /// Queues as much of `data` as there is room for, and returns how much. When it took less than
    /// all, [`Readiness::WRITABLE`] says when to try again. Returns 0 if the connection is not open
    /// for sending.
    pub fn send(&mut self, data: &[u8], buffers: &Buffers) -> usize {
        self.checked(|tcp| {
            let Some(tcb) = tcp.tcb_mut() else {
                return 0;
            };
            let room = tcb.send_room();
            let taken = tcb.queue.push(data, room, buffers.charging(&tcb.account));
            if taken < data.len() && tcb.may_queue() {
                tcb.flags.insert(Flags::WANT_WRITE);
            }
            taken
        })
    }

    /// Queues `data` without a copy.
    ///
    /// # Errors
    /// Returns `data` if there is not room for all of it, or if memory is short and this connection
    /// holds its share; [`Readiness::WRITABLE`] says when to try again.
    pub fn send_payload(&mut self, data: Payload, buffers: &Buffers) -> Result<(), Payload> {
        self.checked(|tcp| {
            let Some(tcb) = tcp.tcb_mut() else {
                return Err(data);
            };
            // A payload longer than the whole buffer is taken when the buffer is empty.
            let fits = data.len() <= tcb.send_room()
                || (tcb.may_queue() && tcb.queue.len() == 0 && data.len() < 1 << 30);
            let memory = buffers.charging(&tcb.account);
            if !fits || memory.room(tcb.queue.len()) == 0 {
                tcb.flags.insert(Flags::WANT_WRITE);
                return Err(data);
            }
            let appended = tcb.queue.append(data, memory);
            if appended.is_err() {
                tcb.flags.insert(Flags::WANT_WRITE);
            }
            appended
        })
    }

    /// Returns true if the application's side of the connection is open.
    pub fn may_send(&self) -> bool {
        match self.state() {
            State::Established | State::CloseWait => true,
            // Data flows before the handshake is done.
            State::SynReceived => matches!(self.stage, Stage::FastOpened(_)),
            _ => false,
        }
    }

    /// Returns the number of bytes that [`send`](Self::send) takes now, if the pools have them.
    pub fn send_room(&self) -> usize {
        match &self.stage {
            Stage::Open(tcb) => tcb.send_room(),
            Stage::FastOpened(state) => state.block.send_room(),
            Stage::Resting(resting) => resting.cfg.least_send_buffer(),
            _ => 0,
        }
    }

    /// Returns the number of bytes of the application's own memory that [`send_payload`](Self::send_payload) may be
    /// given now: what it keeps counts against the share of the connection.
    pub fn own_memory_room(&self, buffers: &Buffers) -> usize {
        let room = match self.tcb() {
            Some(tcb) => buffers.charging(&tcb.account).room(tcb.queue.len()),
            None => buffers.share().max(FLOOR_BYTES),
        };
        room.min(self.send_room())
    }

    /// Asks for [`Readiness::WRITABLE`] when there is room again, as a `send` that took too little
    /// does.
    pub fn want_write(&mut self) {
        if let Some(tcb) = self.tcb_mut() {
            tcb.flags.insert(Flags::WANT_WRITE);
        }
    }

    /// Returns the number of queued bytes that the peer has not acknowledged, sent or not.
    pub fn unacked(&self) -> usize {
        self.tcb().map_or(0, |tcb| tcb.queue.len())
    }
}

impl Tcb {
    /// Notes that the application took `count` bytes: the buffer may grow, and the window with it.
    fn after_read(&mut self, count: usize, now: Instant) {
        if count == 0 || !self.phase.may_receive() {
            return;
        }
        let rtts = [self.rtt.srtt(), self.rtt.least()];
        let nxt = self.window.nxt;
        let end = self.assembler.as_ref().and_then(|board| board.end());
        let waiting = end.map_or(0, |end| end.since(nxt));
        self.window.on_read(count, waiting, rtts, now);
        if self
            .window
            .update_due(self.ring.len(), u32::from(self.agreed.mss))
        {
            self.ack.set_due();
        }
    }
}
