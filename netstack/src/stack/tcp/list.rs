//! Lists of what is in the connection table, for people and tools.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use lockorder::{LockBefore, LockCtx};

use super::super::foreign::locked;
use super::super::host::Host;
use super::super::levels;
use super::connection::Connection;
use super::deferred::ASKED;
use super::shard::Shard;
use super::table::{ConnectionTable, SHARDS};
use crate::base::Instant;
use crate::base::time::Duration;

/// Slots of a shard that are looked at while it is locked: some microseconds, for which a worker may have to wait.
const PART: usize = 256;

/// A handshake of a peer that is half open, as it was when the list came to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct HalfOpenInfo {
    /// The local address.
    pub local: SocketAddr,
    /// The peer.
    pub remote: SocketAddr,
    /// How often the SYN-ACK was sent again.
    pub retries: u8,
    /// The program was asked about the SYN and has not decided.
    pub is_undecided: bool,
    /// Time until the SYN-ACK is sent again, or the handshake given up.
    pub remaining: Duration,
}

/// A connection in TIME-WAIT, as it was when the list came to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TimeWaitInfo {
    /// The local address.
    pub local: SocketAddr,
    /// The peer.
    pub remote: SocketAddr,
    /// Time until it is forgotten.
    pub remaining: Duration,
}

impl ConnectionTable {
    /// Returns every connection, shard by shard.
    pub(crate) fn snapshot<L>(&self, ctx: &mut LockCtx<'_, L>) -> Vec<Arc<Connection>>
    where
        L: LockBefore<levels::Tables>,
    {
        let mut all = Vec::with_capacity(self.len());
        for index in 0..SHARDS {
            self.read_shard(ctx, index, |shard| all.extend(shard.open.iter().cloned()));
        }
        all
    }
}

/// Returns the handshakes that are half open. Those that begin meanwhile may be left out.
pub(crate) fn half_open(host: &Host) -> impl Iterator<Item = HalfOpenInfo> + '_ {
    walk(host, |shard, slots, now, found| {
        let entries = shard.half_open.entries_in(slots);
        found.extend(entries.map(|(flow, list, deadline, entry)| HalfOpenInfo {
            local: flow.local(),
            remote: flow.remote(),
            retries: entry.half.retries(),
            is_undecided: list == ASKED,
            remaining: deadline - now,
        }));
        shard.half_open.slots()
    })
}

/// Returns the connections in TIME-WAIT. Those that come into it meanwhile may be left out.
pub(crate) fn time_waits(host: &Host) -> impl Iterator<Item = TimeWaitInfo> + '_ {
    walk(host, |shard, slots, now, found| {
        let entries = shard.time_wait.entries_in(slots);
        found.extend(entries.map(|(flow, _, deadline, _)| TimeWaitInfo {
            local: flow.local(),
            remote: flow.remote(),
            remaining: deadline - now,
        }));
        shard.time_wait.slots()
    })
}

/// Appends what a range of slots holds; returns the number of slots.
type Read<T> = fn(&Shard<Arc<Connection>>, Range<usize>, Instant, &mut Vec<T>) -> usize;

/// Walks over the shards, [`PART`] slots at a time, with nothing locked in between.
fn walk<'a, T: 'a>(host: &'a Host, read: Read<T>) -> impl Iterator<Item = T> + 'a {
    let now = host.clock.now();
    let mut places = (0..SHARDS).map(|shard| (shard, 0));
    let mut next = places.next();
    let parts = std::iter::from_fn(move || {
        let (shard, first) = next?;
        let slots = first..first + PART;
        let mut found = Vec::with_capacity(PART);
        let count = locked(|key| {
            host.tcp
                .connections
                .read_shard(&mut key.ctx(), shard, |shard| {
                    read(shard, slots.clone(), now, &mut found)
                })
        });
        next = match slots.end < count {
            true => Some((shard, slots.end)),
            false => places.next(),
        };
        Some(found)
    });
    parts.flatten()
}
