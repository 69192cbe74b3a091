//! Applies the outcome of a segment to the stack: counts it, sends its reset, and queues its connection.

use std::sync::Arc;

use super::super::turn::Turn;
use super::connection::Connection;
use super::outbound::send_reset;
use crate::base::counters::Counter;
use crate::tcp::SegmentOutcome;

/// Counts what became of a segment, sends the reset that it asks for, and queues the connection.
pub(super) fn finish(
    turn: &mut Turn<'_>,
    connection: &Arc<Connection>,
    outcome: SegmentOutcome,
    is_reset: bool,
) {
    match outcome.drop {
        Some(reason) => turn.drop_packet(reason),
        None if is_reset => turn.count(Counter::TcpResetsIn, 1),
        None => {}
    }
    if let Some(rst) = outcome.rst {
        send_reset(turn, connection, rst);
    }
    turn.drive_later(connection);
}
