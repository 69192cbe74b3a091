//! The handle of a running stack, and how one is started.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use lockorder::Mutex;

use crate::base::Config;
use crate::base::counters::{Counter, DropReason};
use crate::base::time::Duration;
use crate::device::Device;
use crate::engine::clock::Clock;
use crate::engine::threads::{self, Spinners};
use crate::engine::worker::Worker;
use crate::stack::SetupError;
use crate::stack::host::{Shared, locked};
use crate::stack::levels;
use crate::stack::local;
use crate::stack::mailbox::Message;
use crate::tcp::TcpInfo;

/// A running stack. Clones are handles of the same stack; it ends with [`Stack::shutdown`],
/// [`Stack::abort`], or when the last handle is dropped. Sockets do not keep it running.
#[derive(Clone)]
pub struct Stack {
    pub(super) shared: Arc<Shared>,
    threads: Arc<Threads>,
}

type Joins = Vec<JoinHandle<io::Result<()>>>;

/// The worker threads, to be joined once.
struct Threads {
    shared: Arc<Shared>,
    joins: Mutex<levels::Control, Joins>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Sockets that outlive the stack see their connections aborted, not silence.
        self.shared.abort_all();
        self.shared.stop_workers();
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack")
            .field("workers", &self.workers())
            .field("connections", &self.connections())
            .finish()
    }
}

/// Why a stack could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration or an address cannot be used.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// No device was given.
    #[error("start: no device queue was given; pass at least one")]
    NoDevice,
    /// A worker thread could not be started.
    #[error("start: a worker thread could not be started: {0}")]
    Thread(#[from] io::Error),
}

/// Collects what a stack needs before it starts.
#[derive(Debug, Default)]
pub struct StackBuilder {
    config: Config,
    addresses: Vec<(IpAddr, u8)>,
    seed: Option<[u8; 32]>,
}

impl StackBuilder {
    /// Limits and policies; [`Config::default`] if not called.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// An address of the stack and the prefix length of its subnet.
    pub fn address(mut self, address: IpAddr, prefix_len: u8) -> Self {
        self.addresses.push((address, prefix_len));
        self
    }

    /// Seed of all randomness; the system's entropy if not called.
    pub fn seed(mut self, seed: [u8; 32]) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Starts one worker thread for each device queue.
    pub fn start(self, devices: Vec<Box<dyn Device>>) -> Result<Stack, StartError> {
        let Some(first) = devices.first() else {
            return Err(StartError::NoDevice);
        };
        let caps = first.caps();
        let seed = match self.seed {
            Some(seed) => seed,
            None => entropy()?,
        };
        let workers = devices.len();
        let shared = Shared::new(self.config, &self.addresses, caps, workers, seed)?;
        let clock = Clock::start();
        let spinners = Spinners::for_this_machine();
        let mut joins = Joins::with_capacity(workers);
        for (index, device) in devices.into_iter().enumerate() {
            let worker = Worker::new(Arc::clone(&shared), index, device, clock.now());
            let name = format!("netstack-{index}");
            match threads::start(name, worker, clock, Arc::clone(&spinners)) {
                Ok(join) => joins.push(join),
                Err(error) => {
                    shared.stop_workers();
                    return Err(error.into());
                }
            }
        }
        let threads = Threads {
            shared: Arc::clone(&shared),
            joins: Mutex::new(joins),
        };
        Ok(Stack {
            shared,
            threads: Arc::new(threads),
        })
    }
}

/// 32 bytes from the kernel.
fn entropy() -> io::Result<[u8; 32]> {
    use std::io::Read as _;
    let mut seed = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(seed)
}

/// Every counter, summed over the workers, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CountersSnapshot {
    drops: Vec<u64>,
    events: Vec<u64>,
}

impl CountersSnapshot {
    /// Packets discarded for `reason`.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops.get(reason as usize).copied().unwrap_or(0)
    }

    /// How often `event` happened.
    pub fn count(&self, event: Counter) -> u64 {
        self.events.get(event as usize).copied().unwrap_or(0)
    }

    /// Every counter by its label, drops first.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let drops = DropReason::ALL
            .iter()
            .map(|&r| (r.label(), self.dropped(r)));
        let events = Counter::ALL.iter().map(|&e| (e.label(), self.count(e)));
        drops.chain(events)
    }
}

impl Stack {
    /// Begins to describe a stack.
    pub fn builder() -> StackBuilder {
        StackBuilder::default()
    }

    /// A handle of a stack whose workers somebody else turns (a simulation).
    pub fn from_shared(shared: Arc<Shared>) -> Self {
        let threads = Threads {
            shared: Arc::clone(&shared),
            joins: Mutex::new(Vec::new()),
        };
        Self {
            shared,
            threads: Arc::new(threads),
        }
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.shared.workers.len()
    }

    /// Runs `future` on worker number `worker` (counted modulo the workers). It is polled with
    /// nothing locked, on the thread that handles that worker's packets, so it should not block.
    pub fn spawn_on(&self, worker: usize, future: impl Future<Output = ()> + Send + 'static) {
        let worker = &self.shared.workers[worker % self.workers()];
        worker.mailbox.send(Message::Spawn(Box::pin(future)));
    }

    /// What was counted so far.
    pub fn counters(&self) -> CountersSnapshot {
        let sum = |get: &dyn Fn(&crate::base::Counters) -> u64| {
            self.shared.workers.iter().map(|w| get(&w.counters)).sum()
        };
        CountersSnapshot {
            drops: DropReason::ALL
                .iter()
                .map(|&r| sum(&|c| c.dropped(r)))
                .collect(),
            events: Counter::ALL.iter().map(|&e| sum(&|c| c.count(e))).collect(),
        }
    }

    /// TCP connections in any state, TIME-WAIT included.
    pub fn connections(&self) -> usize {
        self.shared.flows.len()
    }

    /// Slabs in use: large, small.
    pub fn slabs_in_use(&self) -> (usize, usize) {
        let buffers = &self.shared.buffers;
        (buffers.large().in_use(), buffers.small().in_use())
    }

    /// What the ghost ledgers of the large and of the small slabs say; see [`packet::Pool::audit`].
    /// Programs are built without them: [`packet::buf::Audit::Unsupported`].
    pub fn audit(&self) -> [packet::buf::Audit; 2] {
        self.shared.buffers.audit()
    }

    /// What TCP knows of each connection now.
    pub fn tcp_info(&self) -> Vec<(std::net::SocketAddr, std::net::SocketAddr, TcpInfo)> {
        self.shared.tcp_info()
    }

    /// Closes every listener and connection, waits up to `grace` for the peers to agree, resets
    /// those that did not, and stops the workers. Returns the first error of a worker's device.
    /// Blocks the calling thread.
    pub fn shutdown(&self, grace: Duration) -> io::Result<()> {
        if local::current_mailbox().is_some() {
            return self.stop();
        }
        self.shared.close_all();
        let step = Duration::from_millis(5);
        let mut waited = Duration::ZERO;
        while self.shared.open_connections() > 0 && waited < grace {
            std::thread::sleep(step);
            waited += step;
        }
        if self.shared.open_connections() > 0 {
            self.shared.abort_all();
            std::thread::sleep(step);
        }
        self.stop()
    }

    /// Resets every connection and stops the workers.
    pub fn abort(&self) -> io::Result<()> {
        self.shared.abort_all();
        std::thread::sleep(Duration::from_millis(5));
        self.stop()
    }

    fn stop(&self) -> io::Result<()> {
        if local::current_mailbox().is_some() {
            return Err(io::Error::other(
                "shutdown: a task on a worker cannot wait for that worker; call it elsewhere",
            ));
        }
        self.shared.stop_workers();
        let joins = locked(|key| {
            self.threads.joins.with(
                &mut key.ctx(),
                |joins, _: &mut lockorder::LockCtx<'_, _>| std::mem::take(joins),
            )
        });
        for join in joins {
            join.join()
                .map_err(|_| io::Error::other("a worker thread panicked"))??;
        }
        Ok(())
    }
}
