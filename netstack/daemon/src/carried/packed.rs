//! Flows on their way to another process: plain data and descriptors.
//!
//! The bytes on the way between the ends of a flow are the note of its connection in the checkpoint. The sockets of the machine
//! go over as descriptors, in an order that the notes refer to. Everything else is the [`Luggage`].

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use netstack::net::{RestoredStream, TcpStream};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream as MachineStream;
use tokio::runtime::Handle;

use super::relay::{Direction, InHand};
use super::{Adopted, Client, Parcel};

/// A descriptor that another thread sends while its owner keeps it.
pub(crate) type Shared = Arc<dyn AsFd + Send + Sync>;

/// The note of a relayed connection.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    descriptor: u32,
    forth: Half,
    back: Half,
}

#[derive(Debug, Serialize, Deserialize)]
struct Half {
    waiting: Vec<u8>,
    ended: bool,
}

impl Half {
    fn of(direction: &Direction) -> Self {
        Self {
            waiting: direction.waiting.to_vec(),
            ended: direction.ended,
        }
    }

    fn into_direction(self) -> Direction {
        Direction {
            waiting: Bytes::from(self.waiting).into(),
            ended: self.ended,
        }
    }
}

/// The state of a job beside its connections.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Luggage {
    clients: Vec<PackedClient>,
    /// Names with the numbers of their virtual addresses, in the order of their last use.
    pub(crate) names: Vec<(u32, String)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PackedClient {
    descriptor: u32,
    forward: String,
    peer: SocketAddr,
}

impl Luggage {
    /// Returns the luggage as bytes; none for a job that has none.
    ///
    /// # Errors
    /// It cannot be encoded.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, String> {
        postcard::to_stdvec(self).map_err(|error| error.to_string())
    }

    /// Reads luggage.
    ///
    /// # Errors
    /// It is damaged.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        postcard::from_bytes(bytes)
            .map_err(|error| format!("the state of the flows is damaged ({error}): try again"))
    }
}

/// Flows that are ready to go.
pub(crate) struct Packed<'a> {
    pub(crate) notes: Vec<(&'a TcpStream, Vec<u8>)>,
    pub(crate) luggage: Luggage,
    pub(crate) descriptors: Vec<Shared>,
}

/// Packs flows.
pub(crate) fn pack(parcels: &[Parcel]) -> Packed<'_> {
    let mut packed = Packed {
        notes: Vec::new(),
        luggage: Luggage::default(),
        descriptors: Vec::new(),
    };
    for parcel in parcels {
        let descriptor = packed.descriptors.len() as u32;
        match parcel {
            Parcel::Relay { inner, outer, hand } => {
                let note = Note {
                    descriptor,
                    forth: Half::of(&hand.forth),
                    back: Half::of(&hand.back),
                };
                // It has nothing that cannot be encoded; without a note the connection begins anew.
                let note = postcard::to_stdvec(&note).unwrap_or_default();
                packed.notes.push((inner, note));
                packed.descriptors.push(Arc::clone(outer) as Shared);
            }
            Parcel::Client(client) => {
                packed.luggage.clients.push(PackedClient {
                    descriptor,
                    forward: client.forward.clone(),
                    peer: client.peer,
                });
                packed.descriptors.push(Arc::clone(&client.outer) as Shared);
            }
        }
    }
    packed
}

/// Flows that have arrived.
#[derive(Debug, Default)]
pub(crate) struct Unpacked {
    pub(crate) parcels: Vec<Parcel>,
    /// Those that their job begins anew.
    pub(crate) adopted: Vec<Adopted>,
}

impl Unpacked {
    /// Returns the number of flows.
    pub(crate) fn count(&self) -> usize {
        self.parcels.len() + self.adopted.len()
    }
}

/// Unpacks flows. A connection whose note cannot be read, or names a descriptor that is not there, is reset; one without a note
/// had not begun.
pub(crate) fn unpack(
    runtime: &Handle,
    streams: Vec<RestoredStream>,
    luggage: Luggage,
    descriptors: Vec<OwnedFd>,
) -> Unpacked {
    let _inside = runtime.enter();
    let mut descriptors: Vec<_> = descriptors.into_iter().map(Some).collect();
    let mut take = |at: u32| {
        let fd = descriptors.get_mut(at as usize)?.take()?;
        machine_stream(fd).ok()
    };
    let mut unpacked = Unpacked::default();
    for RestoredStream { stream, note } in streams {
        let Some(note) = note else {
            unpacked.adopted.push(Adopted::Inner(stream));
            continue;
        };
        let note: Option<Note> = postcard::from_bytes(&note).ok();
        let parcel = note.and_then(|note| {
            let outer = take(note.descriptor)?;
            let hand = InHand {
                forth: note.forth.into_direction(),
                back: note.back.into_direction(),
            };
            Some((outer, hand))
        });
        match parcel {
            Some((outer, hand)) => unpacked.parcels.push(Parcel::Relay {
                inner: stream,
                outer,
                hand,
            }),
            // It fails for nothing but a time to wait.
            None => drop(stream.set_linger(Some(Duration::ZERO))),
        }
    }
    for client in luggage.clients {
        if let Some(outer) = take(client.descriptor) {
            unpacked.adopted.push(Adopted::Client(Client {
                forward: client.forward,
                outer,
                peer: client.peer,
            }));
        }
    }
    unpacked
}

fn machine_stream(fd: OwnedFd) -> io::Result<Arc<MachineStream>> {
    let stream = std::net::TcpStream::from(fd);
    stream.set_nonblocking(true)?;
    MachineStream::from_std(stream).map(Arc::new)
}
