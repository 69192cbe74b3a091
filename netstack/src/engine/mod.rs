//! Workers, timers and turns.
//!
//! A [`worker::Worker`] owns one device queue, the timers of its connections and the tasks that run
//! beside them; [`threads`] turns workers on the machine's clock, [`sim`] on virtual time.

pub mod clock;
mod pauses;
pub mod sim;
mod tasks;
pub mod threads;
pub mod wheel;
pub mod worker;

use crate::device::DeviceCaps;
use crate::stack::shared::LinkCaps;

/// What the stack may leave to a device.
pub fn link_caps(caps: &DeviceCaps) -> LinkCaps {
    LinkCaps {
        mtu: caps.mtu,
        max_packet: caps.max_packet,
        // Who cuts segments has to finish their checksums, too.
        tso: caps.tso && caps.tx_checksum,
        tx_checksum: caps.tx_checksum,
    }
}
