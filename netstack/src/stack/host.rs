//! One host: the state that all workers and sockets of a stack share, as a struct of parts.
//!
//! Each part is a type in the folder of its protocol, with its lock inside and methods of its own.
//! Everything else is fixed when the stack starts.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use packet::Buffers;

use super::ending::Ending;
use super::error::SetupError;
use super::events::Subscription;
use super::icmp::limiter::ErrorLimiter;
use super::ip::addressing::Addressing;
use super::ip::path::PathCache;
use super::ip::reassembly::ReassemblyBuffer;
use super::ports::Ports;
use super::tcp::listeners::Listeners;
use super::tcp::table::ConnectionTable;
use super::udp::table::SocketTable;
use super::workers::Workers;
use crate::base::{Config, Instant, LinkCaps, Rng, TcpConfig};
use crate::demux::PortAllocator;
use crate::icmp::limiter::IcmpLimiter;
use crate::ip::fragment::Identification;
use crate::ip::key::HashKey;
use crate::ip::pmtu::PathMtu;
use crate::ip::reassembly::Reassembly;
use crate::tcp::IsnGenerator;

/// Most listeners, and most UDP sockets: one for each port.
const MAX_BOUND: usize = 65_536;

/// Slabs of each worker that are set aside for receiving: more than it receives in one turn.
const RESERVE_SLABS: usize = 64;

/// One host: its addresses, connections, listeners and sockets, shared by its workers.
pub struct Host {
    pub(crate) config: Config,
    pub(crate) link: LinkCaps,
    /// The packet buffers of this stack.
    pub buffers: Buffers,
    /// Its workers.
    pub workers: Workers,
    pub(crate) ip: IpParts,
    pub(crate) icmp_limiter: ErrorLimiter,
    pub(crate) udp: SocketTable,
    pub(crate) tcp: TcpParts,
    pub(crate) ports: Ports,
    pub(crate) clock: TurnClock,
    pub(crate) subscription: Subscription,
    pub(crate) ending: Ending,
    pub(crate) seed: [u8; 32],
}

/// The parts of IP.
pub(crate) struct IpParts {
    pub(crate) addressing: Addressing,
    pub(crate) paths: PathCache,
    pub(crate) reassembly: ReassemblyBuffer,
    /// The identifications from which each worker takes a part.
    pub(crate) identification: Identification,
}

/// The parts of TCP.
pub(crate) struct TcpParts {
    pub(crate) config: Arc<TcpConfig>,
    pub(crate) connections: ConnectionTable,
    pub(crate) listeners: Listeners,
    pub(crate) isn: IsnGenerator,
}

/// The time of the latest turn of any worker.
#[derive(Debug, Default)]
pub(crate) struct TurnClock(AtomicU64);

impl TurnClock {
    /// Returns the time of the latest turn.
    pub(crate) fn now(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::Relaxed))
    }

    /// Notes that a worker begins a turn at `now`.
    pub(crate) fn advance(&self, now: Instant) {
        self.0.fetch_max(now.as_nanos(), Ordering::Relaxed);
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("workers", &self.workers.count())
            .field("connections", &self.tcp.connections.len())
            .finish_non_exhaustive()
    }
}

impl Host {
    /// Creates a host with these addresses for `workers` workers on a link.
    ///
    /// # Errors
    /// The configuration contradicts itself, or an address cannot be had.
    pub fn new(
        config: Config,
        addresses: &[(IpAddr, u8)],
        link: LinkCaps,
        workers: usize,
        seed: [u8; 32],
    ) -> Result<Arc<Self>, SetupError> {
        config.validate()?;
        let link = LinkCaps {
            offload: link.offload.usable(),
            ..link
        };
        let rng = &mut Rng::from_seed(seed);
        Ok(Arc::new(Self {
            buffers: Buffers::new(
                link.slab_bytes(),
                config.max_large_slabs,
                config.max_small_slabs,
            )
            .with_reserve(RESERVE_SLABS * workers.max(1)),
            workers: Workers::new(workers),
            // The order of what draws from `rng` is part of what a seed means.
            tcp: TcpParts {
                config: Arc::new(config.tcp.clone()),
                connections: ConnectionTable::new(HashKey::random(rng), config.max_connections),
                listeners: Listeners::new(MAX_BOUND, HashKey::random(rng)),
                isn: IsnGenerator::new(rng),
            },
            udp: SocketTable::new(MAX_BOUND, HashKey::random(rng)),
            ip: IpParts {
                addressing: Addressing::new(addresses)?,
                identification: Identification::new(rng),
                paths: PathCache::new(
                    link.mtu,
                    PathMtu::new(config.path_mtu_entries, HashKey::random(rng)),
                ),
                reassembly: ReassemblyBuffer::new(Reassembly::new(
                    config.reassembly_slots,
                    config.reassembly_bytes,
                    config.reassembly_timeout,
                    HashKey::random(rng),
                )),
            },
            icmp_limiter: ErrorLimiter::new(IcmpLimiter::new(
                config.icmp_errors_per_second,
                config.icmp_error_burst,
                Instant::ZERO,
            )),
            ports: Ports::new(
                PortAllocator::new(config.ephemeral_port_first, config.ephemeral_port_last, rng),
                Rng::from_u64(rng.u64()),
            ),
            clock: TurnClock::default(),
            subscription: Subscription::default(),
            ending: Ending::default(),
            link,
            seed,
            config,
        }))
    }
}
