//! Memory in the locked stack: what is done about it while it is short.
//!
//! `packet` counts every buffer against one budget, charges each slab to the flow that holds it, and says what
//! a flow's fair share is. Queues ask for their share when something comes in. What is queued already is the
//! subject of this folder: while memory is short, each worker looks after the connections of its own that hold
//! memory, in rounds.
//!
//! | step | at | done by |
//! |---|---|---|
//! | stop growing windows, offer the share | pressure | `tcp::recv::window`, per segment |
//! | keep payload in memory of its own length | pressure | [`packet::buf::Memory::keep`] per segment; `rounds` for what is queued |
//! | refuse what adds to queues above the share | pressure | [`packet::buf::Memory::room`], per segment, datagram and write |
//! | drop out-of-order data, the newest datagrams, fragments | limit | `rounds` |
//! | refuse new connections | limit | `tcp::inbound`, `tcp::open` |
//! | abort the connections that hold most and made no progress longest, orphans first | limit | `rounds` |
//!
//! | file | |
//! |---|---|
//! | `size` | from the number in the configuration to buffers |
//! | `holders` | the connections of one worker that hold memory |
//! | `trim` | when unused slabs are looked at |
//! | `rounds` | a worker's round over its holders, and the return of memory to the system |

pub(in crate::stack) mod holders;
pub mod rounds;
pub(in crate::stack) mod size;
pub(in crate::stack) mod trim;
