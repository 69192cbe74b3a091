//! Two stacks with an adversary between them: whatever it does to their packets, a byte that arrives is the one that was
//! sent.
//!
//! The adversary drops, doubles, delays, exchanges and cuts packets, plays old ones again, inverts bits, invents blind
//! segments and ICMP errors, and lies about windows, acknowledgments and time stamps. It does not change payload, sequence
//! numbers or flags and mend the checksum: against that, TCP has no remedy.
//!
//! * What a side reads is a prefix of what the other one wrote, and the whole of it if the stream ends without an error.
//! * Afterwards nothing is left: no connection, no timer, no memory.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use netstack::base::{Config, OffloadCaps};
use netstack::net::{Stack, TcpListener, TcpStream};
use packet::IpProto;
use packet::ip::Outline;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::input::Input;
use super::packets::{Path, fix_checksums};
use crate::virtual_stack::VirtualStack;

const MTU: u16 = 1_500;
const PORT: u16 = 7;
/// Bytes of the stream in each direction: more than the windows.
pub const STREAM_BYTES: u64 = 60_000;
/// Packets of which the adversary takes notice.
const PACKETS_MAX: usize = 3_000;
/// Packets that it keeps, to send them later.
const KEPT_MAX: usize = 64;
/// Time in which everything must have gone when the adversary has.
const AFTERWARDS: Duration = Duration::from_secs(3_600);
const TCP_ACK_AT: usize = 8;
const TCP_WINDOW_AT: usize = 14;
const TCP_OPTIONS_AT: usize = 20;

/// Runs `data` as the decisions of an adversary. Returns how many bytes each side read.
///
/// # Panics
/// Panics if a stream is not what was written, or something is left: that is its purpose.
pub fn fuzz_between(data: &[u8]) -> [u64; 2] {
    let mut input = Input::new(data);
    let mut world = World::new(&mut input);
    for _ in 0..PACKETS_MAX {
        if input.is_empty() || !world.step(&mut input) {
            break;
        }
    }
    world.end();
    world
        .progress
        .map(|progress| progress.read.load(Ordering::Relaxed))
}

/// The byte of a side's stream at an offset.
fn byte(side: usize, offset: u64) -> u8 {
    (offset.wrapping_mul(131) >> (side + 3)) as u8 ^ offset as u8
}

/// One stack and what it has done.
struct Side {
    stack: VirtualStack,
    sent: Vec<Vec<u8>>,
    next_timer: Option<Duration>,
}

/// The progress of a side's reading.
#[derive(Debug, Default)]
struct Progress {
    read: AtomicU64,
    is_wrong: AtomicBool,
    is_cut: AtomicBool,
}

struct World {
    sides: [Side; 2],
    paths: [Path; 2],
    progress: [Arc<Progress>; 2],
    now: Duration,
    kept: Vec<(usize, Vec<u8>)>,
}

fn config() -> Config {
    let mut config = Config {
        memory_bytes: Some(Config::MIN_MEMORY_BYTES),
        max_connections: 16,
        ..Config::default()
    };
    config.tcp.recv_buffer_initial = 8 << 10;
    config.tcp.recv_buffer_max = 32 << 10;
    config.tcp.send_buffer = 16 << 10;
    config.tcp.data_retries = 5;
    config.tcp.rto_max = Duration::from_secs(4);
    config.tcp.time_wait = Duration::from_secs(2);
    config.tcp.keepalive_idle = Some(Duration::from_secs(60));
    config
}

/// Writes the side's stream, reads the other one, and compares each byte.
async fn exchange(stream: TcpStream, side: usize, progress: Arc<Progress>) {
    let (mut reader, mut writer) = stream.into_split();
    let write = async {
        let mut at = 0;
        while at < STREAM_BYTES {
            let piece: Vec<u8> = (at..(at + 3_000).min(STREAM_BYTES))
                .map(|n| byte(side, n))
                .collect();
            writer.write_all(&piece).await?;
            at += piece.len() as u64;
        }
        writer.shutdown().await
    };
    let read = async {
        let mut buffer = [0; 4_096];
        loop {
            let count = reader.read(&mut buffer).await?;
            let at = progress.read.fetch_add(count as u64, Ordering::Relaxed);
            if count == 0 {
                progress.is_cut.store(at < STREAM_BYTES, Ordering::Relaxed);
                return Ok(());
            }
            let is_right = (at..)
                .zip(&buffer[..count])
                .all(|(n, got)| *got == byte(1 - side, n));
            if !is_right || at + count as u64 > STREAM_BYTES {
                progress.is_wrong.store(true, Ordering::Relaxed);
            }
        }
    };
    // A connection may end with an error: then the rest does not arrive.
    let _: std::io::Result<((), ())> = futures::try_join!(write, read);
}

impl World {
    fn new(input: &mut Input<'_>) -> Self {
        let is_v6 = input.rarely(2);
        let address = |side: u8| -> (IpAddr, u8) {
            match is_v6 {
                true => ([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(side) + 1].into(), 64),
                false => ([10, 0, 0, side + 1].into(), 24),
            }
        };
        let (a, b) = (address(0), address(1));
        let mut stack = |own: (IpAddr, u8)| {
            let works = input.rarely(2);
            let caps = OffloadCaps {
                tso: works,
                uso: false,
                tx_checksum: works,
            };
            let seed = u64::from(input.u8());
            VirtualStack::with_offload(config(), &[own], MTU, caps, seed).expect("a stack")
        };
        let side = |stack| Side {
            stack,
            sent: Vec::new(),
            next_timer: None,
        };
        let mut world = Self {
            sides: [side(stack(a)), side(stack(b))],
            paths: [Path { from: b.0, to: a.0 }, Path { from: a.0, to: b.0 }],
            progress: [Arc::default(), Arc::default()],
            now: Duration::ZERO,
            kept: Vec::new(),
        };
        world.open(SocketAddr::new(b.0, PORT));
        world
    }

    fn open(&mut self, service: SocketAddr) {
        let [a, b] = &mut self.sides;
        let listener = TcpListener::bind_now(b.stack.stack(), service).expect("a free port");
        let progress = Arc::clone(&self.progress[1]);
        b.stack.spawn(async move {
            if let Ok((stream, _)) = listener.accept().await {
                exchange(stream, 1, progress).await;
            }
        });
        let (stack, progress) = (a.stack.stack().clone(), Arc::clone(&self.progress[0]));
        a.stack.spawn(async move {
            if let Ok(stream) = TcpStream::connect(&stack, service).await {
                exchange(stream, 0, progress).await;
            }
        });
        self.settle();
    }

    /// Lets both stacks do what they can, and checks what they have read.
    fn settle(&mut self) {
        for side in &mut self.sides {
            let settled = side.stack.settle(self.now, &mut side.sent);
            side.next_timer = settled.expect("a stack becomes idle");
        }
        for (side, progress) in self.progress.iter().enumerate() {
            let read = progress.read.load(Ordering::Relaxed);
            assert!(
                !progress.is_wrong.load(Ordering::Relaxed),
                "side {side} read other bytes than were sent"
            );
            assert!(
                !progress.is_cut.load(Ordering::Relaxed),
                "the stream of side {side} ended at {read} without an error"
            );
        }
    }

    /// Takes the next packet, or time if there is none; false if nothing will happen any more.
    fn step(&mut self, input: &mut Input<'_>) -> bool {
        let waiting: Vec<usize> = (0..2)
            .filter(|side| !self.sides[*side].sent.is_empty())
            .collect();
        if waiting.is_empty() && self.kept.is_empty() {
            return self.pass_time();
        }
        let Some(&from) = waiting.get(input.below(waiting.len().max(1))) else {
            self.send_kept(input);
            return true;
        };
        let packet = self.sides[from].sent.remove(0);
        self.treat(from, packet, input);
        self.settle();
        true
    }

    fn pass_time(&mut self) -> bool {
        let timers = self.sides.iter().filter_map(|side| side.next_timer);
        let Some(next) = timers.min() else {
            return false;
        };
        self.now = self.now.max(next);
        self.settle();
        true
    }

    fn send_kept(&mut self, input: &mut Input<'_>) {
        let which = input.below(self.kept.len().max(1));
        if which < self.kept.len() {
            let (from, packet) = self.kept.swap_remove(which);
            self.sides[1 - from].stack.deliver(packet, 0);
        }
        self.settle();
    }

    /// Does something with a packet of side `from`.
    fn treat(&mut self, from: usize, mut packet: Vec<u8>, input: &mut Input<'_>) {
        let to = 1 - from;
        match input.below(16) {
            0 => {}
            1 => {
                self.sides[to].stack.deliver(packet.clone(), 0);
                self.sides[to].stack.deliver(packet, 0);
            }
            2 | 3 if self.kept.len() < KEPT_MAX => self.kept.push((from, packet)),
            4 if self.kept.len() < KEPT_MAX => {
                self.kept.push((from, packet.clone()));
                self.sides[to].stack.deliver(packet, 0);
            }
            5 => {
                let bit = input.below(packet.len() * 8);
                packet[bit / 8] ^= 1 << (bit % 8);
                self.sides[to].stack.deliver(packet, 0);
            }
            6 => {
                packet.truncate(input.below(packet.len()));
                self.sides[to].stack.deliver(packet, 0);
            }
            7 | 8 => {
                lie(&mut packet, input);
                self.sides[to].stack.deliver(packet, 0);
            }
            9 => {
                self.blind(to, &packet, input);
                self.sides[to].stack.deliver(packet, 0);
            }
            10 => {
                // An ICMP error to the sender, about its packet.
                let quoted = packet
                    .get(..input.below(200).min(packet.len()))
                    .unwrap_or_default();
                let (kind, code) = if self.paths[from].to.is_ipv4() {
                    [(3, 4), (3, 3), (3, 13), (11, 0)][input.below(4)]
                } else {
                    [(2, 0), (1, 4), (1, 1), (3, 0)][input.below(4)]
                };
                let rest = u32::from(input.u16()).to_be_bytes();
                let error = self.paths[from].icmp(kind, code, rest, quoted);
                self.sides[from].stack.deliver(error, 0);
                self.sides[to].stack.deliver(packet, 0);
            }
            11 => {
                self.now += Duration::from_millis(u64::from(input.u8()));
                self.sides[to].stack.deliver(packet, 0);
            }
            _ => self.sides[to].stack.deliver(packet, 0),
        }
    }

    /// Sends a segment of somebody who knows the ports and nothing else.
    fn blind(&mut self, to: usize, model: &[u8], input: &mut Input<'_>) {
        let Some((at, _)) = tcp_at(model) else { return };
        let mut packet = model.to_vec();
        // Nowhere near: a number in the window is a lucky guess, against which TCP has no remedy either.
        let far = (0x4000_0000 + (input.u32() & 0x7fff_ffff)).to_be_bytes();
        for (byte, by) in packet[at + 4..at + 8].iter_mut().zip(far) {
            *byte = byte.wrapping_add(by);
        }
        packet[at + 13] = [0x04, 0x14, 0x02, 0x11, 0x10, 0x18][input.below(6)];
        fix_checksums(&mut packet);
        self.sides[to].stack.deliver(packet, 0);
    }

    /// Lets the adversary go, and the stacks come to their end.
    fn end(&mut self) {
        let limit = self.now + AFTERWARDS;
        loop {
            for from in 0..2 {
                for packet in std::mem::take(&mut self.sides[from].sent) {
                    self.sides[1 - from].stack.deliver(packet, 0);
                }
            }
            self.settle();
            if self.sides.iter().any(|side| !side.sent.is_empty()) {
                continue;
            }
            if !self.pass_time() || self.now > limit {
                break;
            }
        }
        for (number, side) in self.sides.iter().enumerate() {
            let stack = side.stack.stack();
            check_empty(number, stack);
        }
    }
}

fn check_empty(side: usize, stack: &Stack) {
    let left = (
        stack.connections(),
        stack.half_open(),
        stack.time_waits(),
        stack.slabs_in_use(),
    );
    assert_eq!(
        left,
        (0, 0, 0, (0, 0)),
        "side {side}: {:?}",
        stack.tcp_info()
    );
}

/// Returns where the TCP header of a packet begins, and its length.
fn tcp_at(packet: &[u8]) -> Option<(usize, usize)> {
    let outline = Outline::read(packet)?;
    let is_tcp = outline.proto == IpProto::TCP && outline.fragment.is_none();
    let len = usize::from(outline.transport.get(12)? >> 4) * 4;
    let at = packet.len().checked_sub(outline.transport.len())?;
    (is_tcp && (20..=outline.transport.len()).contains(&len)).then_some((at, len))
}

/// Changes the window, the acknowledgment or the options of a segment, with a right checksum.
fn lie(packet: &mut [u8], input: &mut Input<'_>) {
    let Some((at, len)) = tcp_at(packet) else {
        return;
    };
    let is_syn = packet[at + 13] & 0x02 != 0;
    match input.below(3) {
        0 => packet[at + TCP_WINDOW_AT..at + TCP_WINDOW_AT + 2]
            .copy_from_slice(&input.u16().to_be_bytes()),
        1 => {
            packet[at + TCP_ACK_AT..at + TCP_ACK_AT + 4].copy_from_slice(&input.u32().to_be_bytes())
        }
        // What a SYN offers decides how the rest is read: by both, or by none.
        _ if is_syn => {}
        _ => {
            for byte in &mut packet[at + TCP_OPTIONS_AT..at + len] {
                if input.rarely(3) {
                    *byte = input.u8();
                }
            }
        }
    }
    fix_checksums(packet);
}
