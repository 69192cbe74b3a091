//! hyper's timers on the stack's clock: a worker is no runtime with timers of its own. No other clock is read for a deadline, so that
//! a recording is replayed to the same one.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use netstack::net::time::{Sleep as StackSleep, Time};

/// Makes timers for hyper.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    time: Time,
    /// hyper's name for the time `origin_at` of the stack. Only differences to it count.
    origin: Instant,
    origin_at: netstack::base::Instant,
}

impl Clock {
    pub(super) fn new(time: Time) -> Self {
        let origin_at = time.now();
        // There is no other way to make one.
        #[allow(clippy::disallowed_methods)]
        let origin = Instant::now();
        Self {
            time,
            origin,
            origin_at,
        }
    }
}

impl Timer for Clock {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(Waiting(self.time.sleep(duration)))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let after = deadline.saturating_duration_since(self.origin);
        Box::pin(Waiting(self.time.sleep_until(self.origin_at + after)))
    }

    fn now(&self) -> Instant {
        self.origin + self.time.now().saturating_since(self.origin_at)
    }
}

/// A sleep that is over when the stack has ended, too.
struct Waiting(StackSleep);

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Future for Waiting {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

impl Sleep for Waiting {}

#[cfg(test)]
mod tests {
    use netstack::base::{Config, Instant as StackInstant};
    use netstack::device::Device as _;
    use netstack::device::memory::{LinkConfig, pair};
    use netstack::engine::sim::Simulation;
    use netstack::net::Stack;
    use netstack::stack::Host;

    use super::*;

    #[test]
    fn only_the_clock_of_the_stack_moves_it() {
        let (device, _peer) = pair(&LinkConfig::default());
        let address = ([10, 77, 0, 1].into(), 24);
        let host = Host::new(Config::default(), &[address], device.caps(), 1, [7; 32]);
        let host = host.expect("a stack");
        let start = StackInstant::from_millis(5_000);
        let mut sim = Simulation::new(start);
        sim.add(&host, 0, device);
        let mut run_to = |millis| {
            let limit = StackInstant::from_millis(millis);
            sim.run_until(limit, |_| false).expect("it runs");
        };
        run_to(6_000);
        let clock = Clock::new(Stack::from_host(host).time());
        let begun = clock.now();
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(clock.now(), begun);
        run_to(7_000);
        assert_eq!(clock.now(), begun + Duration::from_secs(1));
    }
}
