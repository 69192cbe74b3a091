//! Handshakes of peers that are half open, to the listener that the program binds at the same address.
//!
//! A listener that asks its program about each SYN ([`SynListener`](crate::net::SynListener)) asks again: also about one that the
//! program of before had accepted and whose handshake was not done. Its SYN-ACK has the same sequence number again.

use std::sync::Arc;

use lockorder::LockCtx;

use super::super::foreign::{locked, wake_all};
use super::super::host::Host;
use super::super::levels::StackLocks;
use super::super::tcp::authentication::is_required;
use super::super::tcp::connection::Listener;
use super::super::tcp::deferred::{ASKED, Asked, DECISION_TIME, Hop};
use super::super::tcp::listen;
use super::super::tcp::shard::HalfOpenEntry;
use super::ends::{Flow, four_tuple};
use crate::base::Instant;
use crate::base::counters::Counter;
use crate::demux::FlowKey;
use crate::tcp::HalfOpen;

/// A handshake that is half open.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct KeptHandshake {
    pub(super) flow: Flow,
    pub(super) half: HalfOpen,
    pub(super) hop: Hop,
    /// The program decides about its SYN.
    pub(super) is_asked: bool,
    pub(super) deadline: Instant,
}

/// Returns every handshake.
pub(super) fn export(host: &Host, ctx: &mut LockCtx<'_, StackLocks>) -> Vec<KeptHandshake> {
    let mut all = Vec::new();
    let connections = &host.tcp.connections;
    connections.for_each_half_open(ctx, |flow, deadline, entry| {
        if entry.half.key_id().is_some() {
            // Its key is the program's, and stay there.
            return;
        }
        let listener = Arc::clone(entry.place.listener());
        all.push((*flow, deadline, entry.half, listener));
    });
    let kept = |(flow, deadline, half, listener): (FlowKey, _, HalfOpen, Arc<Listener>)| {
        let deferred = listener.deferred.as_ref();
        let hop = deferred.and_then(|deferred| {
            let iss = half.iss();
            deferred.with(ctx, |deferred, _| {
                deferred.unseen(&flow, iss).map(|asked| asked.hop)
            })
        });
        KeptHandshake {
            flow: (flow.local(), flow.remote()),
            half,
            // The program has seen the SYN: of its IP header nothing is left.
            hop: hop.unwrap_or_default(),
            is_asked: deferred.is_some(),
            deadline,
        }
    };
    all.into_iter().map(kept).collect()
}

/// Returns true if each of them can be.
pub(super) fn are_valid(handshakes: &[KeptHandshake]) -> bool {
    let is_valid =
        |kept: &KeptHandshake| four_tuple(kept.flow).is_some() && kept.half.restored().is_some();
    handshakes.iter().all(is_valid)
}

/// Enters the handshakes. Those for which there is no listener any more, or no place, end: their peers send the SYN again.
pub(super) fn enter(host: &Host, mut handshakes: Vec<KeptHandshake>) {
    handshakes.sort_by_key(|kept| kept.deadline);
    let mut given_up = 0;
    for kept in handshakes {
        given_up += u64::from(enter_one(host, kept).is_none());
    }
    let counters = host.workers.counters_here();
    counters.add(Counter::TcpHandshakesExpired, given_up);
}

fn enter_one(host: &Host, kept: KeptHandshake) -> Option<()> {
    let flow = four_tuple(kept.flow)?;
    let listener = listen::listener_at(host, flow.local())?;
    if listener.options.defers != kept.is_asked {
        return None;
    }
    // It was not authenticated when it began.
    if locked(|key| is_required(&mut key.ctx(), &listener, flow.remote())) {
        return None;
    }
    let place = listener.admit_syn()?;
    let (mut half, hop) = (kept.half, kept.hop);
    let now = host.clock.now();
    let wait = match kept.is_asked {
        // The program begins anew, so it has all of the time.
        true => {
            half.again();
            (ASKED, now + DECISION_TIME)
        }
        false => {
            let longest = half.timeout(&listener.options.config);
            let list = usize::from(half.retries()).min(ASKED - 1);
            (list, kept.deadline.min(now + longest))
        }
    };
    let entry = HalfOpenEntry { half, place };
    let connections = &host.tcp.connections;
    let entered = locked(|key| connections.readmit_half_open(&mut key.ctx(), flow, wait, entry));
    entered.ok()?;
    ask(&listener, flow, &half, hop);
    Some(())
}

/// Asks the program about a SYN, if its listener does.
fn ask(listener: &Listener, flow: FlowKey, half: &HalfOpen, hop: Hop) {
    let Some(deferred) = &listener.deferred else {
        return;
    };
    let iss = half.iss();
    let mut wakers = Vec::new();
    locked(|key| {
        deferred.with(&mut key.ctx(), |deferred, _| {
            deferred.ask(Asked { flow, iss, hop }, &mut wakers);
        });
    });
    wake_all(wakers);
}
