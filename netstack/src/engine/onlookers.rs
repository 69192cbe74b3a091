//! Shows received packets to the observers of a worker's device, with what became of them.

use std::sync::Arc;

use packet::frame::RxPacket;

use crate::base::{Fate, Instant};
use crate::device::observe::{Observer, SeenPacket};
use crate::ip::receive::Origin;
use crate::stack::contain::contain;
use crate::stack::ip::inbound::receive;
use crate::stack::turn::Turn;

/// The observers of a worker's device.
#[derive(Default)]
pub(super) struct Onlookers {
    observers: Vec<Arc<dyn Observer>>,
    /// One of them wants the packets of this turn.
    is_one_watching: bool,
    /// They have seen packets since the last [`after_batch`](Self::after_batch).
    has_shown: bool,
}

impl Onlookers {
    pub(super) fn new(observers: Vec<Arc<dyn Observer>>) -> Self {
        Self {
            observers,
            ..Self::default()
        }
    }

    /// Asks once a turn whether one of them wants packets. Runs code of the program.
    pub(super) fn ask(&mut self) {
        self.is_one_watching = self.observers.iter().any(|one| one.is_watching());
    }

    fn watching(&self) -> impl Iterator<Item = &Arc<dyn Observer>> {
        let observers = self.observers.iter();
        observers.filter(|observer| observer.is_watching())
    }

    /// Takes in one packet, and shows it if one wants that.
    #[inline]
    pub(super) fn take_in(&mut self, turn: &mut Turn<'_>, packet: RxPacket, origin: Origin) {
        if self.is_one_watching {
            self.take_in_and_show(turn, packet, origin);
        } else {
            receive(turn, packet, origin);
        }
    }

    #[cold]
    fn take_in_and_show(&mut self, turn: &mut Turn<'_>, packet: RxPacket, origin: Origin) {
        let at = Instant::from_nanos(packet.arrived_nanos);
        // A second reference to the slab, not a copy.
        let data = packet.data.clone();
        turn.worker.fate.take();
        receive(turn, packet, origin);
        let discarded = match turn.worker.fate.take() {
            // The other worker shows it.
            Fate::HandedOver => return,
            Fate::Taken => None,
            Fate::Discarded(discarded) => Some(discarded),
        };
        let mut seen = SeenPacket::received(at, &data);
        seen.discarded = discarded;
        let show = || {
            self.watching()
                .for_each(|observer| observer.on_packet(seen))
        };
        turn.key.lend(|| contain("an observer", show));
        self.has_shown = true;
    }

    /// Tells them that all packets of a batch were shown.
    pub(super) fn after_batch(&mut self, turn: &mut Turn<'_>) {
        if std::mem::take(&mut self.has_shown) {
            let tell = || self.watching().for_each(|observer| observer.after_batch());
            turn.key.lend(|| contain("an observer", tell));
        }
    }
}
