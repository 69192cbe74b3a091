//! The ways of a stack to rest and back: recalling connections, waiting for the workers, letting them go on.

use std::task::Waker;

use super::foreign::{locked, wake_all};
use super::host::Host;
use super::mailbox::Message;

/// Ends the calls of every task that waits for a connection, and those that come: see [`Recalled`].
pub(crate) fn recall(host: &Host) {
    host.freeze.recall();
    let connections = locked(|key| host.tcp.connections.snapshot(&mut key.ctx()));
    let mut wakers: Vec<Waker> = Vec::new();
    for connection in connections {
        connection.with_state(|state| {
            state.reader.drain_into(&mut wakers);
            state.writer.drain_into(&mut wakers);
        });
    }
    wake_all(wakers);
    host.workers.count_panics();
}

/// Returns true if every worker has come as far as the stage of the stack.
pub(crate) fn is_reached(host: &Host) -> bool {
    let mark = host.freeze.mark();
    (0..host.workers.count()).all(|index| host.workers[index].reached.has(mark))
}

/// Wakes the workers that have not come as far as the stage of the stack.
pub(crate) fn wake_late(host: &Host) {
    let mark = host.freeze.mark();
    for index in 0..host.workers.count() {
        let worker = &host.workers[index];
        if !worker.reached.has(mark) {
            // It has nothing to do for this message, but looks at the stage.
            worker.mailbox.send(Message::Timer);
        }
    }
}

/// Lets the workers go on, and calls on connections with them.
pub(crate) fn thaw(host: &Host) {
    host.freeze.run();
    for index in 0..host.workers.count() {
        host.workers[index].mailbox.send(Message::Timer);
    }
}
