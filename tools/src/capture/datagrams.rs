//! Puts fragments together, in bounded memory.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use etherparse::defrag::{IpDefragBuf, IpFragRange};
use etherparse::{IpFragOffset, IpNumber};

use super::packet::Packet;

/// Most datagrams that wait for fragments; each takes at most 64 KiB.
const MAX_WAITING: usize = 256;

type Key = (IpAddr, IpAddr, u8, u32);

/// Datagrams of which some fragments are missing.
#[derive(Debug, Default)]
pub(crate) struct Datagrams {
    waiting: HashMap<Key, IpDefragBuf>,
    order: VecDeque<Key>,
}

impl Datagrams {
    /// Adds a fragment. Returns the payload of the datagram with its last missing fragment.
    pub(crate) fn add(&mut self, packet: &Packet<'_>) -> Option<Vec<u8>> {
        let fragment = packet.fragment?;
        let payload = packet.payload();
        if payload.len() < packet.payload_len as usize {
            return None;
        }
        let key = (
            packet.source,
            packet.destination,
            packet.protocol,
            fragment.id,
        );
        if !self.waiting.contains_key(&key) {
            if self.order.len() == MAX_WAITING
                && let Some(oldest) = self.order.pop_front()
            {
                self.waiting.remove(&oldest);
            }
            self.order.push_back(key);
        }
        let waiting = self.waiting.entry(key).or_insert_with(|| {
            IpDefragBuf::new(
                IpNumber(packet.protocol),
                Vec::new(),
                Vec::<IpFragRange>::new(),
            )
        });
        let offset = IpFragOffset::try_new((fragment.offset / 8) as u16).ok()?;
        let added = waiting.add(offset, fragment.more, payload);
        if added.is_ok() && !waiting.is_complete() {
            return None;
        }
        self.order.retain(|other| *other != key);
        let (data, _) = self.waiting.remove(&key)?.take_bufs();
        added.is_ok().then_some(data)
    }
}
