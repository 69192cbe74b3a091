//! The part that a command adds to the daemon: `proxy` and `forward` are `run` with a job.

use crate::confine::Needs;

/// A job. `W` wraps each queue of the device, `P` opens what needs rights, and `B` begins with that on the running stack.
/// What `B` returns is dropped when the stack has ended.
#[derive(Debug)]
pub(crate) struct Job<W, P, B> {
    pub(crate) needs: Needs,
    pub(crate) wrap: W,
    pub(crate) prepare: P,
    pub(crate) begin: B,
}
