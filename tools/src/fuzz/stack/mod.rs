//! A whole stack under arbitrary packets: a listener, a UDP socket, an open connection, one that is
//! being opened, and an application that reads, writes and closes at arbitrary times.
//!
//! The invariants that hold for any input:
//!
//! * The stack does not panic, and it becomes idle at every instant.
//! * Each received packet is counted once, and discarded for at most one reason. A packet that is
//!   certainly invalid, by the checks here and not by the stack's, is discarded for exactly one.
//! * Each packet that the stack sends is well-formed, fits the link, comes from the stack's own address
//!   and has right checksums.
//! * Connections and buffers stay within their limits. After every socket is closed and all timers
//!   have run, none of them is left.

mod application;
mod checks;
mod peer;

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use netstack::base::{Config, OffloadCaps};
use netstack::net::{CountersSnapshot, TcpListener, TcpStream, UdpSocket};

use super::input::Input;
use super::packets::{Path, Tcp, mutate};
use crate::virtual_stack::VirtualStack;

const MTU: u16 = 1_500;
const LISTENS: u16 = 80;
const DATAGRAMS: u16 = 53;
/// The peer's port of the connection that is open from the start.
const PEER: u16 = 4_000;
const ISN: u32 = 0xffff_f000;
/// Most operations of one input.
const MAX_OPERATIONS: usize = 400;
/// Limits of the stack: low, so that the fuzzer reaches them.
const CONNECTIONS: usize = 48;
const HALF_OPEN: usize = 12;
const TIME_WAITS: usize = 16;
const LARGE_SLABS: usize = 48;
const SMALL_SLABS: usize = 96;

/// Runs `data` as a sequence of packets, times and application calls.
///
/// # Panics
/// Panics if the stack breaks one of the invariants of this module: that is its purpose.
pub fn fuzz_stack(data: &[u8]) {
    let _ = fuzz_stack_with(&[], data);
}

/// As [`fuzz_stack`], with IP packets of real captures among the packets to mutate. Returns the stack's
/// counters, which show how far the input got.
///
/// # Panics
/// As [`fuzz_stack`].
pub fn fuzz_stack_with(seeds: &[Vec<u8>], data: &[u8]) -> CountersSnapshot {
    run(seeds, data, Offload::No)
}

/// As [`fuzz_stack`], on a device that cuts super-packets, merges what arrives, and vouches for checksums, as a TUN
/// device with offload does. Returns the stack's counters.
///
/// # Panics
/// As [`fuzz_stack`].
pub fn fuzz_offload(data: &[u8]) -> CountersSnapshot {
    run(&[], data, Offload::Yes)
}

/// The work that the device does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Offload {
    No,
    Yes,
}

fn run(seeds: &[Vec<u8>], data: &[u8], offload: Offload) -> CountersSnapshot {
    let mut input = Input::new(data);
    let mut world = World::new(input.rarely(2), u64::from(input.u16()), offload);
    world.open();
    for _ in 0..MAX_OPERATIONS {
        if input.is_empty() {
            break;
        }
        world.operation(&mut input, seeds);
    }
    world.end();
    world.stack.stack().counters()
}

type Connecting = Pin<Box<dyn Future<Output = std::io::Result<TcpStream>> + Send>>;

struct World {
    stack: VirtualStack,
    offload: Offload,
    /// The device's word on the next packet: its segment size, and that its checksum is right.
    gso_size: u16,
    vouches: bool,
    path: Path,
    listener: Option<TcpListener>,
    udp: Option<UdpSocket>,
    streams: Vec<TcpStream>,
    connecting: Option<Connecting>,
    now: Duration,
    next_timer: Option<Duration>,
    /// The peer's sequence and acknowledgement number on the open connection.
    seq: u32,
    ack: u32,
    /// The last SYN that the stack sent to open a connection: port, sequence number.
    syn: Option<(u16, u32)>,
    sent: Vec<Vec<u8>>,
    /// The last packet that the stack sent, to quote in ICMP errors.
    last_sent: Vec<u8>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("stack", &self.stack)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

fn config() -> Config {
    let mut config = Config {
        max_connections: CONNECTIONS,
        max_half_open: HALF_OPEN,
        max_time_wait: TIME_WAITS,
        max_large_slabs: LARGE_SLABS,
        max_small_slabs: SMALL_SLABS,
        reassembly_slots: 8,
        reassembly_bytes: 70_000,
        reassembly_timeout: Duration::from_secs(5),
        udp_queue_datagrams: 16,
        ..Config::default()
    };
    config.tcp.recv_buffer_initial = 8 << 10;
    config.tcp.recv_buffer_max = 64 << 10;
    config.tcp.send_buffer = 16 << 10;
    config.tcp.backlog = 8;
    config.tcp.syn_retries = 2;
    config.tcp.data_retries = 3;
    config.tcp.rto_max = Duration::from_secs(4);
    config.tcp.time_wait = Duration::from_secs(2);
    config.tcp.fin_wait_2 = Duration::from_secs(5);
    config.tcp.max_reassembly_ranges = 8;
    config
}

impl World {
    fn new(v6: bool, seed: u64, offload: Offload) -> Self {
        let (from, to, prefix): (IpAddr, IpAddr, u8) = if v6 {
            (
                [0xfd00, 0, 0, 0, 0, 0, 0, 9].into(),
                [0xfd00, 0, 0, 0, 0, 0, 0, 1].into(),
                64,
            )
        } else {
            ([10, 0, 0, 9].into(), [10, 0, 0, 1].into(), 24)
        };
        let works = offload == Offload::Yes;
        let caps = OffloadCaps {
            tso: works,
            uso: works,
            tx_checksum: works,
        };
        let stack = VirtualStack::with_offload(config(), &[(to, prefix)], MTU, caps, seed);
        let stack = stack.expect("a stack");
        let at = |port| SocketAddr::new(to, port);
        Self {
            listener: TcpListener::bind_now(stack.stack(), at(LISTENS)).ok(),
            udp: UdpSocket::bind_now(stack.stack(), at(DATAGRAMS)).ok(),
            stack,
            offload,
            gso_size: 0,
            vouches: false,
            path: Path { from, to },
            streams: Vec::new(),
            connecting: None,
            now: Duration::ZERO,
            next_timer: None,
            seq: ISN,
            ack: 0,
            syn: None,
            sent: Vec::new(),
            last_sent: Vec::new(),
        }
    }

    /// Performs the handshake of the connection that is open from the start.
    fn open(&mut self) {
        let syn = self.segment(0x02, 0, 0, &[], b"");
        self.deliver(syn);
        self.seq = self.seq.wrapping_add(1);
        assert_ne!(self.ack, 0, "a SYN to a listener was not answered");
        let ack = self.segment(0x10, 0, 0, &[], b"");
        self.deliver(ack);
        self.accept();
        assert_eq!(self.streams.len(), 1, "a handshake gave no connection");
    }

    /// Builds a segment of the open connection, with `seq` and `ack` as distances from the expected
    /// numbers.
    fn segment(&self, flags: u8, seq: u32, ack: u32, options: &[u8], payload: &[u8]) -> Vec<u8> {
        let tcp = Tcp {
            from: PEER,
            to: LISTENS,
            seq: self.seq.wrapping_add(seq),
            ack: self.ack.wrapping_add(ack),
            flags,
            window: 0xffff,
            options,
        };
        self.path.tcp(&tcp, payload)
    }

    fn operation(&mut self, input: &mut Input<'_>, seeds: &[Vec<u8>]) {
        match input.below(21) {
            0..=5 => self.on_open_connection(input),
            6 | 7 => self.on_listener(input),
            8 => {
                let to = if input.rarely(4) {
                    input.u16()
                } else {
                    DATAGRAMS
                };
                let len = input.below(3_000);
                let payload = vec![input.u8(); len];
                let packet = self.path.udp(input.u16(), to, &payload);
                self.mutated(packet, input);
            }
            9 => {
                let len = input.below(1_400);
                let packet = self.path.echo(input.u16(), &vec![1; len]);
                self.mutated(packet, input);
            }
            10 => self.icmp_error(input),
            11 => {
                let (id, offset) = (u16::from(input.u8() % 4), u16::from(input.u8()));
                let more = !input.rarely(3);
                let proto = [17, 6, 1, 58][input.below(4)];
                let len = (input.below(1_480)).max(1);
                let len = if input.rarely(4) {
                    len
                } else {
                    len.next_multiple_of(8)
                };
                let packet = self.path.fragment(id, offset, more, proto, &vec![2; len]);
                self.mutated(packet, input);
            }
            12 => {
                let len = input.below(128);
                let bytes = input.bytes(len).to_vec();
                self.deliver(bytes);
            }
            13 => self.seed(input, seeds),
            20 => self.fragmented(input),
            14 => self.answer_active_open(input),
            15 => {
                let millis = [1, 10, 50, 300, 2_000, 30_000][input.below(6)];
                self.advance(Duration::from_millis(millis));
            }
            16 => {
                if let Some(at) = self.next_timer {
                    self.advance(at.saturating_sub(self.now));
                }
            }
            _ => self.application(input),
        }
    }

    fn mutated(&mut self, mut packet: Vec<u8>, input: &mut Input<'_>) {
        if self.offload == Offload::Yes {
            self.gso_size = [0, 0, 1, 536, 1_460, 1_448, u16::MAX][input.below(7)];
            self.vouches = input.rarely(2);
        }
        mutate(&mut packet, input);
        self.deliver(packet);
    }

    fn advance(&mut self, by: Duration) {
        self.now += by;
        self.settle();
    }
}
