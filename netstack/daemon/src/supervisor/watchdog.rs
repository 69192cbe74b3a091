//! The pulse of the stack: every worker is asked, and answers from its own turn.
//!
//! * **Define.** A round is complete when each worker has run a task that was sent to it in that round.
//! * **Enforce.** [`Pulse::answered`] alone completes a round. It counts the answers that the main thread receives, so that
//!   thread is alive, too. The next round begins when the last one is complete, so questions do not pile up.
//! * **Consume.** The supervisor is told that the daemon serves after the first round, and that it is alive after each
//!   later one. A worker that hangs ends the messages.
//!
//! A recorded stack runs only what its device brings, so its worker is not asked: [`Pulse::pass`].

use std::time::Duration;

use netstack::net::Stack;

/// Rounds in the time after which the supervisor ends a silent daemon.
const ROUNDS: u32 = 3;

/// Shortest time from round to round: the workers have other work, too.
const SHORTEST: Duration = Duration::from_millis(10);

/// The rounds of questions to the workers.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// Time from round to round, if a supervisor waits for more than the first.
    every: Option<Duration>,
    round: u64,
    /// Answers that are still to come.
    missing: usize,
    /// When the next round is due.
    due: Duration,
}

impl Pulse {
    /// Makes ready for the first round, and for later ones if a supervisor waits for them.
    pub(crate) fn new() -> Self {
        Self {
            every: sd_notify::watchdog_enabled().map(|time| (time / ROUNDS).max(SHORTEST)),
            round: 0,
            missing: 0,
            due: Duration::ZERO,
        }
    }

    /// Returns the time until the next round is due.
    pub(crate) fn wait(&self, now: Duration) -> Option<Duration> {
        let is_idle = self.missing == 0 && (self.round == 0 || self.every.is_some());
        is_idle.then(|| self.due.saturating_sub(now))
    }

    /// Asks the workers if a round is due. Each calls `answer` with the number of the round.
    pub(crate) fn ask(
        &mut self,
        now: Duration,
        stack: &Stack,
        answer: impl Fn(u64) + Clone + Send + 'static,
    ) {
        if self.wait(now) != Some(Duration::ZERO) {
            return;
        }
        self.begin(now, stack.workers());
        for worker in 0..stack.workers() {
            let (answer, round) = (answer.clone(), self.round);
            stack.spawn_on(worker, async move { answer(round) });
        }
    }

    /// Completes a round that is due without asking, and returns its number.
    pub(crate) fn pass(&mut self, now: Duration) -> Option<u64> {
        if self.wait(now) != Some(Duration::ZERO) {
            return None;
        }
        self.begin(now, 0);
        Some(self.round)
    }

    fn begin(&mut self, now: Duration, workers: usize) {
        self.round += 1;
        self.missing = workers;
        self.due = now.saturating_add(self.every.unwrap_or_default());
    }

    /// Takes in an answer. Returns the number of the round if it is complete with this one.
    pub(crate) fn answered(&mut self, round: u64) -> Option<u64> {
        if round != self.round || self.missing == 0 {
            return None;
        }
        self.missing -= 1;
        (self.missing == 0).then_some(round)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulse(every: Option<Duration>) -> Pulse {
        Pulse {
            every,
            ..Pulse::new()
        }
    }

    #[test]
    fn a_round_is_complete_when_every_worker_has_answered_and_not_before() {
        let second = Duration::from_secs(1);
        let mut pulse = pulse(Some(second));
        assert_eq!(pulse.wait(second), Some(Duration::ZERO));
        pulse.begin(second, 3);
        assert_eq!(
            pulse.wait(10 * second),
            None,
            "no question on top of another"
        );
        assert_eq!(pulse.answered(1), None);
        assert_eq!(pulse.answered(7), None, "of no such round");
        assert_eq!(pulse.answered(1), None);
        assert_eq!(pulse.answered(1), Some(1));
        assert_eq!(pulse.answered(1), None);
        assert_eq!(pulse.wait(second), Some(second));
        assert_eq!(pulse.wait(3 * second), Some(Duration::ZERO));
    }

    #[test]
    fn a_round_without_questions_is_complete_at_once() {
        let second = Duration::from_secs(1);
        let mut pulse = pulse(Some(second));
        assert_eq!(pulse.pass(second), Some(1));
        assert_eq!(pulse.pass(second), None, "not due yet");
        assert_eq!(pulse.pass(2 * second), Some(2));
    }

    #[test]
    fn without_a_watchdog_there_is_one_round() {
        let mut pulse = pulse(None);
        pulse.begin(Duration::ZERO, 1);
        assert_eq!(pulse.answered(1), Some(1));
        assert_eq!(pulse.wait(Duration::from_secs(9)), None);
    }
}
