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

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use netstack::base::Config;
use netstack::base::counters::{Counter, DropReason};
use netstack::net::{CountersSnapshot, TcpListener, TcpStream, UdpSocket};
use packet::buf::Audit;

use super::input::Input;
use super::packets::{Path, Tcp, certainly_bad, checksums_hold, fix_checksums, mutate};
use crate::capture::{Captured, tcp_segment};
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

/// Drop reasons that a received packet can cause for another packet: a fragment that is given up, or
/// the answer.
const BESIDE: [DropReason; 7] = [
    DropReason::FragmentInvalid,
    DropReason::FragmentTimeout,
    DropReason::FragmentNoMemory,
    DropReason::FragmentOverlap,
    DropReason::NoRoute,
    DropReason::TooBig,
    DropReason::TransmitFailed,
];

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
    let mut input = Input::new(data);
    let mut world = World::new(input.rarely(2), u64::from(input.u16()));
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

/// Formats the first bytes of a packet for a message.
fn hex(packet: &[u8]) -> String {
    format!(
        "{} bytes {:02x?}",
        packet.len(),
        &packet[..packet.len().min(96)]
    )
}

type Connecting = Pin<Box<dyn Future<Output = std::io::Result<TcpStream>> + Send>>;

struct World {
    stack: VirtualStack,
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
    fn new(v6: bool, seed: u64) -> Self {
        let (from, to, prefix): (IpAddr, IpAddr, u8) = if v6 {
            (
                [0xfd00, 0, 0, 0, 0, 0, 0, 9].into(),
                [0xfd00, 0, 0, 0, 0, 0, 0, 1].into(),
                64,
            )
        } else {
            ([10, 0, 0, 9].into(), [10, 0, 0, 1].into(), 24)
        };
        let stack = VirtualStack::new(config(), &[(to, prefix)], MTU, seed).expect("a stack");
        let at = |port| SocketAddr::new(to, port);
        Self {
            listener: TcpListener::bind_now(stack.stack(), at(LISTENS)).ok(),
            udp: UdpSocket::bind_now(stack.stack(), at(DATAGRAMS)).ok(),
            stack,
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

    fn on_open_connection(&mut self, input: &mut Input<'_>) {
        let flags = [
            0x10, 0x10, 0x18, 0x10, 0x11, 0x14, 0x04, 0x02, 0x12, 0x30, 0x00, 0xff,
        ];
        let flags = flags[input.below(12)];
        let seq = match input.below(6) {
            0..=2 => 0,
            3 => u32::from(input.u16()),
            4 => u32::from(input.u8()).wrapping_neg(),
            _ => input.u32(),
        };
        let ack = match input.below(6) {
            0..=3 => 0,
            4 => u32::from(input.u16()).wrapping_neg(),
            _ => input.u32(),
        };
        let len = [0, 1, 100, 536, 1_460][input.below(5)];
        let options = self.options(input);
        let packet = self.segment(flags, seq, ack, &options, &vec![3; len]);
        if seq == 0 && flags & 0x07 == 0 {
            // Only data moves the peer on: after a FIN, SYN or RST it repeats the same numbers.
            self.seq = self.seq.wrapping_add(len as u32);
        }
        self.mutated(packet, input);
    }

    fn options(&self, input: &mut Input<'_>) -> Vec<u8> {
        match input.below(6) {
            0 | 1 => Vec::new(),
            2 => vec![
                2,
                4,
                input.u8(),
                input.u8(),
                1,
                3,
                3,
                input.u8(),
                4,
                2,
                1,
                1,
            ],
            3 => {
                let mut options = vec![1, 1, 8, 10];
                options.extend(input.u32().to_be_bytes());
                options.extend(input.u32().to_be_bytes());
                options
            }
            4 => {
                let left = self.ack.wrapping_sub(u32::from(input.u16()));
                let right = left.wrapping_add(u32::from(input.u16()));
                let mut options = vec![1, 1, 5, 10];
                options.extend(left.to_be_bytes());
                options.extend(right.to_be_bytes());
                options
            }
            _ => input.bytes(40).to_vec(),
        }
    }

    fn on_listener(&mut self, input: &mut Input<'_>) {
        let options = self.options(input);
        let tcp = Tcp {
            from: 5_000 + u16::from(input.u8()),
            to: if input.rarely(8) {
                input.u16()
            } else {
                LISTENS
            },
            seq: input.u32(),
            ack: input.u32(),
            flags: [0x02, 0x02, 0x02, 0x10, 0x04, 0x12, 0x42, 0xc2][input.below(8)],
            window: input.u16(),
            options: &options,
        };
        let packet = self.path.tcp(&tcp, &vec![4; input.below(40)]);
        self.mutated(packet, input);
    }

    fn icmp_error(&mut self, input: &mut Input<'_>) {
        let mut quoted = self.last_sent.clone();
        quoted.truncate(input.below(600));
        let (kind, code) = match (self.path.to.is_ipv4(), input.below(4)) {
            (true, 0) => (3, 4),
            (true, 1) => (3, input.u8() % 16),
            (true, 2) => (11, 0),
            (false, 0) => (2, 0),
            (false, 1) => (1, input.u8() % 8),
            (false, 2) => (3, 0),
            _ => (input.u8(), input.u8()),
        };
        let rest = u32::from(input.u16()).to_be_bytes();
        let packet = self.path.icmp(kind, code, rest, &quoted);
        self.mutated(packet, input);
    }

    /// Sends one datagram in two or three fragments, in any order; some may be missing or mutated.
    fn fragmented(&mut self, input: &mut Input<'_>) {
        let len = 16 + input.below(1_400);
        let whole = self.path.udp(1_000, DATAGRAMS, &vec![6; len]);
        let headers = if self.path.to.is_ipv4() { 20 } else { 40 };
        let whole = whole.get(headers..).unwrap_or_default().to_vec();
        let size = (whole.len() / 3).next_multiple_of(8).max(8);
        let id = 100 + u16::from(input.u8());
        let mut fragments: Vec<Vec<u8>> = whole
            .chunks(size)
            .enumerate()
            .map(|(n, bytes)| {
                let offset = n * size / 8;
                let more = (n + 1) * size < whole.len();
                self.path.fragment(id, offset as u16, more, 17, bytes)
            })
            .collect();
        while !fragments.is_empty() {
            let which = input.below(fragments.len());
            let fragment = fragments.swap_remove(which);
            if !input.rarely(16) {
                self.mutated(fragment, input);
            }
        }
    }

    /// Sends a captured packet from the peer to the stack, most often to an open port.
    fn seed(&mut self, input: &mut Input<'_>, seeds: &[Vec<u8>]) {
        if seeds.is_empty() {
            return;
        }
        let mut packet = seeds[input.below(seeds.len())].clone();
        let (from, to, at) = match (self.path.from, self.path.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                (from.octets().to_vec(), to.octets().to_vec(), 12)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => (from.octets().to_vec(), to.octets().to_vec(), 8),
            _ => return,
        };
        let family = if at == 12 { 4 } else { 6 };
        if packet.first().map(|first| first >> 4) != Some(family) || packet.len() < 60 {
            return;
        }
        packet[at..at + from.len()].copy_from_slice(&from);
        packet[at + from.len()..at + from.len() + to.len()].copy_from_slice(&to);
        let ports = if family == 4 { 20 } else { 40 };
        if !input.rarely(8) {
            packet[ports + 2..ports + 4].copy_from_slice(&LISTENS.to_be_bytes());
        }
        fix_checksums(&mut packet);
        self.mutated(packet, input);
    }

    fn answer_active_open(&mut self, input: &mut Input<'_>) {
        if self.connecting.is_none() {
            let stack = self.stack.stack().clone();
            let remote = SocketAddr::new(self.path.from, 443);
            self.connecting = Some(Box::pin(
                async move { TcpStream::connect(&stack, remote).await },
            ));
            self.connect();
            self.settle();
            return;
        }
        let Some((port, seq)) = self.syn else { return };
        let options = self.options(input);
        let tcp = Tcp {
            from: 443,
            to: port,
            seq: 7_000,
            ack: seq.wrapping_add(1).wrapping_add(u32::from(input.rarely(4))),
            flags: [0x12, 0x12, 0x02, 0x14, 0x10][input.below(5)],
            window: 1_000,
            options: &options,
        };
        let packet = self.path.tcp(&tcp, b"");
        self.mutated(packet, input);
    }

    fn application(&mut self, input: &mut Input<'_>) {
        self.accept();
        self.connect();
        let which = input.below(self.streams.len().max(1));
        let action = input.below(7);
        if let Some(stream) = self.streams.get_mut(which) {
            match action {
                0 | 1 => {
                    let _ = stream.try_read(&mut [0; 4_096]);
                }
                2 | 3 => {
                    let _ = stream.try_write(&vec![5; input.below(20_000)]);
                }
                4 => {
                    let mut context = Context::from_waker(Waker::noop());
                    let stream = Pin::new(stream);
                    let _ = tokio::io::AsyncWrite::poll_shutdown(stream, &mut context);
                }
                5 => drop(self.streams.swap_remove(which)),
                _ => {
                    let _ = stream.set_linger(Some(Duration::ZERO));
                    drop(self.streams.swap_remove(which));
                }
            }
        }
        if let Some(udp) = &self.udp {
            let mut buffer = [0; 2_048];
            if let Ok((len, from)) = udp.try_recv_from(&mut buffer) {
                let _ = udp.try_send_to(&buffer[..len], from);
            }
        }
        self.settle();
    }

    fn accept(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        while let Some(listener) = &self.listener
            && let Poll::Ready(Ok((stream, _))) = listener.poll_accept(&mut context)
        {
            self.streams.push(stream);
        }
    }

    fn connect(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        if let Some(connecting) = &mut self.connecting
            && let Poll::Ready(result) = connecting.as_mut().poll(&mut context)
        {
            self.connecting = None;
            self.syn = None;
            self.streams.extend(result);
        }
    }

    fn mutated(&mut self, mut packet: Vec<u8>, input: &mut Input<'_>) {
        mutate(&mut packet, input);
        self.deliver(packet);
    }

    /// Delivers one packet to the stack and checks how it was counted.
    fn deliver(&mut self, packet: Vec<u8>) {
        let bad = certainly_bad(&packet, self.path.to);
        let before = self.stack.stack().counters();
        self.stack.deliver(packet.clone(), 0);
        self.settle();
        let after = self.stack.stack().counters();
        let counted = after.count(Counter::PacketsIn) - before.count(Counter::PacketsIn);
        assert_eq!(
            counted,
            1,
            "one packet in was counted {counted} times: {}",
            hex(&packet)
        );
        let dropped: Vec<(&str, u64)> = DropReason::ALL
            .iter()
            .filter(|reason| bad.is_some() || !BESIDE.contains(reason))
            .map(|reason| {
                (
                    reason.label(),
                    after.dropped(*reason) - before.dropped(*reason),
                )
            })
            .filter(|(_, count)| *count > 0)
            .collect();
        let total: u64 = dropped.iter().map(|(_, count)| count).sum();
        match bad {
            Some(why) => assert_eq!(
                total,
                1,
                "an invalid packet ({why}) was counted as {dropped:?}: {}",
                hex(&packet)
            ),
            None => assert!(
                total <= 1,
                "one packet was discarded as {dropped:?}: {}",
                hex(&packet)
            ),
        }
    }

    fn advance(&mut self, by: Duration) {
        self.now += by;
        self.settle();
    }

    fn settle(&mut self) {
        let mut sent = std::mem::take(&mut self.sent);
        self.next_timer = self
            .stack
            .settle(self.now, &mut sent)
            .expect("the stack becomes idle");
        for packet in sent.drain(..) {
            self.check_sent(&packet);
            self.last_sent = packet;
        }
        self.sent = sent;
        let stack = self.stack.stack();
        assert!(stack.connections() <= CONNECTIONS, "{stack:?}");
        assert!(stack.half_open() <= HALF_OPEN + TIME_WAITS, "{stack:?}");
        assert!(stack.time_waits() <= TIME_WAITS, "{stack:?}");
        let (large, small) = stack.slabs_in_use();
        assert!(large <= LARGE_SLABS && small <= SMALL_SLABS);
    }

    fn check_sent(&mut self, packet: &[u8]) {
        assert!(
            packet.len() <= usize::from(MTU),
            "{} bytes sent",
            packet.len()
        );
        assert!(
            checksums_hold(packet),
            "sent with a wrong checksum: {}",
            hex(packet)
        );
        let sliced = etherparse::SlicedPacket::from_ip(packet);
        let sliced =
            sliced.unwrap_or_else(|error| panic!("sent, malformed: {error}: {}", hex(packet)));
        let from = match &sliced.net {
            Some(etherparse::NetSlice::Ipv4(ip)) => IpAddr::from(ip.header().source_addr()),
            Some(etherparse::NetSlice::Ipv6(ip)) => IpAddr::from(ip.header().source_addr()),
            _ => panic!("sent what is not IP: {}", hex(packet)),
        };
        assert_eq!(from, self.path.to, "sent with a source that is not ours");
        let captured = Captured {
            number: 0,
            time: self.now,
            ip: packet.to_vec(),
        };
        let Some((from, to, segment)) = tcp_segment(&captured) else {
            return;
        };
        let behind = segment.payload.len() as u32 + u32::from(segment.syn) + u32::from(segment.fin);
        if to.port() == PEER && from.port() == LISTENS && !segment.rst {
            self.ack = segment.seq.wrapping_add(behind);
        }
        if segment.syn && !segment.has_ack {
            self.syn = Some((from.port(), segment.seq));
        }
    }

    /// Closes every socket, lets all timers run, and checks that no connection and no buffer is left.
    fn end(&mut self) {
        self.listener = None;
        self.udp = None;
        self.connecting = None;
        self.streams.clear();
        self.settle();
        for _ in 0..10_000 {
            let Some(at) = self.next_timer else { break };
            self.now = self.now.max(at);
            self.settle();
        }
        let stack = self.stack.stack();
        assert_eq!(
            stack.connections(),
            0,
            "connections are left {:?} after everything was closed: {:?}",
            self.now,
            stack.tcp_info()
        );
        assert_eq!((stack.half_open(), stack.time_waits()), (0, 0), "{stack:?}");
        assert_eq!(stack.slabs_in_use(), (0, 0), "slabs were not given back");
        for audit in stack.audit() {
            assert!(audit.is_clean() || audit == Audit::Unsupported, "{audit:?}");
        }
    }
}
