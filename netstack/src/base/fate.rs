//! The fate of a packet that a worker takes in: used, handed over or discarded.

use std::cell::Cell;

use super::counters::DropReason;

/// The reason why a packet was discarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Discarded {
    /// The reason under which it was counted.
    pub reason: DropReason,
    /// How often it was counted: a packet may be several datagrams, or for several sockets, of which some got it.
    pub times: u32,
}

/// The fate of a packet.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// The stack has used it.
    #[default]
    Taken,
    /// Another worker takes it in.
    HandedOver,
    /// It was discarded.
    Discarded(Discarded),
}

/// The fate of the packet that a worker takes in, as it turns out.
#[derive(Debug, Default)]
pub(crate) struct FateCell(Cell<Fate>);

impl FateCell {
    /// Notes that the packet was discarded. The first reason stands: what follows it concerns an answer to the packet.
    pub(crate) fn discard(&self, reason: DropReason) {
        let times = match self.0.get() {
            Fate::Discarded(before) if before.reason != reason => return,
            Fate::Discarded(before) => before.times.saturating_add(1),
            Fate::Taken | Fate::HandedOver => 1,
        };
        self.0.set(Fate::Discarded(Discarded { reason, times }));
    }

    /// Notes that the packet was handed over.
    pub(crate) fn hand_over(&self) {
        self.0.set(Fate::HandedOver);
    }

    /// Returns what was noted since the last call.
    pub(crate) fn take(&self) -> Fate {
        self.0.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_stands_and_its_repetitions_count() {
        let fate = FateCell::default();
        assert_eq!(fate.take(), Fate::Taken);
        fate.hand_over();
        assert_eq!(fate.take(), Fate::HandedOver);
        for reason in [
            DropReason::UdpQueueFull,
            DropReason::UdpQueueFull,
            DropReason::NoRoute,
        ] {
            fate.discard(reason);
        }
        let expected = Discarded {
            reason: DropReason::UdpQueueFull,
            times: 2,
        };
        assert_eq!(fate.take(), Fate::Discarded(expected));
        assert_eq!(fate.take(), Fate::Taken);
    }
}
