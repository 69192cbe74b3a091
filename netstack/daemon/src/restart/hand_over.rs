//! The side that hands over, on the control socket.

use std::io;
use std::time::Duration;

use netstack::net::Checkpoint;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{Ask, Desk, State};
use crate::control::Target;
use crate::control::channel::{Line, Lines, Replies};
use crate::control::protocol::{Reply, Request, TakeOverRequest};

/// Time that the new process has for its next line: it makes a stack in it.
const LINE_TIME: Duration = Duration::from_secs(30);

/// Lets the main thread go on unless the new process has the device.
struct Resting<'a>(Option<&'a Desk>);

impl Drop for Resting<'_> {
    fn drop(&mut self) {
        if let Some(desk) = self.0 {
            (desk.ask)(Ask::GoOn);
        }
    }
}

/// Serves a process that takes over.
///
/// # Errors
/// The process is gone: this one goes on.
pub(crate) async fn serve(
    target: &Target,
    wanted: &TakeOverRequest,
    lines: &mut Lines,
    replies: &mut Replies,
) -> io::Result<()> {
    match refusal(target, wanted) {
        Ok(desk) => {
            let Ok(_place) = desk.places.try_acquire() else {
                let message = "another process is taking over: wait until it has, or has failed";
                return refuse(replies, message).await;
            };
            hand_over(desk, target.stack().mtu(), lines, replies).await
        }
        Err(message) => refuse(replies, &message).await,
    }
}

/// Checks that this daemon can hand over to that version.
fn refusal<'a>(target: &'a Target, wanted: &TakeOverRequest) -> Result<&'a Desk, String> {
    let own = (Checkpoint::FORMAT, env!("CARGO_PKG_VERSION"));
    if wanted.format != own.0 {
        return Err(format!(
            "this netstackd ({}) hands over in format {}, and the new one ({}) takes format {}: it must be stopped and \
             started instead",
            own.1, own.0, wanted.version, wanted.format
        ));
    }
    let desk = target.desk.as_ref();
    let desk = desk.filter(|desk| !desk.queues.is_empty());
    let desk = desk.ok_or_else(|| {
        "this netstackd cannot hand its device over: it is recorded, or its device has no descriptors"
            .to_owned()
    })?;
    if desk.job != wanted.job {
        return Err(format!(
            "this is netstackd {}, and the new process netstackd {}, which cannot go on with its flows: take over with \
             netstackd {}",
            desk.job, wanted.job, desk.job
        ));
    }
    Ok(desk)
}

async fn refuse(replies: &mut Replies, message: &str) -> io::Result<()> {
    let message = message.to_owned();
    replies.send(&Reply::Error { message }).await
}

async fn hand_over(
    desk: &Desk,
    mtu: u16,
    lines: &mut Lines,
    replies: &mut Replies,
) -> io::Result<()> {
    let queues = Reply::Queues {
        count: desk.queues.len(),
        mtu,
        listening: desk
            .listening
            .iter()
            .map(|(name, _)| name.clone())
            .collect(),
    };
    replies.send(&queues).await?;
    if !matches!(next(lines).await?, Request::Descriptors {}) {
        return refuse(replies, "the queues were offered: ask for descriptors").await;
    }
    replies.send_descriptors(&desk.queues).await?;
    let ports: Vec<_> = desk.listening.iter().map(|(_, port)| port).collect();
    replies.send_descriptors(&ports).await?;
    if !matches!(next(lines).await?, Request::Ready {}) {
        return refuse(replies, "the descriptors were sent: say ready").await;
    }
    let mut resting = Resting(Some(desk));
    let (sender, state) = oneshot::channel();
    (desk.ask)(Ask::Rest(sender));
    let state = state.await.map_err(io::Error::other)?;
    let state = match state {
        Ok(state) => state,
        Err(message) => return refuse(replies, &message).await,
    };
    send(&state, lines, replies).await?;
    drop(state);
    let Request::Taken { control } = next(lines).await? else {
        return refuse(replies, "the state was sent: say taken").await;
    };
    let (sender, committed) = oneshot::channel();
    (desk.ask)(Ask::Commit(control, sender));
    if !committed.await.unwrap_or(false) {
        return refuse(replies, "it is too late: this netstackd is stopping").await;
    }
    replies.send(&Reply::Yours {}).await?;
    resting.0 = None;
    (desk.ask)(Ask::Leave(replies.client_process()));
    Ok(())
}

/// Sends the state, and the descriptors that are asked for.
async fn send(state: &State, lines: &mut Lines, replies: &mut Replies) -> io::Result<()> {
    let State {
        stack,
        carried,
        descriptors,
    } = state;
    let line = Reply::State {
        bytes: (stack.len() + carried.len()) as u64,
        carried: carried.len() as u64,
        descriptors: descriptors.len(),
    };
    replies.send(&line).await?;
    replies.send_raw(stack).await?;
    replies.send_raw(carried).await?;
    if descriptors.is_empty() {
        return Ok(());
    }
    // Behind the bytes, so that none of them is read without the descriptors that come with it.
    if !matches!(next(lines).await?, Request::Descriptors {}) {
        return Err(io::Error::other("the state was sent: ask for descriptors"));
    }
    replies.send_descriptors(descriptors).await
}

/// Returns the next request of the new process.
async fn next(lines: &mut Lines) -> io::Result<Request> {
    match timeout(LINE_TIME, lines.next()).await {
        Ok(Ok(Some(Line::Request(request)))) => Ok(request),
        Ok(Ok(Some(Line::Wrong(why)))) => Err(io::Error::other(why)),
        Ok(Ok(None)) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}
