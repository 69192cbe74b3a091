//! One host: the state that all workers and sockets of a stack share, as a struct of parts.
//!
//! Each part is a type in the folder of its protocol, with its lock inside and methods of its own.
//! Everything else is fixed when the stack starts.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use packet::Buffers;

use super::budget::size;
use super::budget::trim::TrimTime;
use super::ending::Ending;
use super::error::SetupError;
use super::events::Subscription;
use super::icmp::limiter::ErrorLimiter;
use super::ip::addressing::{Addressing, CurrentAddressing};
use super::ip::path::PathCache;
use super::ip::reassembly::ReassemblyBuffer;
use super::multicast::groups::HostGroups;
use super::ports::Ports;
use super::reached::{Freeze, Stage};
use super::tcp::cookie::Cookies;
use super::tcp::fast_open::FastOpens;
use super::tcp::listener::SynPlaces;
use super::tcp::listeners::Listeners;
use super::tcp::options::Options;
use super::tcp::table::ConnectionTable;
use super::udp::table::{EchoSockets, SocketTable};
use super::workers::Workers;
use crate::base::{Config, ConfigError, Instant, LinkCaps, OffloadCaps, Rng, TcpConfig};
use crate::demux::PortAllocator;
use crate::icmp::limiter::IcmpLimiter;
use crate::ip::flow_label::FlowLabels;
use crate::ip::fragment::Identification;
use crate::ip::key::HashKey;
use crate::ip::pmtu::PathMtu;
use crate::ip::reassembly::Reassembly;
use crate::tcp::IsnGenerator;

/// Most listeners, and most UDP sockets: one for each port.
const MAX_BOUND: usize = 65_536;

/// One host: its addresses, connections, listeners and sockets, shared by its workers.
pub struct Host {
    pub(crate) config: Config,
    /// The link as it was when the host was created.
    link: LinkCaps,
    /// The packet buffers of this stack.
    pub buffers: Buffers,
    /// Its workers.
    pub workers: Workers,
    pub(crate) ip: IpParts,
    pub(crate) icmp_limiter: ErrorLimiter,
    pub(crate) udp: SocketTable,
    pub(crate) echo: EchoSockets,
    pub(crate) groups: HostGroups,
    pub(crate) tcp: TcpParts,
    pub(crate) ports: Ports,
    pub(crate) clock: HostClock,
    pub(crate) subscription: Subscription,
    pub(crate) ending: Ending,
    pub(crate) freeze: Freeze,
    pub(crate) seed: [u8; 32],
    pub(in crate::stack) trim_time: TrimTime,
}

/// The parts of IP.
pub(crate) struct IpParts {
    pub(crate) addressing: CurrentAddressing,
    pub(crate) paths: PathCache,
    pub(crate) reassembly: ReassemblyBuffer,
    /// The identifications from which each worker takes a part.
    pub(crate) identification: Identification,
    pub(crate) flow_labels: FlowLabels,
}

/// The parts of TCP.
pub(crate) struct TcpParts {
    pub(crate) config: Arc<TcpConfig>,
    pub(crate) connections: ConnectionTable,
    pub(crate) listeners: Listeners,
    pub(crate) isn: IsnGenerator,
    /// Most connections not yet accepted, per listener whose program set none.
    pub(crate) backlog: Arc<AtomicUsize>,
    /// Places for half-open connections.
    pub(crate) syn_places: Arc<SynPlaces>,
    pub(crate) cookies: Cookies,
    pub(crate) fast_open: FastOpens,
}

/// Reads a clock.
pub type TimeSource = Box<dyn Fn() -> Instant + Send + Sync>;

/// The time for calls of the application.
///
/// A worker's turn has a time of its own. An application calls whenever it likes: after an idle hour the
/// time of the latest turn is an hour ago. So the driver of the workers sets a source that reads its clock.
/// On virtual time nothing happens between two turns, and there is no source.
#[derive(Default)]
pub(crate) struct HostClock {
    latest_turn: AtomicU64,
    source: OnceLock<TimeSource>,
}

impl HostClock {
    /// Returns the time, which is never before that of a turn that has begun.
    pub(crate) fn now(&self) -> Instant {
        let turn = Instant::from_nanos(self.latest_turn.load(Ordering::Relaxed));
        self.source.get().map_or(turn, |read| read().max(turn))
    }

    /// Notes that a worker begins a turn at `now`.
    pub(crate) fn advance(&self, now: Instant) {
        self.latest_turn
            .fetch_max(now.as_nanos(), Ordering::Relaxed);
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
    /// Sets, once, the clock that application calls read: the one by which the workers are turned.
    pub fn set_time_source(&self, source: TimeSource) {
        let _ = self.clock.source.set(source);
    }

    /// Returns the options of a TCP socket for which nothing was set.
    pub(crate) fn tcp_options(&self) -> Options {
        Options::new(&self.tcp.config, self.config.ttl)
    }

    /// Returns the work that the device does on packets that it sends.
    #[inline]
    pub(crate) fn offload(&self) -> OffloadCaps {
        self.link.offload
    }

    /// Returns the link as it is now.
    pub(crate) fn link(&self) -> LinkCaps {
        LinkCaps {
            mtu: self.ip.paths.link_mtu(),
            ..self.link
        }
    }

    /// Returns the memory that a configuration gives this host, in bytes.
    ///
    /// # Errors
    /// It is too little for the workers.
    pub(in crate::stack) fn memory_of(&self, config: &Config) -> Result<usize, ConfigError> {
        let bytes = size::bytes(config, &self.link);
        size::check(
            bytes,
            self.buffers.large().slab_bytes(),
            self.workers.count(),
        )?;
        Ok(bytes)
    }

    /// Returns how many packets each worker takes in in one turn.
    pub(crate) fn receive_batch(&self) -> usize {
        size::batch(&self.config, &self.link, self.workers.count())
    }

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
        link.validate(addresses.iter().any(|(address, _)| address.is_ipv6()))?;
        let link = LinkCaps {
            offload: link.offload.usable(),
            ..link
        };
        let buffers = size::buffers(&config, &link, workers)?;
        let rng = &mut Rng::from_seed(seed);
        // From a generator of its own, beside the order of the others.
        let mut others = Rng::from_seed(seed.map(|byte| !byte));
        let flow_labels = FlowLabels::random(&mut others);
        Ok(Arc::new(Self {
            workers: Workers::new(workers),
            // The order of what draws from `rng` is part of what a seed means.
            tcp: TcpParts {
                config: Arc::new(config.tcp.clone()),
                backlog: Arc::new(AtomicUsize::new(config.tcp.backlog)),
                connections: ConnectionTable::new(
                    HashKey::random(rng),
                    config.max_connections,
                    config.max_time_wait,
                ),
                listeners: Listeners::new(MAX_BOUND, HashKey::random(rng)),
                isn: IsnGenerator::new(rng),
                syn_places: SynPlaces::new(config.max_half_open),
                cookies: Cookies::new(rng),
                fast_open: FastOpens::new(&mut others),
            },
            udp: SocketTable::new(MAX_BOUND, HashKey::random(rng)),
            ip: IpParts {
                addressing: CurrentAddressing::new(Addressing::new(addresses)?),
                identification: Identification::new(rng),
                flow_labels,
                paths: PathCache::new(
                    link.mtu,
                    PathMtu::new(
                        config.path_mtu_entries,
                        config.path_mtu_age,
                        HashKey::random(rng),
                    ),
                ),
                reassembly: ReassemblyBuffer::new(
                    Reassembly::new(
                        config.reassembly_slots,
                        config.reassembly_bytes,
                        config.reassembly_timeout,
                        HashKey::random(rng),
                    ),
                    buffers.charge(),
                ),
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
            echo: EchoSockets {
                asking: SocketTable::new(MAX_BOUND, HashKey::random(rng)),
                answering: SocketTable::new(MAX_BOUND, HashKey::random(rng)),
            },
            groups: HostGroups::new(Rng::from_u64(rng.u64())),
            clock: HostClock::default(),
            subscription: Subscription::default(),
            ending: Ending::default(),
            freeze: Freeze::new(Stage::Running),
            link,
            seed,
            trim_time: TrimTime::default(),
            buffers,
            config,
        }))
    }
}

#[cfg(test)]
impl Host {
    /// Creates a host with the address 10.77.0.1/24 and one worker.
    pub(in crate::stack) fn example() -> Arc<Self> {
        let link = LinkCaps {
            mtu: 1_500,
            max_packet: 1_500,
            offload: OffloadCaps::default(),
        };
        let addresses = [([10, 77, 0, 1].into(), 24)];
        Self::new(Config::default(), &addresses, link, 1, [1; 32]).expect("a host")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Duration;
    use crate::stack::tcp::open;

    /// An hour after the latest turn the application connects: the retransmission of its SYN is due a
    /// second later, not an hour ago.
    #[test]
    fn a_connection_that_is_opened_after_idle_time_counts_from_now() {
        let host = Host::example();
        let time = Arc::new(AtomicU64::new(0));
        let source = Arc::clone(&time);
        host.set_time_source(Box::new(move || {
            Instant::from_millis(source.load(Ordering::Relaxed))
        }));
        host.clock.advance(Instant::from_millis(5));
        time.store(3_600_000, Ordering::Relaxed);
        let now = Instant::from_millis(3_600_000);
        assert_eq!(host.clock.now(), now);

        let remote = "10.77.0.2:7".parse().expect("an address");
        let connection =
            open::connect(&host, None, remote, &host.tcp_options()).expect("a connection");
        let due = connection.with_state(|state| {
            let syn = state.tcp.poll_transmit(now, 0);
            assert!(syn.is_some());
            state.tcp.poll_timeout().expect("a timer")
        });
        assert!(due > now, "{due:?}");
        assert!(due - now <= Duration::from_secs(1), "{due:?}");
    }

    #[test]
    fn the_time_is_never_before_that_of_a_turn() {
        let clock = HostClock::default();
        clock.advance(Instant::from_millis(7));
        assert_eq!(clock.now(), Instant::from_millis(7));
        let _ = clock.source.set(Box::new(|| Instant::from_millis(3)));
        assert_eq!(clock.now(), Instant::from_millis(7));
    }
}
