//! Tests of whole connections. Tests of one part are beside its code.
//!
//! | A test of | is in |
//! |---|---|
//! | segments that arrive before a connection is open (RFC 9293 section 3.10.7) | `opening` |
//! | the order and the outcome of the checks when a segment arrives (RFC 9293 section 3.10.7.4) | `arrives` |
//! | flow control: small segments, silly and closed windows | `flow` |
//! | the retransmission timer | `timeouts` |
//! | ICMP errors | `icmp` |
//! | paths that drop large segments silently | `black_hole` |
//! | paths that lose so much that they look like black holes | `unlucky` |
//! | probes of the path MTU, segment by segment | `mtu_probe` |
//! | the memory of queues | `memory` |
//! | loss recovery, segment by segment, and the congestion window | `recovery` |
//! | losses found by time, tail loss probes, needless recoveries | `rack` |
//! | closing and aborting, with something unread, or with bytes that were not sent yet | `closing` |
//! | when acknowledgments leave, and what they report | `acks` |
//! | keepalive, user timeout, FIN-WAIT-2 | `lifetime` |
//! | timestamps of the peer, TIME-WAIT and its reuse | `timestamps` |
//! | many segments in one turn | `batch` |
//! | congestion marks, in both languages, segment by segment | `ecn` |
//! | streams over links that mark | `ecn_streams` |
//! | the edges of windows, signs of life | `edges` |
//! | the events that a subscriber gets | `events` |
//! | what `TcpInfo` counts | `info` |
//! | the checks of the invariants themselves | `invariants` |
//! | segments that no sane peer sends | `fuzz` |
//! | a peer that lies about what it received, under each congestion control | `lies` |
//! | the times at which paced segments leave, the algorithm of a socket | `pacing` |
//! | a stream over a good or a bad link | `transfer` |
//! | thousands of seeded lives under every mixture of options and impairments | `chaos` |
//! | connections that are aborted or cut off at any moment | `ends` |
//! | the rate over lossy and reordering links, on virtual time | `goodput` |
//! | the cost of a segment, measured by hand | `pump` |
//!
//! `rig` is one connection with a peer that a test plays by hand: use it where the test is about single
//! segments. `link` is two connections with a link between them: use it where the test is about
//! streams. Both check the invariants after every call.

mod acks;
mod arrives;
mod batch;
mod black_hole;
mod chaos;
mod checkpoint;
mod closing;
mod ecn;
mod ecn_streams;
mod edges;
mod ends;
mod events;
mod fast_open;
mod flow;
mod fuzz;
mod goodput;
mod icmp;
mod info;
mod invariants;
mod lies;
mod lifetime;
mod link;
mod memory;
mod mtu_probe;
mod opening;
mod pacing;
mod pump;
mod rack;
mod recovery;
mod rest;
mod rig;
mod send_times;
mod timeouts;
mod timestamps;
mod transfer;
mod unlucky;
