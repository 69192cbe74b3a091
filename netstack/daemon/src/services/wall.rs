//! The time of day that services tell.

use std::time::Duration;

use chrono::{DateTime, Utc};
use netstack::net::Stack;
use netstack::net::time::Time;

/// A clock of the wall.
#[derive(Clone, Debug)]
pub(crate) enum Wall {
    /// The machine's.
    Machine,
    /// The time of the stack's turn: it can be repeated.
    Stack {
        time: Time,
        /// Unix time of the stack's time zero.
        origin: Duration,
    },
}

impl Wall {
    /// Returns the clock that goes with a stack's.
    pub(crate) fn of_stack(stack: &Stack, origin: Duration) -> Self {
        Self::Stack {
            time: stack.time(),
            origin,
        }
    }

    /// Returns the time.
    pub(super) fn now(&self) -> DateTime<Utc> {
        match self {
            Self::Machine => Utc::now(),
            Self::Stack { time, origin } => {
                let unix = *origin + Duration::from_nanos(time.now().as_nanos());
                let seconds = i64::try_from(unix.as_secs()).unwrap_or(i64::MAX);
                DateTime::from_timestamp(seconds, unix.subsec_nanos()).unwrap_or_default()
            }
        }
    }
}
