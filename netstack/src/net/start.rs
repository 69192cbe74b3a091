//! Starting a stack.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use super::stack::{Joins, Stack};
use crate::base::Config;
use crate::device::Device;
use crate::engine::clock::Clock;
use crate::engine::threads::{self, Spinners};
use crate::engine::worker::Worker;
use crate::ip::prefix::Prefix;
use crate::stack::addresses::{self, AddressChangeError};
use crate::stack::ending::EndReason;
use crate::stack::{Host, SetupError, shutdown};

/// The reason why a stack could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration or an address cannot be used.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// A prefix of [`StackBuilder::any_address`] cannot be used.
    #[error("start: {0}")]
    AnyAddress(#[from] AddressChangeError),
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
    any: Vec<Prefix>,
    seed: Option<[u8; 32]>,
}

impl Stack {
    /// Begins to describe a stack.
    ///
    /// ```no_run
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use netstack::device::{TunConfig, open};
    /// use netstack::net::Stack;
    ///
    /// let mut tun = TunConfig::new("t0");
    /// tun.host_v4 = Some(("10.77.0.1".parse()?, 24));
    /// let stack = Stack::builder()
    ///     .address("10.77.0.2".parse()?, 24)
    ///     .start(open(&tun)?)?;
    /// println!("{} workers", stack.workers());
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder() -> StackBuilder {
        StackBuilder::default()
    }
}

impl StackBuilder {
    /// Sets limits and policies; [`Config::default`] if not called.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Adds an address of the stack, with the prefix length of its subnet.
    pub fn address(mut self, address: IpAddr, prefix_len: u8) -> Self {
        self.addresses.push((address, prefix_len));
        self
    }

    /// Makes the stack answer for every address of `prefix`, as a route of type "local" does on Linux:
    /// [`TcpListener::bind_any`](super::TcpListener::bind_any) accepts connections to them, pings are
    /// answered, and connections to ports without a listener are reset. No address of the prefix is used
    /// as a source unless a socket asks for it. `0.0.0.0/0` and `::/0` are all addresses.
    pub fn any_address(mut self, prefix: Prefix) -> Self {
        self.any.push(prefix);
        self
    }

    /// Sets the seed of all randomness; the system's entropy if not called.
    pub fn seed(mut self, seed: [u8; 32]) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Starts one worker thread for each device queue.
    ///
    /// # Errors
    /// No device was given, the configuration or an address cannot be used, or a thread could not be
    /// started.
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
        let host = Host::new(self.config, &self.addresses, caps, workers, seed)?;
        for prefix in self.any {
            addresses::add_any(&host, prefix)?;
        }
        let clock = Clock::start();
        host.set_time_source(Box::new(move || clock.now()));
        let spinners = Spinners::for_this_machine();
        let mut joins = Joins::with_capacity(workers);
        for (index, device) in devices.into_iter().enumerate() {
            let worker = Worker::new(Arc::clone(&host), index, device, clock.now());
            let name = format!("netstack-{index}");
            match threads::start(name, worker, clock, Arc::clone(&spinners)) {
                Ok(join) => joins.push(join),
                Err(error) => {
                    shutdown::end(&host, EndReason::Aborted);
                    host.workers.stop();
                    return Err(error.into());
                }
            }
        }
        tracing::info!(workers, mtu = caps.mtu, addresses = ?self.addresses, "stack started");
        Ok(Stack::new(host, joins))
    }
}

/// Returns 32 bytes from the kernel.
fn entropy() -> io::Result<[u8; 32]> {
    use std::io::Read as _;
    let mut seed = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(seed)
}
