//! UDP sockets as an application uses them.
//!
//! | file | |
//! |---|---|
//! | `bind` | binding, connecting and closing a socket |
//! | `flow` | the sockets of flows |
//! | `path` | the path MTU |
//! | `recv` | receiving, and waiting for a datagram |
//! | `send` | sending, and waiting for room to send |
//! | `sockets` | all sockets |
//! | `error` | the errors of these calls |

mod bind;
mod error;
mod flow;
mod path;
mod recv;
mod send;
mod sockets;

pub(crate) use bind::{bind, bind_any, bind_shared, connect, connected, peer, unbind};
pub(crate) use flow::{end_idle, flow};
pub(crate) use path::{path_mtu, set_path_mtu};
pub(crate) use recv::{
    forget, poll_peek, poll_readable, poll_recv, poll_recv_many, poll_recv_segments, queue_bytes,
    set_queue_bytes, take_error,
};
pub(crate) use send::{Content, Ends, own_payload, poll_send, poll_writable};
pub(in crate::stack) use sockets::all;
pub(crate) use sockets::wake_all;
