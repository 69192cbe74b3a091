//! `idle`: how much memory open, idle connections take, and what an echo costs through one of them.
//!
//! The stack runs on virtual time; its peers are packets that this program makes, so all memory is that of
//! one side. Each connection carries a request and its answer, then nothing.

use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use benches::host;
use clap::Parser;
use netstack::base::Config;
use netstack::net::{TcpListener, TcpStream};
use packet::RxChecksum;
use packet::ip::{IpPacket, Ipv4};
use packet::tcp::{TcpFlags, TcpHeader, TcpOptions, TcpView, Timestamps};
use rustix::time::{ClockId, clock_gettime};
use tools::virtual_stack::{VirtualStack, bytes_of};

const OURS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const REQUEST: &[u8] = b"a request of thirty-two bytes...";
/// Connections opened in a second of virtual time.
const RATE: usize = 36_000;
/// Echoes of a round, and rounds, of which the fastest counts: other jobs of the machine only make a round slower.
const ECHOES: u32 = 2_000;
const ROUNDS: u32 = 20;
/// A prime step: with a number of connections that it does not divide, each comes once before any comes twice.
const STEP: usize = 7_919;
/// Virtual time after which a connection rests.
const REST: Duration = Duration::from_millis(200);

/// Measures the memory of idle connections.
#[derive(Parser, Debug)]
#[command(version)]
struct Options {
    /// Number of connections.
    #[arg(long, default_value_t = 1_000_000)]
    connections: u32,
}

/// The peer of connection `n`.
#[derive(Clone, Copy)]
struct Peer {
    n: u32,
    seq: u32,
    ack: u32,
    echo: u32,
}

struct World {
    stack: VirtualStack,
    listener: TcpListener,
    now: Duration,
    sent: Vec<Vec<u8>>,
}

impl World {
    fn new(connections: u32) -> Result<Self> {
        let config = Config {
            max_connections: connections as usize + 16,
            ..Config::default()
        };
        let stack = VirtualStack::new(config, &[(OURS, 8)], 1_500, 1)?;
        let listener = TcpListener::bind_now(stack.stack(), SocketAddr::new(OURS, 7))?;
        Ok(Self {
            stack,
            listener,
            now: Duration::from_secs(1),
            sent: Vec::new(),
        })
    }

    /// Lets the stack work at this instant; returns the header of the last segment that it sent, and the
    /// length of its payload.
    fn settle(&mut self) -> Result<Option<(TcpHeader, u32)>> {
        self.sent.clear();
        self.stack.settle(self.now, &mut self.sent)?;
        let Some(packet) = self.sent.last() else {
            return Ok(None);
        };
        let ip = IpPacket::<Ipv4>::parse(packet).map_err(|e| anyhow!("sent {e:?}"))?;
        let (src, dst) = (ip.src().into(), ip.dst().into());
        let tcp = TcpView::parse(src, dst, ip.payload(), RxChecksum::Vouched)
            .map_err(|e| anyhow!("sent {e:?}"))?;
        let len = ip.payload().len() - tcp.header_len();
        Ok(Some((tcp.header(), len as u32)))
    }

    /// Sends a segment of a peer; the peer takes in the answer.
    fn send(&mut self, peer: &mut Peer, flags: TcpFlags, payload: &'static [u8]) -> Result<u32> {
        let packet = segment(peer, self.now, flags, payload)?;
        let syn = u32::from(flags.contains(TcpFlags::SYN));
        peer.seq = peer.seq.wrapping_add(payload.len() as u32 + syn);
        self.stack.deliver(packet, 0);
        Ok(match self.settle()? {
            Some((header, len)) => {
                let syn = u32::from(header.flags.contains(TcpFlags::SYN));
                peer.ack = header.seq.wrapping_add(len + syn);
                peer.echo = header.options.timestamps.map_or(0, |ts| ts.val);
                len
            }
            None => 0,
        })
    }

    /// A request of the peer and the answer of the application.
    fn echo(&mut self, peer: &mut Peer, stream: &mut TcpStream) -> Result<()> {
        let sent = self.send(peer, TcpFlags::ACK, REQUEST)?;
        ensure!(sent == 0, "an answer before the application gave one");
        let mut buffer = [0; REQUEST.len()];
        let read = stream.try_read(&mut buffer)?;
        ensure!(stream.try_write(&buffer[..read])? == REQUEST.len());
        let (header, len) = self.settle()?.context("no answer")?;
        ensure!(len as usize == REQUEST.len(), "{len} bytes of answer");
        peer.ack = header.seq.wrapping_add(len);
        self.send(peer, TcpFlags::ACK, b"")?;
        Ok(())
    }

    /// Opens connection `n` and exchanges once.
    fn open(&mut self, n: u32) -> Result<(Peer, TcpStream)> {
        let mut peer = Peer {
            n,
            seq: n.wrapping_mul(7_919),
            ack: 0,
            echo: 0,
        };
        self.send(&mut peer, TcpFlags::SYN, b"")?;
        self.send(&mut peer, TcpFlags::ACK, b"")?;
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(accepted) = self.listener.poll_accept(&mut cx) else {
            return Err(anyhow!("connection {n} was not accepted"));
        };
        let (mut stream, _) = accepted?;
        self.echo(&mut peer, &mut stream)?;
        Ok((peer, stream))
    }
}

fn segment(peer: &Peer, now: Duration, flags: TcpFlags, payload: &'static [u8]) -> Result<Vec<u8>> {
    let address = Ipv4Addr::from(0x0a01_0000 + peer.n / 50_000);
    let from = SocketAddr::new(address.into(), (10_000 + peer.n % 50_000) as u16);
    let to = SocketAddr::new(OURS, 7);
    let is_syn = flags.contains(TcpFlags::SYN);
    let header = TcpHeader {
        seq: peer.seq,
        ack: if is_syn { 0 } else { peer.ack },
        flags,
        window: 60_000,
        options: TcpOptions {
            mss: is_syn.then_some(1_460),
            window_scale: is_syn.then_some(7),
            sack_permitted: is_syn,
            timestamps: Some(Timestamps {
                val: now.as_millis() as u32,
                ecr: peer.echo,
            }),
            ..TcpOptions::default()
        },
        ..TcpHeader::default()
    };
    let packet = tools::virtual_stack::segment(from, to, &header, payload)?;
    Ok(bytes_of(&packet))
}

/// Returns the processor time of this thread: what others do on the machine is not in it.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Returns the time of an echo through one connection that stays busy.
fn echo_time(world: &mut World, (peer, stream): &mut (Peer, TcpStream)) -> Result<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = processor_time();
        for _ in 0..ECHOES {
            world.now += Duration::from_micros(100);
            world.echo(peer, stream)?;
        }
        best = best.min((processor_time() - start) / ECHOES);
    }
    Ok(best)
}

/// Returns the time of an echo through a connection that rests, each time another one of `open`: its control block
/// is made anew, and nothing of it is in a cache if there are many.
fn waking_echo_time(world: &mut World, open: &mut [(Peer, TcpStream)]) -> Result<Duration> {
    let count = open.len();
    let mut best = Duration::MAX;
    let mut at = 0;
    for _ in 0..ROUNDS {
        let mut time = Duration::ZERO;
        for _ in 0..ECHOES / 10 {
            world.now += REST;
            world.settle()?;
            at = (at + STEP) % count;
            let (peer, stream) = open.get_mut(at).context("a connection")?;
            let start = processor_time();
            world.echo(peer, stream)?;
            time += processor_time() - start;
        }
        best = best.min(time / (ECHOES / 10));
    }
    Ok(best)
}

fn main() -> Result<()> {
    let options = Options::parse();
    ensure!(
        !options.connections.is_multiple_of(STEP as u32),
        "--connections {}: take a number that {STEP} does not divide",
        options.connections
    );
    let mut world = World::new(options.connections)?;
    let mut stdout = io::stdout();
    // The peers' numbers and the handles are this program's: they are there before the measurement.
    let mut open: Vec<(Peer, TcpStream)> = Vec::with_capacity(options.connections as usize);
    for n in 0..10.min(options.connections) {
        open.push(world.open(n)?);
    }
    let first = open.first_mut().context("at least one connection")?;
    let with_ten = echo_time(&mut world, first)?;
    let waking_with_ten = waking_echo_time(&mut world, &mut open)?;
    let pid = nix::unistd::Pid::this();
    let before = host::resident_bytes(pid)?;
    for n in 10..options.connections {
        if (n as usize).is_multiple_of(RATE / 1_000) {
            world.now += Duration::from_millis(1);
            world.settle()?;
        }
        open.push(world.open(n)?);
    }
    let opened = host::resident_bytes(pid)? - before;
    for _ in 0..3_000 {
        world.now += Duration::from_millis(1);
        world.settle()?;
    }
    let handles = open.len() * size_of::<(Peer, TcpStream)>();
    let idle = (host::resident_bytes(pid)? - before).saturating_sub(handles as u64);
    let first = open.first_mut().context("at least one connection")?;
    let with_all = echo_time(&mut world, first)?;
    let waking_with_all = waking_echo_time(&mut world, &mut open)?;
    let count = u64::from(options.connections);
    writeln!(
        stdout,
        "{count} connections: {} resident bytes each when opened, {} when idle, {} MiB in all; \
         {handles} bytes of handles are the program's\n\
         an echo through a busy connection takes {with_ten:?} with ten connections, {with_all:?} with all ({:.2})\n\
         an echo that wakes a connection takes {waking_with_ten:?} with ten, {waking_with_all:?} with all ({:.2})",
        opened / count,
        idle / count,
        idle >> 20,
        with_all.as_secs_f64() / with_ten.as_secs_f64(),
        waking_with_all.as_secs_f64() / waking_with_ten.as_secs_f64(),
    )?;
    Ok(())
}
