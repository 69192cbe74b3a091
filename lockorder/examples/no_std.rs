//! Without the standard library: a library for a target that has no thread-locals.
//!
//! ```sh
//! cargo build -p lockorder --example no_std --no-default-features --features spin
//! ```
#![no_std]
// The constructor whose contract the caller keeps.
#![allow(unsafe_code)]

use lockorder::{Key, Mutex, RwLock};

/// The locks of the kernel.
pub mod levels {
    lockorder::lock_order! {
        /// The root.
        pub domain Kernel;
        /// The run queue.
        level Queue;
        /// The frame pool.
        level Pool;
        Kernel => Queue => Pool;
    }
}

static QUEUE: Mutex<levels::Queue, u32> = Mutex::new(0);
static POOL: RwLock<levels::Pool, u32> = RwLock::new(64);

/// Enters the kernel on this processor.
///
/// # Safety
///
/// Called once per processor, and not from an interrupt handler.
pub unsafe fn enter() -> u32 {
    // SAFETY: the one key of this processor, says this function's contract.
    let mut key = unsafe { Key::<levels::Kernel>::assume() };
    QUEUE.with(&mut key.ctx(), |queue, ctx| {
        *queue += POOL.with_read(ctx, |free, _| *free);
        *queue
    })
}
