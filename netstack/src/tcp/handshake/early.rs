//! Data that an active open sends with its SYN (RFC 7413 section 4.2.1).
//!
//! * **Define.** [`EarlyData`] is what the application wrote before the handshake, and the Fast Open option of the SYN.
//! * **Enforce.** The first SYN alone has them. Each one that is sent again is an ordinary SYN, so a path that drops what it
//!   does not know costs one timeout. What the SYN-ACK does not acknowledge stays queued and leaves after it.
//! * **Consume.** [`Tcp::fast_open_news`] tells the owner what a SYN-ACK says about the next connection to that peer.

use std::sync::Arc;

use packet::Buffers;
use packet::buf::Account;
use packet::frame::Chunks;
use packet::tcp::{FastOpen, TcpFlags};

use super::SynSent;
use crate::base::TcpConfig;
use crate::tcp::context::Context;
use crate::tcp::segment::{Segment, SegmentOut};
use crate::tcp::send::queue::SendQueue;
use crate::tcp::seq::SeqNum;
use crate::tcp::tcb::Tcb;
use crate::tcp::{Open, Stage, Tcp};

/// The Fast Open option and the data in the SYN of an active open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FastConnect {
    /// The peer's cookie, or a request for one; `None`: the data follows after the handshake.
    pub option: Option<FastOpen>,
    /// Payload that may be in the SYN, in bytes.
    pub room: u16,
}

/// The news in a SYN-ACK about Fast Open with this peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FastOpenNews {
    /// A cookie for the next connection.
    Cookie {
        /// The option that has it.
        cookie: FastOpen,
        /// The peer's MSS.
        mss: u16,
    },
    /// The peer took the data, and has no other cookie.
    Accepted {
        /// The peer's MSS.
        mss: u16,
    },
    /// The peer has no cookie for us, did not take the data, or answered an ordinary SYN only (RFC 7413 section 4.1.3.1).
    Refused,
}

/// Data that waits for the end of the handshake, or went with the SYN.
#[derive(Debug)]
pub(in crate::tcp) struct EarlyData {
    connect: FastConnect,
    queue: SendQueue,
    account: Account,
    /// Payload that was in the SYN, in bytes.
    sent: u32,
}

impl EarlyData {
    /// Adds option and payload to the first SYN.
    pub(super) fn add_to(&mut self, iss: SeqNum, syn: &mut SegmentOut) {
        let Some(option) = self.connect.option else {
            return;
        };
        syn.options.set_fast_open(Some(option));
        if option.is_request() {
            return;
        }
        let want = self.queue.len().min(usize::from(self.connect.room)) as u32;
        let len = self.queue.span(iss + 1, want);
        let mut payload = Chunks::new();
        self.queue.gather(iss + 1, len, &mut payload);
        syn.payload = payload;
        self.sent = len;
    }

    /// Leaves the option and the payload out of the SYN from now on: the path carries no segment as long as that.
    pub(in crate::tcp) fn give_up(&mut self) {
        self.connect.option = None;
    }

    /// Returns how many bytes the SYN carried.
    pub(super) fn sent(&self) -> u32 {
        self.sent
    }

    /// Moves what the peer has not got into the connection's send queue.
    pub(super) fn move_to(mut self, tcb: &mut Tcb) {
        let una = tcb.flight.una();
        let before = self.queue.len();
        self.queue.advance(una);
        let acked = before - self.queue.len();
        tcb.stats.bytes_out += acked as u64;
        tcb.settings.syn_data = acked > 0 && acked == self.sent as usize;
        tcb.queue = self.queue;
        if tcb.ring.len() == 0 {
            tcb.account = self.account;
        }
    }

    fn news(&self, iss: SeqNum, retries: u8, syn_ack: &Segment) -> Option<FastOpenNews> {
        let asked = self.connect.option?;
        let mss = syn_ack.options().mss.unwrap_or(0);
        let given = syn_ack.options().fast_open();
        if let Some(cookie) = given.filter(|given| !given.is_request()) {
            return Some(FastOpenNews::Cookie { cookie, mss });
        }
        let took_data = syn_ack.ack().after(iss + 1);
        let nothing_to_take = self.sent == 0 && !asked.is_request() && retries == 0;
        Some(if took_data || nothing_to_take {
            FastOpenNews::Accepted { mss }
        } else {
            FastOpenNews::Refused
        })
    }
}

impl Tcp {
    /// Opens actively, with `data` for the peer, as much of it as there is room for. The second value says how much. What
    /// does not go with the SYN follows when the handshake is done.
    pub fn connect_early<'a>(
        cfg: &Arc<TcpConfig>,
        open: Open,
        connect: FastConnect,
        data: &[u8],
        buffers: &Buffers,
        cx: impl Into<Context<'a>>,
    ) -> (Self, usize) {
        let mut state = SynSent::new(cfg, open, &mut cx.into());
        let account = Account::default();
        let mut queue = SendQueue::new(open.isn + 1);
        let taken = queue.push(data, cfg.least_send_buffer(), buffers.charging(&account));
        state.opening.early = Some(Box::new(EarlyData {
            connect,
            queue,
            account,
            sent: 0,
        }));
        let stage = Stage::SynSent(state);
        (Self { stage }, taken)
    }

    /// Returns what `syn_ack` will say about Fast Open with this peer, if the SYN of this connection had the option and
    /// `syn_ack` ends the handshake. Ask before [`on_segment`](Self::on_segment) takes it.
    pub fn fast_open_news(&self, syn_ack: &Segment) -> Option<FastOpenNews> {
        let Stage::SynSent(SynSent { opening }) = &self.stage else {
            return None;
        };
        let early = opening.early.as_ref()?;
        let ends = syn_ack.has(TcpFlags::SYN | TcpFlags::ACK) && !syn_ack.has(TcpFlags::RST);
        (ends && opening.is_acked_by(syn_ack))
            .then(|| early.news(opening.iss, opening.retries, syn_ack))?
    }
}
