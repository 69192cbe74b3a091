//! The requests of one client, one after the other.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use super::channel::{self, Line, Lines, Replies};
use super::protocol::{End, Hello, PROTOCOL, Reply, Request};
use super::rows::SocketFilter;
use super::server::{Clients, Right};
use super::{Target, capture, events, netcat, ping, stats};
use crate::restart::hand_over;

/// Time that a client may be connected without a request.
const IDLE_TIME: Duration = Duration::from_secs(60);

/// Time that the answer to `ss` may take, however slowly the client reads it.
const LIST_TIME: Duration = Duration::from_secs(30);

/// Shortest and longest pause after a list was made or counters were read.
const SHORTEST_REST: Duration = Duration::from_millis(1);
const LONGEST_REST: Duration = Duration::from_secs(2);

/// Time that passes after a line that is no request, or is for no connection.
const WRONG_PAUSE: Duration = Duration::from_millis(10);

/// One client.
#[derive(Debug)]
pub(super) struct Session {
    target: Arc<Target>,
    clients: Arc<Clients>,
    right: Right,
}

impl Session {
    pub(super) fn new(target: Arc<Target>, clients: Arc<Clients>, right: Right) -> Self {
        Self {
            target,
            clients,
            right,
        }
    }

    /// Serves the client until it goes.
    ///
    /// # Errors
    /// It was disconnected: it sent what is no line, was idle, or did not read an answer.
    pub(super) async fn run(self, stream: UnixStream) -> io::Result<()> {
        let (mut lines, mut replies) = channel::split(stream);
        replies.send(&self.hello()).await?;
        loop {
            let line = match timeout(IDLE_TIME, lines.next()).await {
                Ok(Ok(Some(line))) => line,
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(error)) => {
                    replies.send(&error_reply(&error)).await?;
                    return Err(error);
                }
                Err(_) => {
                    let message = "no request came for a minute: connect again".to_owned();
                    replies.send(&Reply::Error { message }).await?;
                    return Err(io::ErrorKind::TimedOut.into());
                }
            };
            match line {
                Line::Request(request) => self.answer(request, &mut lines, &mut replies).await?,
                Line::Wrong(message) => {
                    replies.send(&Reply::Error { message }).await?;
                    sleep(WRONG_PAUSE).await;
                }
            }
        }
    }

    fn hello(&self) -> Reply {
        let addresses = self.target.stack().addresses();
        Reply::Hello(Hello {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            tun: self.target.tun.clone(),
            pid: std::process::id(),
            addresses: addresses.iter().map(ToString::to_string).collect(),
            may_change: self.right == Right::Owner,
        })
    }

    async fn answer(
        &self,
        request: Request,
        lines: &mut Lines,
        replies: &mut Replies,
    ) -> io::Result<()> {
        let target = &*self.target;
        match request {
            Request::Ss(filter) => {
                let answered = timeout(LIST_TIME, self.list(&filter, replies)).await;
                answered.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            }
            Request::Stats {} => {
                // It is never closed.
                let _reading = self
                    .clients
                    .reading
                    .acquire()
                    .await
                    .map_err(io::Error::other)?;
                let begun = Instant::now();
                replies
                    .add(&Reply::Stats(Box::new(stats::read(target))))
                    .await?;
                sleep(rest_after(begun)).await;
                replies.flush().await
            }
            // Its connection ended before this line came.
            Request::Data { .. }
            | Request::Eof {}
            | Request::Options(_)
            | Request::Stop {}
            | Request::Descriptors {}
            | Request::Ready {}
            | Request::Taken { .. } => {
                sleep(WRONG_PAUSE / 10).await;
                Ok(())
            }
            _ if self.right == Right::Onlooker => {
                let message = "this needs the user that netstackd runs as, or root: other users can only ask for ss and \
                               stats"
                    .to_owned();
                replies.send(&Reply::Error { message }).await
            }
            Request::Ping(_) | Request::Nc(_) if target.is_recording() => {
                let message = "this daemon is recorded (--record), and a recording holds what its device brings, not what \
                               clients ask for: look with ss, stats, events and capture, or use another daemon"
                    .to_owned();
                replies.send(&Reply::Error { message }).await
            }
            Request::Events(wanted) => events::serve(target, &wanted, lines, replies).await,
            Request::Capture(wanted) => capture::serve(target, &wanted, lines, replies).await,
            Request::Ping(wanted) => ping::serve(target, &wanted, lines, replies).await,
            Request::TakeOver(wanted) => hand_over::serve(target, &wanted, lines, replies).await,
            Request::Nc(wanted) => netcat::serve(target, &wanted, lines, replies).await,
        }
    }

    /// Sends the sockets that a filter accepts.
    async fn list(&self, filter: &SocketFilter, replies: &mut Replies) -> io::Result<()> {
        let lists = match self.right {
            Right::Owner => &self.clients.owner_lists,
            Right::Onlooker => &self.clients.onlooker_lists,
        };
        // Neither semaphore is ever closed.
        let _sending = lists.acquire().await.map_err(io::Error::other)?;
        let (rows, omitted) = {
            let _making = self
                .clients
                .listing
                .acquire()
                .await
                .map_err(io::Error::other)?;
            let begun = Instant::now();
            let rows = filter.rows_of(&self.target.stack());
            sleep(rest_after(begun)).await;
            rows
        };
        let count = rows.len() as u64;
        for row in rows {
            replies.add(&Reply::Socket(Box::new(row))).await?;
        }
        let end = End {
            count,
            omitted,
            ..End::default()
        };
        replies.send(&Reply::End(end)).await
    }
}

/// Returns the pause after which no more than a fifth of a core went into what has begun then.
pub(crate) fn rest_after(begun: Instant) -> Duration {
    (begun.elapsed() * 4).clamp(SHORTEST_REST, LONGEST_REST)
}

pub(super) fn error_reply(error: &io::Error) -> Reply {
    Reply::Error {
        message: error.to_string(),
    }
}
