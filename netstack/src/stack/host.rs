//! The state that all workers and sockets of a stack share: every lock of the stack is in here.
//!
//! * **Define.** One [`Shared`] is one host: its addresses, connections, listeners and sockets.
//! * **Enforce.** Each part that changes is behind a [`lockorder`] lock of its own level; parts that
//!   only one worker changes are atomics; the rest is fixed when the stack starts.
//! * **Consume.** Any thread may call in; [`locked`] gives it the one key of its thread.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lockorder::{Key, Mutex, RwLock};
use packet::Buffers;

use crate::base::{Config, Counters, Instant, LinkCaps, Rng, TcpConfig};
use crate::demux::{BindTable, PortAllocator, UdpTable};
use crate::icmp::limiter::IcmpLimiter;
use crate::ip::fragment::Identification;
use crate::ip::key::HashKey;
use crate::ip::pmtu::{Path, PathMtu};
use crate::ip::reassembly::Reassembly;
use crate::stack::ip::addressing::Addressing;
use crate::stack::levels::{self, StackLocks};
use crate::stack::mailbox::{Mailbox, Message};
use crate::stack::tcp::listener::Listener;
use crate::stack::tcp::table::Flows;
use crate::stack::udp::app::UdpGroup;
use crate::tcp::IsnGenerator;

/// Listeners, and UDP sockets, at most: one for each port.
const MAX_BOUND: usize = 65_536;

/// One worker, as the others see it.
#[derive(Debug)]
pub struct WorkerHandle {
    /// The way to it.
    pub mailbox: Arc<Mailbox>,
    /// Its counters.
    pub counters: Arc<Counters>,
}

/// One stack.
pub struct Shared {
    pub(crate) config: Config,
    pub(crate) tcp_config: Arc<TcpConfig>,
    pub(crate) link: LinkCaps,
    /// The slabs of this stack.
    pub buffers: Buffers,
    /// Its workers.
    pub workers: Box<[WorkerHandle]>,
    pub(crate) flows: Flows,
    pub(crate) listeners: RwLock<levels::Demux, BindTable<Arc<Listener>>>,
    pub(crate) udp: RwLock<levels::Demux, UdpTable<Arc<UdpGroup>>>,
    pub(crate) addressing: RwLock<levels::Routes, Arc<Addressing>>,
    /// Raised with each change of the addressing, so that workers keep a copy until it changes.
    pub(crate) addressing_version: AtomicU64,
    pub(crate) path_mtu: RwLock<levels::PathMtu, PathMtu>,
    /// True once a router reported a smaller MTU: until then no packet has to ask.
    pub(crate) path_mtu_known: AtomicBool,
    pub(crate) identification: Identification,
    pub(crate) reassembly: Mutex<levels::Reassembly, Reassembly>,
    /// When the oldest incomplete datagram is given up; far in the future if there is none.
    pub(crate) reassembly_deadline: AtomicU64,
    pub(crate) icmp_limit: Mutex<levels::IcmpLimit, IcmpLimiter>,
    pub(crate) ports: Mutex<levels::Ports, PortAllocator>,
    pub(crate) isn: IsnGenerator,
    pub(crate) seed: [u8; 32],
    now_nanos: AtomicU64,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("workers", &self.workers.len())
            .field("connections", &self.flows.len())
            .finish_non_exhaustive()
    }
}

/// Runs `f` with this thread's key.
///
/// The stack never calls out with the key in hand (that takes `Key::lend`), so it can only be missing
/// if a lock of the stack is held on this thread, which no caller of the public interface can do.
pub(crate) fn locked<R>(f: impl FnOnce(&mut Key<StackLocks>) -> R) -> R {
    match Key::<StackLocks>::take() {
        Some(mut key) => f(&mut key),
        None => unreachable!("the stack was called while this thread was inside the stack"),
    }
}

impl Shared {
    /// A stack with these addresses for `workers` workers on a link.
    pub fn new(
        config: Config,
        addresses: &[(IpAddr, u8)],
        link: LinkCaps,
        workers: usize,
        seed: [u8; 32],
    ) -> Result<Arc<Self>, crate::stack::SetupError> {
        config.validate()?;
        let mut rng = Rng::from_seed(seed);
        let addressing = Addressing::new(addresses)?;
        let link = LinkCaps {
            offload: link.offload.usable(),
            ..link
        };
        let buffers = Buffers::new(
            link.slab_bytes(),
            config.max_large_slabs,
            config.max_small_slabs,
        );
        let worker = |_| WorkerHandle {
            mailbox: Arc::new(Mailbox::new()),
            counters: Arc::new(Counters::new()),
        };
        Ok(Arc::new(Self {
            tcp_config: Arc::new(config.tcp.clone()),
            link,
            buffers,
            workers: (0..workers.max(1)).map(worker).collect(),
            flows: Flows::new(HashKey::random(&mut rng), config.max_connections),
            listeners: RwLock::new(BindTable::new(MAX_BOUND, HashKey::random(&mut rng))),
            udp: RwLock::new(UdpTable::new(MAX_BOUND, HashKey::random(&mut rng))),
            addressing: RwLock::new(Arc::new(addressing)),
            addressing_version: AtomicU64::new(1),
            path_mtu_known: AtomicBool::new(false),
            identification: Identification::new(&mut rng),
            path_mtu: RwLock::new(PathMtu::new(
                config.path_mtu_entries,
                HashKey::random(&mut rng),
            )),
            reassembly: Mutex::new(Reassembly::new(
                config.reassembly_slots,
                config.reassembly_bytes,
                config.reassembly_timeout,
                HashKey::random(&mut rng),
            )),
            reassembly_deadline: AtomicU64::new(u64::MAX),
            icmp_limit: Mutex::new(IcmpLimiter::new(
                config.icmp_errors_per_second,
                config.icmp_error_burst,
                Instant::ZERO,
            )),
            ports: Mutex::new(PortAllocator::new(
                config.ephemeral_port_first,
                config.ephemeral_port_last,
                &mut rng,
            )),
            isn: IsnGenerator::new(&mut rng),
            seed,
            now_nanos: AtomicU64::new(0),
            config,
        }))
    }

    /// The time of the latest turn of any worker.
    pub fn now(&self) -> Instant {
        Instant::from_nanos(self.now_nanos.load(Ordering::Relaxed))
    }

    /// A worker begins a turn.
    pub fn set_now(&self, now: Instant) {
        self.now_nanos.fetch_max(now.as_nanos(), Ordering::Relaxed);
    }

    /// Tells every worker to end.
    pub fn stop_workers(&self) {
        for worker in &self.workers {
            worker.mailbox.send(Message::Stop);
        }
    }

    /// What is known of the path to `remote`.
    pub(crate) fn path(&self, key: &mut Key<StackLocks>, remote: IpAddr, now: Instant) -> Path {
        if !self.path_mtu_known.load(Ordering::Acquire) {
            return Path {
                mtu: self.link.mtu,
                dont_fragment: true,
            };
        }
        self.path_mtu.with_read(&mut key.ctx(), |paths, _| {
            paths.path(remote, self.link.mtu, now)
        })
    }
}
