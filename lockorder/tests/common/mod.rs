//! Helpers of several tests.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Returns the message of a panic in `f`.
pub(crate) fn panic_in<R>(f: impl FnOnce() -> R) -> String {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(_) => panic!("it did not panic"),
        Err(payload) => *payload.downcast::<String>().expect("a message"),
    }
}
