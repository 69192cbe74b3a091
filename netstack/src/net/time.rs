//! Sleeping, time limits and intervals by a stack's own clock.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::stack::Stack;
use crate::base::Instant;
use crate::stack::Host;
use crate::stack::sleep::Sleeping;

/// The time of a stack: the machine's, or the virtual time of the simulation or loop that turns the stack.
///
/// Tasks on a worker, and programs under simulation, take their time from here: a runtime's timers need that runtime,
/// and know nothing of virtual time. A clone does not keep the stack running.
///
/// All futures of this type are cancel safe, and fail with the reason when the stack ends.
///
/// ```
/// use std::time::Duration;
/// use netstack::base::{Config, Instant};
/// use netstack::device::Device as _;
/// use netstack::device::memory::{LinkConfig, pair};
/// use netstack::engine::sim::Simulation;
/// use netstack::net::Stack;
/// use netstack::stack::Host;
///
/// let (a, _b) = pair(&LinkConfig::default());
/// let host = Host::new(Config::default(), &[([10, 77, 0, 1].into(), 24)], a.caps(), 1, [0; 32])?;
/// let mut sim = Simulation::new(Instant::ZERO);
/// let place = sim.add(&host, 0, a);
/// let stack = Stack::from_host(host);
/// let time = stack.time();
/// sim.spawn(place, async move {
///     let mut beats = time.interval(Duration::from_secs(3_600));
///     for hour in 0..24 {
///         assert_eq!(beats.tick().await.unwrap(), Instant::from_millis(3_600_000 * hour));
///     }
///     let never = time.timeout(Duration::from_secs(5), std::future::pending::<()>());
///     assert_eq!(never.await.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
/// });
/// sim.run(Instant::from_millis(86_400_000))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Time {
    host: Arc<Host>,
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Time").field(&self.now()).finish()
    }
}

impl Stack {
    /// Returns the stack's clock and timers.
    pub fn time(&self) -> Time {
        Time::of(&self.host)
    }
}

impl Time {
    pub(super) fn of(host: &Arc<Host>) -> Self {
        Self {
            host: Arc::clone(host),
        }
    }

    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    /// Returns the current time.
    pub fn now(&self) -> Instant {
        self.host.clock.now()
    }

    /// Waits for `duration` from now.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(self.now() + duration)
    }

    /// Waits until `deadline`. One that has passed is over at once.
    pub fn sleep_until(&self, deadline: Instant) -> Sleep {
        Sleep {
            host: Arc::clone(&self.host),
            sleeping: Sleeping::new(deadline),
        }
    }

    /// Waits for `future`, but not longer than `duration` from now. A future that is ready when the time has passed
    /// succeeds.
    ///
    /// # Errors
    /// `TimedOut` after that time, or the reason for which the stack ended.
    pub fn timeout<F: Future>(
        &self,
        duration: Duration,
        future: F,
    ) -> impl Future<Output = io::Result<F::Output>> + use<F> {
        let sleep = self.sleep(duration);
        async move {
            let (mut future, mut sleep) = (pin!(future), pin!(sleep));
            std::future::poll_fn(|cx| {
                if let Poll::Ready(output) = future.as_mut().poll(cx) {
                    return Poll::Ready(Ok(output));
                }
                ready!(sleep.as_mut().poll(cx))?;
                Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("not ready after {duration:?}"),
                )))
            })
            .await
        }
    }

    /// Returns an interval that ticks now, and then every `period` (at least a nanosecond).
    pub fn interval(&self, period: Duration) -> Interval {
        Interval {
            sleep: self.sleep_until(self.now()),
            period: period.max(Duration::from_nanos(1)),
        }
    }
}

/// The future of [`Time::sleep`].
#[must_use = "a sleep does nothing unless it is awaited"]
pub struct Sleep {
    host: Arc<Host>,
    sleeping: Sleeping,
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sleep").field(&self.deadline()).finish()
    }
}

impl Sleep {
    /// Returns when the sleep ends.
    pub fn deadline(&self) -> Instant {
        self.sleeping.deadline()
    }

    /// Moves the end of the sleep to `deadline`. A task that waits for it must poll it again.
    pub fn reset(&mut self, deadline: Instant) {
        self.sleeping.forget(&self.host);
        self.sleeping = Sleeping::new(deadline);
    }
}

impl Future for Sleep {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { host, sleeping } = self.get_mut();
        let slept = sleeping.poll(host, cx.waker());
        slept.map_err(io::Error::from)
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.sleeping.forget(&self.host);
    }
}

/// Ticks at regular times; see [`Time::interval`].
#[derive(Debug)]
pub struct Interval {
    sleep: Sleep,
    period: Duration,
}

impl Interval {
    /// Waits for the next tick and returns the time for which it was due. Ticks that were missed are skipped.
    ///
    /// # Errors
    /// The stack ended.
    pub async fn tick(&mut self) -> io::Result<Instant> {
        std::future::poll_fn(|cx| Pin::new(&mut self.sleep).poll(cx)).await?;
        let due = self.sleep.deadline();
        let late = self.sleep.host.clock.now().saturating_since(due);
        let periods = late.as_nanos() / self.period.as_nanos() + 1;
        let step = self.period.as_nanos().saturating_mul(periods);
        let step = Duration::from_nanos(u64::try_from(step).unwrap_or(u64::MAX));
        self.sleep.reset(due + step);
        Ok(due)
    }
}
