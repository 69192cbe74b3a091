//! Connections that the daemon carries.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::options;
use crate::live::control::{Nc, News, SocketOptions};
use crate::pktscript::host::{Events, Returned};

/// A connection.
pub(super) struct Stream {
    nc: Nc,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    /// Bytes that have arrived and the script has not read.
    unread: VecDeque<u8>,
    has_ended: bool,
    /// The daemon's sentence about its end, until it is told.
    error: Option<String>,
    is_broken: bool,
    written: usize,
    is_shut: bool,
}

/// Returns a result for an error of which the daemon tells only the sentence.
pub(super) fn failed(sentence: &str) -> Returned {
    let known = [
        ("connection refused", "ECONNREFUSED"),
        ("connection reset", "ECONNRESET"),
        ("connection timed out", "ETIMEDOUT"),
        ("connection aborted", "ECONNABORTED"),
        ("destination unreachable: Port", "ECONNREFUSED"),
        ("destination unreachable: Network", "ENETUNREACH"),
        ("destination unreachable: Prohibited", "EACCES"),
        ("destination unreachable", "EHOSTUNREACH"),
        ("broken pipe", "EPIPE"),
    ];
    let found = known.iter().find(|(text, _)| sentence.starts_with(text));
    match found {
        Some((_, name)) => Returned::Error(name),
        None => Returned::Unsupported(format!("an error of the daemon: {sentence}")),
    }
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Stream {
    pub(super) fn new(nc: Nc, local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            nc,
            local,
            remote,
            unread: VecDeque::new(),
            has_ended: false,
            error: None,
            is_broken: false,
            written: 0,
            is_shut: false,
        }
    }

    /// Takes what has happened.
    pub(super) fn look(&mut self) {
        while let Some(news) = self.nc.news() {
            match news {
                News::Data(bytes) => self.unread.extend(bytes),
                News::Eof | News::Ended => self.has_ended = true,
                News::Failed(why) => {
                    self.is_broken = true;
                    self.error = Some(why);
                }
                News::Connected { .. } | News::OptionsSet => {}
            }
        }
    }

    /// Returns true if the peer has ended it.
    pub(super) fn is_over(&self) -> bool {
        self.has_ended || self.is_broken
    }

    /// Returns what it is ready for. `most`: the bytes that the daemon takes without waiting for the peer.
    pub(super) fn events(&self, most: usize) -> Events {
        let mut events = Events::empty();
        events.set(Events::IN, self.is_over() || !self.unread.is_empty());
        events.set(Events::OUT, self.is_broken || self.written < most);
        events.set(Events::RDHUP, self.is_over());
        events.set(Events::ERR, self.error.is_some());
        events.set(
            Events::HUP,
            self.is_broken || self.has_ended && self.is_shut,
        );
        events
    }

    /// Returns the number of bytes that wait to be read.
    pub(super) fn unread(&self) -> usize {
        self.unread.len()
    }

    /// Reads; `None` if that would block.
    pub(super) fn read(&mut self, len: usize, peek: bool, wait_all: bool) -> Option<Returned> {
        let is_over = self.is_over();
        let least = if wait_all { len.max(1) } else { 1 };
        if self.unread.len() >= least || (is_over && !self.unread.is_empty()) {
            let len = len.min(self.unread.len());
            let data: Vec<u8> = if peek {
                self.unread.iter().take(len).copied().collect()
            } else {
                self.unread.drain(..len).collect()
            };
            return Some(Returned::Value(count(data.len()), data));
        }
        if let Some(why) = self.error.take() {
            return Some(failed(&why));
        }
        is_over.then(|| Returned::Value(0, Vec::new()))
    }

    /// Writes. `most`: the bytes that the daemon takes without waiting for the peer.
    pub(super) fn write(&mut self, data: &[u8], most: usize) -> Returned {
        if let Some(why) = self.error.take() {
            return failed(&why);
        }
        if self.is_shut || self.is_broken {
            return Returned::Error("EPIPE");
        }
        self.written = self.written.saturating_add(data.len());
        if self.written > most {
            let what = format!("more than {most} bytes written to a socket of the daemon");
            return Returned::Unsupported(what);
        }
        match self.nc.write(data) {
            taken if taken == data.len() => Returned::Value(count(taken), Vec::new()),
            _ => Returned::Unsupported("a daemon that takes no data".to_owned()),
        }
    }

    /// Sets options.
    pub(super) fn set_options(&mut self, options: &SocketOptions) -> Returned {
        if self.is_broken {
            return Returned::Error("EINVAL");
        }
        options::set(&mut self.nc, options)
    }

    /// Ends the bytes to the peer.
    pub(super) fn shut_down(&mut self) -> Returned {
        self.is_shut = true;
        match self.nc.end() {
            Ok(()) => Returned::Value(0, Vec::new()),
            Err(why) => failed(&why),
        }
    }

    /// Returns the pending error and forgets it.
    pub(super) fn take_error(&mut self) -> Option<Returned> {
        self.error.take().map(|why| failed(&why))
    }

    /// Closes it, behind all that was written. Returns what carries that out.
    pub(super) fn close(mut self) -> Nc {
        // It fails only if the daemon is gone.
        let _ = self.nc.close();
        self.nc
    }
}
