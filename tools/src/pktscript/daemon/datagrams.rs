//! Sockets for datagrams that the daemon carries.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::streams::failed;
use super::{options, zero};
use crate::live::control::{Nc, News, SocketOptions};
use crate::pktscript::host::Returned;

/// A socket for datagrams. The daemon connects it to the first that sends to it.
pub(super) struct Datagrams {
    nc: Nc,
    pub(super) local: SocketAddr,
    remote: Option<SocketAddr>,
    unread: VecDeque<Vec<u8>>,
    /// The daemon's sentence about its end, until it is told.
    error: Option<String>,
    is_over: bool,
}

impl Datagrams {
    pub(super) fn new(nc: Nc, local: SocketAddr, remote: Option<SocketAddr>) -> Self {
        Self {
            nc,
            local,
            remote,
            unread: VecDeque::new(),
            error: None,
            is_over: false,
        }
    }

    /// Takes what has happened.
    pub(super) fn look(&mut self) {
        while let Some(news) = self.nc.news() {
            match news {
                News::Data(bytes) => self.unread.push_back(bytes),
                News::Connected { remote, .. } => self.remote = remote.or(self.remote),
                News::Eof | News::OptionsSet => {}
                News::Ended => self.is_over = true,
                News::Failed(why) => {
                    self.is_over = true;
                    self.error = Some(why);
                }
            }
        }
    }

    /// Returns true if a read returns something.
    pub(super) fn is_readable(&self) -> bool {
        self.has_error() || !self.unread.is_empty()
    }

    /// Returns true if an error is to be told.
    pub(super) fn has_error(&self) -> bool {
        self.error.is_some()
    }

    /// Takes the next datagram, or looks at it; `None` if that would block.
    pub(super) fn receive(&mut self, len: usize, peek: bool) -> Option<Returned> {
        if let Some(why) = self.error.take() {
            return Some(failed(&why));
        }
        let mut datagram = match peek {
            true => self.unread.front().cloned(),
            false => self.unread.pop_front(),
        }?;
        datagram.truncate(len);
        let count = i64::try_from(datagram.len()).unwrap_or(i64::MAX);
        Some(Returned::Value(count, datagram))
    }

    /// Sends a datagram to the peer.
    pub(super) fn send(&mut self, data: &[u8], to: Option<SocketAddr>) -> Returned {
        if let Some(why) = self.error.take() {
            return failed(&why);
        }
        let what = match (self.remote, to) {
            (None, None) => return Returned::Error("EDESTADDRREQ"),
            _ if self.is_over => "a datagram after an error, against the daemon",
            (Some(remote), to) if to.is_none_or(|to| to == remote) => {
                return match self.nc.send_data(data) {
                    Ok(()) => Returned::Value(data.len() as i64, Vec::new()),
                    Err(why) => Returned::Unsupported(why),
                };
            }
            _ => "a datagram to another than the one who sent first, against the daemon",
        };
        Returned::Unsupported(what.to_owned())
    }

    /// Sets options.
    pub(super) fn set_options(&mut self, options: &SocketOptions) -> Returned {
        if self.is_over {
            return Returned::Error("EINVAL");
        }
        options::set(&mut self.nc, options)
    }

    /// Returns the pending error and forgets it.
    pub(super) fn take_error(&mut self) -> Option<Returned> {
        self.error.take().map(|why| failed(&why))
    }

    /// Closes it, and waits until that is done.
    pub(super) fn close(mut self) -> Returned {
        if self.is_over {
            return zero();
        }
        match self.nc.close_now() {
            Ok(()) => zero(),
            Err(why) => Returned::Unsupported(why),
        }
    }
}
