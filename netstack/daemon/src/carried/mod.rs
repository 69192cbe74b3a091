//! Flows between the stack and sockets of this machine, which another process can go on with.
//!
//! * **Define.** A [`Parcel`] is all of a flow: both of its ends, and what is on the way between them.
//! * **Enforce.** While a task may read, write or accept anything it holds a [`Live`]. When the flows are recalled
//!   ([`Carrier::pause`]) it puts its parcel down and lets go of that; [`Carrier::collect`] waits for the last one.
//! * **Consume.** Whoever has the parcels goes on: this process ([`Carrier::go_on`]), or the next one ([`packed`]).
//!
//! A flow whose other end is still being connected is not carried: it begins anew. So do flows of UDP, whose next datagram
//! begins one, and pings.

pub(crate) mod packed;
pub(crate) mod relay;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use netstack::net::TcpStream;
use tokio::net::TcpStream as MachineStream;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

use self::relay::{InHand, carry};
use crate::probe::now;

/// Time that the tasks of flows have to put them down.
const PUT_DOWN_TIME: Duration = Duration::from_secs(5);

/// Time between two looks whether they have.
const STEP: Duration = Duration::from_millis(1);

/// A flow that was put down.
#[derive(Debug)]
pub(crate) enum Parcel {
    /// A connection of the stack and one of the machine.
    Relay {
        inner: TcpStream,
        outer: Arc<MachineStream>,
        hand: InHand,
    },
    /// A connection that this machine accepted at a published port, whose way through the stack is not there yet.
    Client(Client),
}

/// A client of a published port.
#[derive(Debug)]
pub(crate) struct Client {
    /// The port, as it is written.
    pub(crate) forward: String,
    pub(crate) outer: Arc<MachineStream>,
    pub(crate) peer: SocketAddr,
}

/// A flow that begins anew: its job alone knows how.
#[derive(Debug)]
pub(crate) enum Adopted {
    /// A connection of the stack that no task has had in hand.
    Inner(TcpStream),
    Client(Client),
}

/// The flows of a job.
#[derive(Debug)]
pub(crate) struct Carrier {
    runtime: Handle,
    /// Places of connections, which those that go on take, too.
    places: Option<Arc<Semaphore>>,
    /// A change of its `paused` is told.
    shelf: watch::Sender<Shelf>,
}

#[derive(Debug)]
struct Shelf {
    paused: bool,
    parcels: Vec<Parcel>,
    /// Tasks that may touch something.
    live: usize,
}

/// The right of a task to touch a flow or a port.
#[derive(Debug)]
pub(crate) struct Live(Arc<Carrier>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.shelf.send_if_modified(|shelf| {
            shelf.live -= 1;
            false
        });
    }
}

impl Carrier {
    /// Creates the carrier of flows that run on `runtime`. They rest until [`Carrier::go_on`].
    pub(crate) fn new(runtime: &Handle, places: Option<Arc<Semaphore>>) -> Arc<Self> {
        let shelf = Shelf {
            paused: true,
            parcels: Vec::new(),
            live: 0,
        };
        Arc::new(Self {
            runtime: runtime.clone(),
            places,
            shelf: watch::channel(shelf).0,
        })
    }

    /// Returns the runtime of the flows.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Lets a task begin.
    pub(crate) fn enter(self: &Arc<Self>) -> Live {
        self.shelf.send_if_modified(|shelf| {
            shelf.live += 1;
            false
        });
        Live(Arc::clone(self))
    }

    /// Waits until the flows are recalled.
    pub(crate) async fn recalled(&self) {
        // The sender is here.
        let _ = self.shelf.subscribe().wait_for(|shelf| shelf.paused).await;
    }

    /// Waits until the flows may go on.
    pub(crate) async fn resumed(&self) {
        let _ = self.shelf.subscribe().wait_for(|shelf| !shelf.paused).await;
    }

    /// Puts a flow down. Returns it if the flows go on again.
    pub(crate) fn put_down(&self, parcel: Parcel) -> Option<Parcel> {
        let mut parcel = Some(parcel);
        self.shelf.send_if_modified(|shelf| {
            if shelf.paused {
                shelf.parcels.extend(parcel.take());
            }
            false
        });
        parcel
    }

    /// Recalls the flows.
    pub(crate) fn pause(&self) {
        self.shelf.send_modify(|shelf| shelf.paused = true);
    }

    /// Takes every flow that was put down since [`Carrier::pause`]. Blocks until no task touches anything.
    ///
    /// # Errors
    /// A task does not end what it does: the flows must go on.
    pub(crate) fn collect(&self) -> Result<Vec<Parcel>, String> {
        let end = now() + PUT_DOWN_TIME;
        while self.shelf.borrow().live > 0 {
            if now() >= end {
                return Err("its flows do not come to rest: try again".to_owned());
            }
            thread::sleep(STEP);
        }
        let mut parcels = Vec::new();
        self.shelf.send_if_modified(|shelf| {
            parcels.append(&mut shelf.parcels);
            false
        });
        Ok(parcels)
    }

    /// Goes on with these flows, and with those that were put down. Returns those that their job begins anew.
    pub(crate) fn go_on(self: &Arc<Self>, parcels: Vec<Parcel>) -> Vec<Adopted> {
        let mut late = Vec::new();
        self.shelf.send_modify(|shelf| {
            shelf.paused = false;
            late.append(&mut shelf.parcels);
        });
        let mut adopted = Vec::new();
        for parcel in parcels.into_iter().chain(late) {
            match parcel {
                Parcel::Relay { inner, outer, hand } => self.spawn(inner, outer, hand),
                Parcel::Client(client) => adopted.push(Adopted::Client(client)),
            }
        }
        adopted
    }

    fn spawn(self: &Arc<Self>, inner: TcpStream, outer: Arc<MachineStream>, hand: InHand) {
        let carrier = Arc::clone(self);
        // It goes on in any case; as long as there are too many, no other one begins.
        let places = self.places.clone();
        let place = places.and_then(|places| places.try_acquire_owned().ok());
        self.runtime.spawn(async move {
            carry(&carrier, inner, outer, hand).await;
            drop(place);
        });
    }
}
