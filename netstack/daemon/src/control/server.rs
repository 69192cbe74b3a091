//! Accepts clients, and decides what each may do.

use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::geteuid;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::Target;
use super::channel::{self, Replies};
use super::protocol::Reply;
use super::session::Session;

/// Most clients at once.
pub(super) const MAX_CLIENTS: usize = 32;

/// Most of them that may only look, so that others cannot keep the owner out.
const MAX_ONLOOKERS: usize = 8;

/// Time that passes after an error of `accept`, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The rights of a client, by the user that it runs as (`SO_PEERCRED`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// Everything: root, and the user that the daemon runs as.
    Owner,
    /// `ss` and `stats`: any other user that the mode of the socket lets in.
    Onlooker,
}

impl Right {
    fn of(stream: &UnixStream) -> io::Result<Self> {
        let uid = stream.peer_cred()?.uid();
        let is_owner = uid == 0 || uid == geteuid().as_raw();
        Ok(if is_owner {
            Self::Owner
        } else {
            Self::Onlooker
        })
    }
}

/// The clients that are connected, by their rights, and the turns of those that ask for every socket.
#[derive(Debug)]
pub(super) struct Clients {
    owners: AtomicUsize,
    onlookers: AtomicUsize,
    /// Lists of sockets that are being made: one at a time.
    pub(super) listing: Semaphore,
    /// Counters that are being read: by one client at a time.
    pub(super) reading: Semaphore,
    /// Lists that are being sent, to owners and to others.
    pub(super) owner_lists: Semaphore,
    pub(super) onlooker_lists: Semaphore,
}

impl Clients {
    fn new() -> Self {
        Self {
            owners: AtomicUsize::new(0),
            onlookers: AtomicUsize::new(0),
            listing: Semaphore::new(1),
            reading: Semaphore::new(1),
            owner_lists: Semaphore::new(2),
            onlooker_lists: Semaphore::new(1),
        }
    }

    fn admit(self: &Arc<Self>, right: Right) -> Option<Admitted> {
        let (count, most) = match right {
            Right::Owner => (&self.owners, MAX_CLIENTS - MAX_ONLOOKERS),
            Right::Onlooker => (&self.onlookers, MAX_ONLOOKERS),
        };
        // One thread alone counts.
        if count.load(Ordering::Relaxed) >= most {
            return None;
        }
        count.fetch_add(1, Ordering::Relaxed);
        Some(Admitted {
            clients: Arc::clone(self),
            right,
        })
    }
}

/// A client that counts.
#[derive(Debug)]
struct Admitted {
    clients: Arc<Clients>,
    right: Right,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let count = match self.right {
            Right::Owner => &self.clients.owners,
            Right::Onlooker => &self.clients.onlookers,
        };
        count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves clients for as long as the program runs.
///
/// # Errors
/// The socket cannot be used.
pub(super) async fn serve(listener: StdListener, target: Arc<Target>) -> io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    let clients = Arc::new(Clients::new());
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(target: "netstackd::control", "a client could not be accepted: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Who it is cannot be told: it is not served.
        let Ok(right) = Right::of(&stream) else {
            continue;
        };
        match clients.admit(right) {
            Some(admitted) => {
                let session = Session::new(Arc::clone(&target), Arc::clone(&clients), right);
                tokio::spawn(async move {
                    if let Err(error) = session.run(stream).await {
                        tracing::debug!(target: "netstackd::control", "a client was disconnected: {error}");
                    }
                    drop(admitted);
                });
            }
            None => refuse(&mut channel::split(stream).1).await,
        }
    }
}

async fn refuse(replies: &mut Replies) {
    let message = format!(
        "{MAX_CLIENTS} control clients are connected, {MAX_ONLOOKERS} of them at most of other users: end one of them, \
         then try again"
    );
    // A new socket has room for this line, so nobody waits for the client.
    let _ = replies.send(&Reply::Error { message }).await;
}
