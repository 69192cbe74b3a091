//! Starting a stack.

use std::future::Future as _;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Context;

use super::machine;
use super::stack::{Joins, Stack};
use crate::base::{Config, Instant, LinkCaps};
use crate::device::Device;
use crate::engine::clock::Clock;
use crate::engine::future::{Driver, StandBack, Timer, Turns};
use crate::engine::threads::{self, Spinners};
use crate::engine::worker::Worker;
use crate::ip::prefix::Prefix;
use crate::ip::routes::Route;
use crate::stack::addresses::{self, AddressChangeError};
use crate::stack::checkpoint::{self, Checkpoint, CheckpointError, TakenUp};
use crate::stack::ending::EndReason;
use crate::stack::routes::{self, RouteChangeError};
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
    /// A route of [`StackBuilder::route`] cannot be used.
    #[error("start: {0}")]
    Route(#[from] RouteChangeError),
    /// The queues are not those of one link.
    #[error(
        "start: device {index} has an MTU of {mtu} and packets of up to {max_packet} bytes, the first one {first_mtu} \
         and {first_max_packet}; open all queues with the same settings"
    )]
    DifferentDevices {
        /// The place of the device that differs from the first.
        index: usize,
        /// Its MTU.
        mtu: u16,
        /// Its largest packet that is received.
        max_packet: usize,
        /// The MTU of the first device.
        first_mtu: u16,
        /// The largest packet of the first device.
        first_max_packet: usize,
    },
    /// No device was given.
    #[error("start: no device queue was given; pass at least one")]
    NoDevice,
    /// The checkpoint of [`StackBuilder::restore`] cannot be restored.
    #[error("start: {0}")]
    Checkpoint(#[from] CheckpointError),
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
    routes: Vec<Route>,
    seed: Option<[u8; 32]>,
    checkpoint: Option<Checkpoint>,
    clock: Option<Clock>,
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

/// A host, the workers that nothing turns yet, and what the stack whose place it takes has left.
type HostAndWorkers = (Arc<Host>, Vec<Worker<dyn Device>>, Option<TakenUp>);

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

    /// Adds a route, in the place of the one to the same network that comes with an address: see [`Stack::add_route`].
    ///
    /// ```
    /// use netstack::device::channel::{ChannelConfig, channel};
    /// use netstack::net::{Route, RouteKind, Stack};
    ///
    /// let (device, pipe) = channel(ChannelConfig::default());
    /// // It reaches 10.0.0.0/8 and nothing else.
    /// let (stack, drivers) = Stack::builder()
    ///     .address("10.77.0.2".parse()?, 24)
    ///     .route(Route::new("10.0.0.0/8".parse()?))
    ///     .route(Route {
    ///         kind: RouteKind::Unreachable,
    ///         ..Route::new("0.0.0.0/0".parse()?)
    ///     })
    ///     .drive(vec![Box::new(device)])?;
    /// assert_eq!(stack.routes().count(), 3);
    /// # drop((pipe, drivers));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn route(mut self, route: Route) -> Self {
        self.routes.push(route);
        self
    }

    /// Sets the seed of all randomness; the system's entropy if not called.
    pub fn seed(mut self, seed: [u8; 32]) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets the clock of the stack; one that starts with it if not called. A stack that takes another one's place goes on with
    /// that one's clock instead. A program that knows when its clock was started
    /// knows what the stack's times mean: those of packets that an observer sees, for example.
    ///
    /// ```
    /// use netstack::device::channel::{ChannelConfig, channel};
    /// use netstack::engine::clock::Clock;
    /// use netstack::net::Stack;
    ///
    /// let clock = Clock::start();
    /// let (device, _pipe) = channel(ChannelConfig::default());
    /// let stack = Stack::builder()
    ///     .address("10.77.0.2".parse()?, 24)
    ///     .clock(clock)
    ///     .start(vec![Box::new(device)])?;
    /// let before = clock.now();
    /// let now = stack.time().now();
    /// assert!((before..=clock.now()).contains(&now));
    /// # stack.abort()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Makes the stack take the place of another one: its connections go on, and its clock and its counters do. The stack
    /// begins at rest, so that the program can set up its listeners and take its connections up before anything is received:
    /// [`Stack::take_restored`] has them, and what lets the stack begin.
    pub fn restore(mut self, checkpoint: Checkpoint) -> Self {
        self.checkpoint = Some(checkpoint);
        self
    }

    /// Returns the clock that the stack begins with.
    fn first_clock(&self) -> Clock {
        match &self.checkpoint {
            Some(checkpoint) => Clock::start_at(checkpoint.now()),
            None => self.clock.unwrap_or_else(Clock::start),
        }
    }

    /// Starts one worker thread for each device queue.
    ///
    /// # Errors
    /// No device was given, the configuration or an address cannot be used, or a thread could not be
    /// started.
    pub fn start(self, devices: Vec<Box<dyn Device>>) -> Result<Stack, StartError> {
        let clock = self.first_clock();
        let (host, workers, restored) = self.workers(devices, clock.now())?;
        host.set_time_source(Box::new(move || clock.now()));
        let spinners = Spinners::for_this_machine();
        let mut joins = Joins::with_capacity(workers.len());
        for worker in workers {
            let name = format!("netstack-{}", worker.index());
            match threads::start(name, worker, clock, Arc::clone(&spinners)) {
                Ok(join) => joins.push(join),
                Err(error) => {
                    shutdown::end(&host, EndReason::Aborted);
                    host.workers.stop();
                    return Err(error.into());
                }
            }
        }
        Ok(Stack::with_restored(host, joins, restored))
    }

    /// Makes one [`Driver`] for each device queue: futures for tokio's runtime, which the program spawns
    /// or awaits. The stack runs there instead of on threads of its own.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use netstack::device::channel::{ChannelConfig, channel};
    /// use netstack::net::Stack;
    ///
    /// let (device, pipe) = channel(ChannelConfig::default());
    /// let (stack, drivers) = Stack::builder()
    ///     .address("10.77.0.2".parse()?, 24)
    ///     .drive(vec![Box::new(device)])?;
    /// for driver in drivers {
    ///     tokio::spawn(driver);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// No device was given, or the configuration or an address cannot be used.
    pub fn drive(self, devices: Vec<Box<dyn Device>>) -> Result<(Stack, Vec<Driver>), StartError> {
        let timer = || -> Timer { Box::new(|pause| Box::pin(tokio::time::sleep(pause))) };
        let stand_back = |cx: &mut Context<'_>| {
            // Its first poll tells the runtime, and is all that is wanted of it.
            let _ = pin!(tokio::task::yield_now()).poll(cx);
        };
        self.drivers(devices, timer, stand_back)
    }

    /// [`StackBuilder::drive`] for another runtime, whose timers `timer` makes: one for each driver.
    ///
    /// # Errors
    /// As [`StackBuilder::drive`].
    pub fn drive_with(
        self,
        devices: Vec<Box<dyn Device>>,
        timer: impl Fn() -> Timer,
    ) -> Result<(Stack, Vec<Driver>), StartError> {
        self.drivers(devices, timer, |cx| cx.waker().wake_by_ref())
    }

    fn drivers(
        self,
        devices: Vec<Box<dyn Device>>,
        timer: impl Fn() -> Timer,
        stand_back: StandBack,
    ) -> Result<(Stack, Vec<Driver>), StartError> {
        let clock = self.first_clock();
        let (host, workers, restored) = self.workers(devices, clock.now())?;
        host.set_time_source(Box::new(move || clock.now()));
        let drivers = workers
            .into_iter()
            .map(|worker| Driver::new(worker, clock, timer(), stand_back));
        let drivers = drivers.collect();
        Ok((Stack::with_restored(host, Vec::new(), restored), drivers))
    }

    /// Makes one [`Turns`] for each device queue: the program turns the workers in a loop of its own, and
    /// brings the time, which begins at `now`.
    ///
    /// # Errors
    /// As [`StackBuilder::drive`].
    pub fn manual(
        self,
        devices: Vec<Box<dyn Device>>,
        now: Instant,
    ) -> Result<(Stack, Vec<Turns>), StartError> {
        let (host, workers, restored) = self.workers(devices, now)?;
        let turns = workers.into_iter().map(Turns::new).collect();
        Ok((Stack::with_restored(host, Vec::new(), restored), turns))
    }

    /// Creates the host and its workers.
    fn workers(
        self,
        devices: Vec<Box<dyn Device>>,
        now: Instant,
    ) -> Result<HostAndWorkers, StartError> {
        let Some(first) = devices.first() else {
            return Err(StartError::NoDevice);
        };
        let caps = first.caps();
        check_same(&caps, &devices)?;
        let seed = match self.seed {
            Some(seed) => seed,
            None => entropy()?,
        };
        let count = devices.len();
        let memory = self.config.memory_bytes;
        let config = Config {
            memory_bytes: Some(memory.unwrap_or_else(machine::packet_memory)),
            ..self.config
        };
        let mut host = Host::new(config, &self.addresses, caps, count, seed)?;
        if let (Some(checkpoint), Some(new)) = (&self.checkpoint, Arc::get_mut(&mut host)) {
            checkpoint::take_up_secrets(new, checkpoint);
        }
        for prefix in self.any {
            addresses::add_any(&host, prefix)?;
        }
        for route in self.routes {
            routes::add(&host, route, true)?;
        }
        host.clock.advance(now);
        let restored = self.checkpoint.as_ref();
        let restored = restored.map(|checkpoint| checkpoint::take_up(&host, checkpoint));
        let restored = restored.transpose()?;
        let worker = |(index, device)| Worker::new(Arc::clone(&host), index, device, now);
        let workers = devices.into_iter().enumerate().map(worker).collect();
        let memory = host.buffers.memory_use().limit;
        tracing::info!(workers = count, memory, mtu = caps.mtu, addresses = ?self.addresses, "stack started");
        Ok((host, workers, restored))
    }
}

/// Checks that all devices are queues of one link.
fn check_same(first: &LinkCaps, devices: &[Box<dyn Device>]) -> Result<(), StartError> {
    for (index, device) in devices.iter().enumerate() {
        let caps = device.caps();
        if caps != *first {
            return Err(StartError::DifferentDevices {
                index,
                mtu: caps.mtu,
                max_packet: caps.max_packet,
                first_mtu: first.mtu,
                first_max_packet: first.max_packet,
            });
        }
    }
    Ok(())
}

/// Returns 32 bytes from the kernel.
fn entropy() -> io::Result<[u8; 32]> {
    use std::io::Read as _;
    let mut seed = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(seed)
}
