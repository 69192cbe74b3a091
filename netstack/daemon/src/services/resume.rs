//! Connections that go on in another process: what a service has in hand, as plain data.
//!
//! * **Define.** A [`State`] is all that a service knows of a connection beside what TCP knows.
//! * **Enforce.** A service learns that its connections are recalled by the error of a call, which has read and written nothing
//!   ([`is_recalled`]). It puts the stream on the [`Shelf`] with its state, and ends.
//! * **Consume.** Whoever has both, this process or the next one, goes on with the connection where it was
//!   ([`Running::go_on`](super::Running::go_on)).

use std::io;
use std::sync::mpsc::Sender;

use netstack::net::{TcpStream, is_recalled};
use serde::{Deserialize, Serialize};

use crate::values::Service;

/// The state of a service for one connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    /// Bytes that were read and not yet sent back.
    Echo { pending: Vec<u8> },
    /// There is none.
    Discard,
    /// The place in the pattern.
    Chargen { position: u32 },
    /// The rest of the line.
    Daytime { rest: Vec<u8> },
    /// The beginning of a request. Between two requests there is nothing else.
    Http { read: Vec<u8> },
}

impl State {
    /// Returns the service whose connection it is.
    pub(super) fn service(&self) -> Service {
        match self {
            Self::Echo { .. } => Service::Echo,
            Self::Discard => Service::Discard,
            Self::Chargen { .. } => Service::Chargen,
            Self::Daytime { .. } => Service::Daytime,
            Self::Http { .. } => Service::Http,
        }
    }

    /// Returns the state as the note of its connection.
    pub(crate) fn note(&self) -> Vec<u8> {
        // It has nothing that cannot be encoded; without a note the connection is reset.
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// Reads a note.
    pub(crate) fn of_note(note: &[u8]) -> Option<Self> {
        postcard::from_bytes(note).ok()
    }
}

/// A connection that was recalled, with its service's state.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) stream: TcpStream,
    pub(crate) state: State,
}

/// The place for connections that were recalled.
#[derive(Clone, Debug)]
pub(super) struct Shelf(pub(super) Sender<Kept>);

impl Shelf {
    /// Puts a connection down.
    pub(super) fn keep(&self, stream: TcpStream, state: State) {
        // The receiver is gone only when the program ends.
        let _ = self.0.send(Kept { stream, state });
    }

    /// Puts a connection down if `error` says that it was recalled. With any other error it has ended.
    pub(super) fn keep_recalled(&self, error: &io::Error, stream: TcpStream, state: State) {
        if is_recalled(error) {
            self.keep(stream, state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written() {
        for state in [
            State::Echo {
                pending: vec![1, 2, 3],
            },
            State::Discard,
            State::Chargen { position: 7_000 },
            State::Daytime { rest: Vec::new() },
            State::Http {
                read: b"GET / HT".to_vec(),
            },
        ] {
            assert_eq!(State::of_note(&state.note()), Some(state));
        }
        assert_eq!(State::of_note(b""), None);
        assert_eq!(State::of_note(&[200, 1]), None);
    }
}
