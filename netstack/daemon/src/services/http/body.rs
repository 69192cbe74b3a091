//! Bodies of responses: bytes, parts of a file, and texts between them. A body holds one piece of its file at a time.

use std::collections::VecDeque;
use std::fs::File;
use std::future::Future as _;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::super::recallable::Answering;

/// Bytes of a file that are read at once.
const PIECE_BYTES: u64 = 64 << 10;

/// A part of a body.
#[derive(Debug)]
pub(super) enum Part {
    Text(Bytes),
    /// These bytes of the file.
    Slice(Range<u64>),
}

impl Part {
    fn len(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Slice(range) => range.end.saturating_sub(range.start),
        }
    }
}

/// A file, and the threads on which it is read.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) file: Arc<File>,
    pub(super) threads: Handle,
}

impl Source {
    /// Begins to read a piece.
    fn read(&self, range: Range<u64>) -> JoinHandle<io::Result<Bytes>> {
        let file = Arc::clone(&self.file);
        self.threads.spawn_blocking(move || {
            let len = usize::try_from(range.end - range.start).unwrap_or_default();
            let mut piece = vec![0; len];
            // A file that has become shorter ends the response early: its length was promised.
            file.read_exact_at(&mut piece, range.start)?;
            Ok(Bytes::from(piece))
        })
    }
}

/// The body of a response.
#[derive(Debug, Default)]
pub(super) struct Body {
    parts: VecDeque<Part>,
    source: Option<Source>,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    /// Bytes that are still to come.
    left: u64,
    /// The answer is complete when the body is gone.
    #[expect(dead_code, reason = "kept to be dropped")]
    answering: Option<Answering>,
}

impl Body {
    /// Returns a body of these bytes.
    pub(super) fn of(bytes: Bytes) -> Self {
        Self {
            left: bytes.len() as u64,
            parts: VecDeque::from([Part::Text(bytes)]),
            ..Self::default()
        }
    }

    /// Returns a body of these parts.
    pub(super) fn of_parts(source: Source, parts: Vec<Part>) -> Self {
        Self {
            left: parts.iter().map(Part::len).sum(),
            parts: parts.into(),
            source: Some(source),
            ..Self::default()
        }
    }

    /// Returns this body as the rest of an answer.
    pub(super) fn of_answer(self, answering: Answering) -> Self {
        Self {
            answering: Some(answering),
            ..self
        }
    }

    /// Takes the next text, or begins to read the next piece; `None` at the end, or while a piece is read.
    fn step(&mut self) -> Option<Bytes> {
        loop {
            match self.parts.front_mut()? {
                Part::Text(text) => {
                    let text = std::mem::take(text);
                    self.parts.pop_front();
                    if !text.is_empty() {
                        return Some(text);
                    }
                }
                Part::Slice(range) if range.is_empty() => {
                    self.parts.pop_front();
                }
                Part::Slice(range) => {
                    let end = range.end.min(range.start.saturating_add(PIECE_BYTES));
                    let piece = std::mem::replace(&mut range.start, end)..end;
                    self.reading = self.source.as_ref().map(|source| source.read(piece));
                    return None;
                }
            }
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.reading.is_none() && self.left > 0 {
            let text = self.step();
            if let Some(text) = text {
                self.left = self.left.saturating_sub(text.len() as u64);
                return Poll::Ready(Some(Ok(Frame::data(text))));
            }
        }
        let Some(reading) = self.reading.as_mut() else {
            return Poll::Ready(None);
        };
        let read = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        let piece = read.map_err(io::Error::other).and_then(|piece| piece);
        if let Ok(piece) = &piece {
            self.left = self.left.saturating_sub(piece.len() as u64);
        }
        Poll::Ready(Some(piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use futures::executor::block_on;
    use http_body_util::BodyExt as _;
    use hyper::body::Body as _;

    use super::*;

    #[test]
    fn texts_and_slices_come_in_their_order_and_nothing_is_missing() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let contents: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
        let path = std::env::temp_dir().join(format!("netstackd-body-{}", std::process::id()));
        let mut file = File::create(&path).expect("a file");
        file.write_all(&contents).expect("written");
        let source = Source {
            file: Arc::new(File::open(&path).expect("the file")),
            threads: runtime.handle().clone(),
        };
        std::fs::remove_file(&path).expect("removed");
        let parts = vec![
            Part::Text(Bytes::from_static(b"begin")),
            Part::Slice(0..0),
            Part::Slice(10..150_000),
            Part::Text(Bytes::new()),
            Part::Slice(5..6),
            Part::Text(Bytes::from_static(b"end")),
        ];
        let body = Body::of_parts(source.clone(), parts);
        let expected = [b"begin", &contents[10..150_000], &[5], b"end"].concat();
        assert_eq!(body.size_hint().exact(), Some(expected.len() as u64));
        let read = block_on(body.collect()).expect("read").to_bytes();
        assert_eq!(read, expected);
        // A file that is shorter than was promised is an error, not a short body.
        let body = Body::of_parts(source, vec![Part::Slice(0..300_000)]);
        assert!(block_on(body.collect()).is_err());
    }
}
