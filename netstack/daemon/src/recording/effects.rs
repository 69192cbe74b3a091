//! The effects of a device beside handing packets over: what it counted, and the slabs that it keeps.
//!
//! A device counts packets, bytes and losses, and may keep a slab for its next read. The web page shows the one, and the
//! share of a flow depends on the other, so both are part of what a replay must repeat.

use netstack::base::counters::Counter;
use netstack::base::{Counters, DropReason};
use packet::{Buffers, Pool, SlabMut};

use super::decisions::Fields;

/// The counters that a device counts. The order is part of the form.
const COUNTS: [Counter; 4] = [
    Counter::PacketsIn,
    Counter::BytesIn,
    Counter::PacketsOut,
    Counter::BytesOut,
];

/// The reasons for which a device drops packets. The order is part of the form.
const DROPS: [DropReason; 5] = [
    DropReason::NoReceiveBuffer,
    DropReason::DeviceTruncated,
    DropReason::DeviceHeader,
    DropReason::TransmitFailed,
    DropReason::TooBig,
];

/// Slabs of each kind that a device may keep at most: more is no device's doing.
const MOST_KEPT: i64 = 4_096;

/// Packets that a device may drop in one call.
const MOST_DROPPED: i64 = 4_096;

const POOLS: usize = 3;
const SLOTS: usize = COUNTS.len() + DROPS.len() + POOLS;
const FIRST_DROP: usize = COUNTS.len();
const FIRST_POOL: usize = COUNTS.len() + DROPS.len();

/// The changes that one call of a device made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effects([i64; SLOTS]);

fn pools(buffers: &Buffers) -> [&Pool; POOLS] {
    [buffers.large(), buffers.small(), buffers.reserve()]
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Effects {
    /// Reads the counters, and the slabs in use if `buffers` are given.
    pub(crate) fn read(counters: &Counters, buffers: Option<&Buffers>) -> Self {
        let counts = COUNTS.map(|counter| signed(counters.count(counter)));
        let drops = DROPS.map(|reason| signed(counters.dropped(reason)));
        let slabs = buffers.map_or([0; POOLS], |buffers| {
            pools(buffers).map(|pool| signed(pool.in_use() as u64))
        });
        let mut all = [0; SLOTS];
        let values = counts.into_iter().chain(drops).chain(slabs);
        for (slot, value) in all.iter_mut().zip(values) {
            *slot = value;
        }
        Self(all)
    }

    /// Returns what has changed since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        let mut changed = self;
        for (slot, before) in changed.0.iter_mut().zip(before.0) {
            *slot = slot.wrapping_sub(before);
        }
        changed
    }

    /// Notes that a packet, which is not the device's any more, holds a slab of pool `pool`.
    pub(crate) fn handed_over(&mut self, pool: usize) {
        if let Some(slot) = self.0.get_mut(FIRST_POOL + pool) {
            *slot -= 1;
        }
    }

    #[cfg(test)]
    pub(crate) fn set(&mut self, slot: usize, value: i64) {
        self.0[slot] = value;
    }

    /// Returns true if nothing changed.
    pub(crate) fn is_none(&self) -> bool {
        self.0.iter().all(|value| *value == 0)
    }

    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        let changed = || (0_u8..).zip(self.0).filter(|(_, value)| *value != 0);
        to.push(changed().count() as u8);
        for (slot, value) in changed() {
            to.push(slot);
            to.extend(value.to_le_bytes());
        }
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let mut effects = Self::default();
        for _ in 0..fields.u8()? {
            let slot = effects.0.get_mut(usize::from(fields.u8()?))?;
            *slot = i64::from_le_bytes(fields.u64()?.to_le_bytes());
        }
        Some(effects)
    }

    /// Repeats the effects. Returns false if that is not possible.
    pub(crate) fn repeat(&self, counters: &Counters, buffers: &Buffers, kept: &mut Kept) -> bool {
        for (counter, value) in COUNTS.into_iter().zip(self.0) {
            counters.add(counter, u64::try_from(value).unwrap_or_default());
        }
        for (reason, value) in DROPS.into_iter().zip(self.0.into_iter().skip(FIRST_DROP)) {
            for _ in 0..value.min(MOST_DROPPED) {
                counters.drop_packet(reason);
            }
        }
        let slabs = self.0.into_iter().skip(FIRST_POOL);
        let kept = kept.0.iter_mut().zip(pools(buffers));
        kept.zip(slabs).all(|((kept, pool), value)| {
            let wanted = (kept.len() as i64).saturating_add(value);
            if !(0..=MOST_KEPT).contains(&wanted) {
                return false;
            }
            kept.truncate(wanted as usize);
            while (kept.len() as i64) < wanted {
                match pool.take() {
                    Some(slab) => kept.push(slab),
                    None => return false,
                }
            }
            true
        })
    }
}

/// The slabs that the device of a replay keeps.
#[derive(Debug, Default)]
pub(crate) struct Kept([Vec<SlabMut>; POOLS]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_repeats_what_a_device_did() {
        let buffers = Buffers::new(4_096, 4, 4);
        let counters = Counters::new();
        let before = Effects::read(&counters, Some(&buffers));
        let spare = buffers.large().take();
        let packet = buffers.copy(b"a packet");
        counters.add(Counter::PacketsIn, 2);
        counters.drop_packet(DropReason::DeviceHeader);
        let mut effects = Effects::read(&counters, Some(&buffers)).since(before);
        effects.handed_over(1);
        drop((spare, packet));

        let mut bytes = Vec::new();
        effects.encode(&mut bytes);
        assert_eq!(Effects::decode(&mut Fields(&bytes)), Some(effects));
        let (again, mut kept) = (Counters::new(), Kept::default());
        assert!(effects.repeat(&again, &buffers, &mut kept));
        assert_eq!(again.count(Counter::PacketsIn), 2);
        assert_eq!(again.dropped(DropReason::DeviceHeader), 1);
        assert_eq!((buffers.large().in_use(), buffers.small().in_use()), (1, 0));
        let opposite = Effects::default().since(effects);
        assert!(opposite.repeat(&again, &buffers, &mut kept));
        assert_eq!(buffers.large().in_use(), 0);
    }

    #[test]
    fn a_file_can_ask_for_nothing_without_end() {
        let buffers = Buffers::new(4_096, 4, 4);
        for slot in 0..SLOTS {
            for value in [i64::MIN, i64::MAX, -1, 1 << 40] {
                let mut effects = Effects::default();
                effects.set(slot, value);
                let mut kept = Kept::default();
                let repeated = effects.repeat(&Counters::new(), &buffers, &mut kept);
                assert_eq!(repeated, slot < FIRST_POOL, "{slot}: {value}");
            }
        }
    }
}
