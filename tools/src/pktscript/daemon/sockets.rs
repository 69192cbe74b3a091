//! The sockets of a script, of which the daemon carries those that are open.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::datagrams::Datagrams;
use super::options::Keepalive;
use super::streams::{Stream, failed};
use crate::live::control::{Nc, News, SocketOptions};
use crate::pktscript::host::Returned;

/// A socket of the script.
pub(super) enum Kind {
    Fresh {
        v6: bool,
        udp: bool,
        local: Option<SocketAddr>,
    },
    Listener {
        local: SocketAddr,
        /// None for the moment between a connection and the next one.
        waiting: Option<Nc>,
        accepted: VecDeque<Stream>,
    },
    Connecting(Nc),
    Stream(Box<Stream>),
    Datagrams(Box<Datagrams>),
    /// With the error of its attempt to connect, until that is told.
    Failed(Option<Returned>),
}

pub(super) struct Open {
    pub(super) kind: Kind,
    pub(super) nonblocking: bool,
    /// The options that were set before the daemon had a socket.
    pub(super) options: SocketOptions,
    pub(super) keepalive: Keepalive,
}

impl Open {
    pub(super) fn new(kind: Kind, nonblocking: bool) -> Self {
        Self {
            kind,
            nonblocking,
            options: SocketOptions::default(),
            keepalive: Keepalive::default(),
        }
    }
}

impl Kind {
    /// Takes what has happened. Returns the address of a listener whose `nc` has got its connection.
    pub(super) fn look(&mut self) -> Option<SocketAddr> {
        match self {
            Self::Stream(stream) => stream.look(),
            Self::Datagrams(datagrams) => datagrams.look(),
            Self::Listener {
                local,
                waiting,
                accepted,
            } => {
                accepted.iter_mut().for_each(Stream::look);
                if let Some(News::Connected {
                    local: ours,
                    remote: Some(remote),
                }) = waiting.as_mut().and_then(Nc::news)
                {
                    let taken = waiting.take();
                    accepted.extend(taken.map(|nc| Stream::new(nc, ours, remote)));
                    return Some(*local);
                }
            }
            Self::Connecting(nc) => {
                let news = nc.news();
                self.connected(news);
            }
            Self::Fresh { .. } | Self::Failed(_) => {}
        }
        None
    }

    /// Takes the outcome of an attempt to connect.
    fn connected(&mut self, news: Option<News>) {
        match news {
            Some(News::Connected {
                local,
                remote: Some(remote),
            }) => {
                if let Self::Connecting(nc) = std::mem::replace(self, Self::Failed(None)) {
                    *self = Self::Stream(Box::new(Stream::new(nc, local, remote)));
                }
            }
            Some(News::Failed(why)) => *self = Self::Failed(Some(failed(&why))),
            _ => {}
        }
    }
}
