//! A stream for a library that owns it: a recall does not fail its calls, it lets them wait, and whoever runs the library takes
//! the stream back.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use netstack::net::{TcpStream, is_recalled};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::unfinished::{Counted, Reason};

/// The notes about a stream.
#[derive(Debug)]
pub(super) struct Marks {
    recalled: AtomicBool,
    /// The library has something in hand that is lost without it.
    is_busy: AtomicBool,
    /// Answers that are not complete yet.
    answers: AtomicU32,
    counted: Arc<Counted>,
}

/// An answer that is not complete while this exists.
#[derive(Debug)]
pub(super) struct Answering {
    marks: Arc<Marks>,
    _reason: Reason,
}

impl Answering {
    pub(super) fn begin(marks: &Arc<Marks>) -> Self {
        marks.answers.fetch_add(1, Ordering::Relaxed);
        Self {
            marks: Arc::clone(marks),
            _reason: marks.counted.begin(),
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.marks.answers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Marks {
    /// Begins notes about a stream, the connection `counted`.
    pub(super) fn new(counted: &Arc<Counted>) -> Arc<Self> {
        Arc::new(Self {
            recalled: AtomicBool::default(),
            is_busy: AtomicBool::default(),
            answers: AtomicU32::default(),
            counted: Arc::clone(counted),
        })
    }

    /// Returns true if the stream was recalled since the last call.
    pub(super) fn take_recalled(&self) -> bool {
        self.recalled.swap(false, Ordering::Relaxed)
    }

    /// Notes that the library has something in hand.
    pub(super) fn set_busy(&self) {
        self.is_busy.store(true, Ordering::Relaxed);
    }

    /// Returns true if the library has something in hand.
    pub(super) fn is_busy(&self) -> bool {
        self.is_busy.load(Ordering::Relaxed) || self.answers.load(Ordering::Relaxed) > 0
    }
}

/// A stream that waits once it was recalled.
#[derive(Debug)]
pub(super) struct Recallable {
    stream: TcpStream,
    /// Bytes that come before those of the stream.
    before: Bytes,
    marks: Arc<Marks>,
    /// The library waits to write what it has in hand.
    writing: Option<Reason>,
}

impl Recallable {
    pub(super) fn new(stream: TcpStream, before: Vec<u8>, marks: &Arc<Marks>) -> Self {
        Self {
            stream,
            before: before.into(),
            marks: Arc::clone(marks),
            writing: None,
        }
    }

    /// Returns the stream, and the bytes before those of it that were not read.
    pub(super) fn into_parts(self) -> (TcpStream, Bytes) {
        (self.stream, self.before)
    }

    /// Lets a call that ended because of a recall wait. What it was to write is in the library's hand.
    fn hold<T>(&mut self, polled: Poll<io::Result<T>>, writes: bool) -> Poll<io::Result<T>> {
        if writes && polled.is_ready() {
            self.writing = None;
        } else if writes && self.writing.is_none() {
            self.writing = Some(self.marks.counted.begin());
        }
        match polled {
            Poll::Ready(Err(error)) if is_recalled(&error) => {
                self.marks.recalled.store(true, Ordering::Relaxed);
                if writes {
                    self.marks.set_busy();
                }
                Poll::Pending
            }
            other => other,
        }
    }
}

impl AsyncRead for Recallable {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.before.is_empty() {
            let count = this.before.len().min(out.remaining());
            out.put_slice(&this.before.split_to(count));
            return Poll::Ready(Ok(()));
        }
        let polled = Pin::new(&mut this.stream).poll_read(cx, out);
        this.hold(polled, false)
    }
}

impl AsyncWrite for Recallable {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(cx, data);
        this.hold(polled, true)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write_vectored(cx, pieces);
        this.hold(polled, true)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
