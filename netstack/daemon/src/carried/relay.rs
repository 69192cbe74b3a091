//! Bytes both ways between a connection of the stack and one of the machine.
//!
//! Each direction ends on its own: the end of one side's data becomes the end of the other's. An error of either becomes
//! a reset of the other. A connection at rest holds no buffer.

use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use netstack::net::{ReadHalf, TcpStream, WriteHalf, is_recalled};
use packet::Payload;
use socket2::SockRef;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream as MachineStream;

use super::{Carrier, Parcel};

/// Most bytes that are read from the machine at once.
const READ_BYTES: usize = 64 << 10;

/// The bytes on the way between the two ends of a flow.
#[derive(Debug, Default)]
pub(crate) struct InHand {
    /// From the stack to the machine.
    pub(super) forth: Direction,
    /// From the machine to the stack.
    pub(super) back: Direction,
}

/// One direction of a flow. Each step of it either happens and is noted here, or does not happen: it can be given up at any
/// time.
#[derive(Debug, Default)]
pub(super) struct Direction {
    /// Bytes that were read and not yet written.
    pub(super) waiting: Payload,
    /// The end was passed on.
    pub(super) ended: bool,
}

/// The end of a flow's task.
enum Ended {
    /// Both directions have ended.
    Whole,
    /// One of them has failed.
    Failed,
    /// The flows are recalled.
    Recalled,
}

/// Carries both directions until both have ended. `early` came from the machine already.
pub(crate) async fn relay(
    carrier: &Arc<Carrier>,
    inner: TcpStream,
    outer: impl Into<Arc<MachineStream>>,
    early: Bytes,
) {
    // It fails only for values that cannot be.
    let _ = inner.set_nodelay(true);
    let mut hand = InHand::default();
    hand.back.waiting = early.into();
    carry(carrier, inner, outer.into(), hand).await;
}

/// Goes on with a flow until both directions have ended.
pub(super) async fn carry(
    carrier: &Arc<Carrier>,
    mut inner: TcpStream,
    mut outer: Arc<MachineStream>,
    mut hand: InHand,
) {
    let _live = carrier.enter();
    loop {
        match until_recalled(carrier, &mut inner, &outer, &mut hand).await {
            Ended::Whole => return,
            Ended::Failed => {
                let _ = inner.set_zero_linger();
                return reset(&outer);
            }
            Ended::Recalled => {
                let parcel = Parcel::Relay { inner, outer, hand };
                match carrier.put_down(parcel) {
                    Some(Parcel::Relay {
                        inner: next_inner,
                        outer: next_outer,
                        hand: next_hand,
                    }) => (inner, outer, hand) = (next_inner, next_outer, next_hand),
                    _ => return,
                }
            }
        }
    }
}

async fn until_recalled(
    carrier: &Carrier,
    inner: &mut TcpStream,
    outer: &MachineStream,
    hand: &mut InHand,
) -> Ended {
    let (read, write) = inner.split();
    let both = async {
        tokio::try_join!(
            forth(read, outer, &mut hand.forth),
            back(outer, write, &mut hand.back)
        )
    };
    tokio::select! {
        // First: a flow that was recalled is not touched.
        biased;
        () = carrier.recalled() => Ended::Recalled,
        ended = both => match ended {
            Ok(_) => Ended::Whole,
            Err(error) if is_recalled(&error) => Ended::Recalled,
            Err(_) => Ended::Failed,
        },
    }
}

/// Makes dropping the machine's connection a reset.
pub(crate) fn reset(stream: &MachineStream) {
    // It fails only if the socket has no connection any more.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

async fn forth(
    mut from: ReadHalf<'_>,
    to: &MachineStream,
    direction: &mut Direction,
) -> io::Result<()> {
    while !direction.ended {
        while !direction.waiting.is_empty() {
            match to.try_write(&direction.waiting) {
                Ok(count) => direction.waiting.advance(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => to.writable().await?,
                Err(error) => return Err(error),
            }
        }
        match from.recv_payload().await? {
            Some(payload) => direction.waiting = payload,
            None => {
                SockRef::from(to).shutdown(Shutdown::Write)?;
                direction.ended = true;
            }
        }
    }
    Ok(())
}

async fn back(
    from: &MachineStream,
    mut to: WriteHalf<'_>,
    direction: &mut Direction,
) -> io::Result<()> {
    while !direction.ended {
        while !direction.waiting.is_empty() {
            let count = to.write(&direction.waiting).await?;
            direction.waiting.advance(count);
        }
        from.readable().await?;
        let mut buffer = Vec::with_capacity(READ_BYTES);
        match from.try_read_buf(&mut buffer) {
            Ok(0) => {
                to.shutdown().await?;
                direction.ended = true;
            }
            Ok(_) => direction.waiting = Bytes::from(buffer).into(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
