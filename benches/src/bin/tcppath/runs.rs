//! The hosts at the ends of the path, and the streams between them.

use std::fmt;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel as paths_channel};
use std::thread::{self, JoinHandle, ScopedJoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use benches::clock::Stopwatch;
use benches::netns::Namespace;
use netstack::base::Config;
use netstack::device::channel::{ChannelConfig, PacketPipe, channel};
use netstack::net::Stack;
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tun_tap::{Iface, Mode};

use crate::relay::{self, End, PathSpec};

/// Bytes of a write and of a read.
const CHUNK_BYTES: usize = 1 << 16;
/// Longest wait for one write or read in the kernel: then the clock is read again.
const CALL_TIMEOUT: Duration = Duration::from_millis(200);
/// Time beyond that of a stream in which its connection has to come.
const ACCEPT_GRACE: Duration = Duration::from_secs(5);

/// A congestion control algorithm that both have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Algorithm {
    Cubic,
    Newreno,
    Bbr,
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cubic => "cubic",
            Self::Newreno => "newreno",
            Self::Bbr => "bbr",
        })
    }
}

impl Algorithm {
    fn linux_name(self) -> &'static [u8] {
        match self {
            Self::Cubic => b"cubic",
            Self::Newreno => b"reno",
            Self::Bbr => b"bbr",
        }
    }
}

/// The kind of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Linux,
    Stack,
}

/// All hosts, and the relay between them.
pub(crate) struct World {
    namespaces: [Namespace; 2],
    stacks: [Stack; 2],
    paths: Sender<PathSpec>,
    next_port: AtomicU16,
}

fn linux_end(name: &'static str, end: usize, sack: bool) -> Result<(Namespace, End)> {
    let namespace = Namespace::new(name)?;
    let tun = namespace.run(|| Iface::without_packet_info("p0", Mode::Tun))?;
    let tun = tun.context("open a TUN device")?;
    tun.set_non_blocking().context("set a TUN non-blocking")?;
    namespace.up("p0", &[(IpAddr::V4(relay::address(end)), 24)])?;
    namespace.run(|| std::fs::write("/proc/sys/net/ipv4/tcp_no_metrics_save", "1"))??;
    if !sack {
        namespace.run(|| std::fs::write("/proc/sys/net/ipv4/tcp_sack", "0"))??;
    }
    Ok((namespace, End::Linux(tun)))
}

/// The settings of the hosts.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    /// All hosts offer SACK.
    pub(crate) sack: bool,
    /// Losses that BBR tolerates on the stacks.
    pub(crate) bbr_loss_percent: u8,
}

fn stack_end(end: usize, settings: Settings) -> Result<(Stack, End)> {
    let (device, pipe): (_, PacketPipe) = channel(ChannelConfig {
        mtu: 1_500,
        to_stack: 4_096,
        from_stack: 4_096,
        ..ChannelConfig::default()
    });
    // As the kernels do with `tcp_no_metrics_save`: no run learns from the ones before.
    let mut config = Config::default();
    config.tcp.path_metrics = false;
    config.tcp.sack = settings.sack;
    config.tcp.bbr_loss_percent = settings.bbr_loss_percent;
    let stack = Stack::builder()
        .config(config)
        .address(IpAddr::V4(relay::address(end)), 24)
        .start(vec![Box::new(device)])?;
    Ok((stack, End::Stack(pipe)))
}

impl World {
    /// Creates the hosts and starts the relay.
    pub(crate) fn new(settings: Settings) -> Result<Self> {
        let sack = settings.sack;
        let (sender, linux_sender) = linux_end("sender", 0, sack)?;
        let (receiver, linux_receiver) = linux_end("receiver", 1, sack)?;
        let (stack_sender, sender_end) = stack_end(2, settings)?;
        let (stack_receiver, receiver_end) = stack_end(3, settings)?;
        let (paths, commands) = paths_channel();
        let ends = [linux_sender, linux_receiver, sender_end, receiver_end];
        thread::spawn(move || relay::run(ends, &commands));
        Ok(Self {
            namespaces: [sender, receiver],
            stacks: [stack_sender, stack_receiver],
            paths,
            next_port: AtomicU16::new(5_000),
        })
    }

    /// Runs one stream over `path`; returns its goodput in Mb/s.
    pub(crate) fn stream(
        &self,
        path: &PathSpec,
        seed: u64,
        from: Host,
        to: Host,
        algorithm: Algorithm,
        time: Duration,
    ) -> Result<f64> {
        self.set_path(PathSpec { seed, ..*path })?;
        let received = Arc::new(AtomicU64::new(0));
        let (port, receiver) = self.receive(to, &received, time)?;
        let goodput = thread::scope(|scope| {
            let clock = Stopwatch::start();
            let sender = scope.spawn(|| self.send(from, to, port, algorithm, time));
            thread::sleep(time);
            // Before the join: the sender may block a little longer.
            let bytes = received.load(Ordering::Relaxed);
            let goodput = bytes as f64 * 8.0 / 1e6 / clock.seconds();
            end_of_sender(sender).map(|()| goodput)
        })?;
        end_of(receiver)?;
        Ok(goodput)
    }

    /// Lets a stream of the stack and one of Linux share `path`; returns the goodput of each in the second half, in
    /// Mb/s.
    pub(crate) fn share(
        &self,
        path: &PathSpec,
        seed: u64,
        algorithms: [Algorithm; 2],
        time: Duration,
    ) -> Result<[f64; 2]> {
        self.set_path(PathSpec { seed, ..*path })?;
        let counts = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
        let [ours, theirs] = &counts;
        let (our_port, our_receiver) = self.receive(Host::Linux, ours, time)?;
        let (their_port, their_receiver) = self.receive(Host::Linux, theirs, time)?;
        let senders = [(Host::Stack, our_port), (Host::Linux, their_port)];
        let rates = thread::scope(|scope| {
            let senders = senders.into_iter().zip(algorithms);
            let senders: Vec<_> = senders
                .map(|((host, port), algorithm)| {
                    scope.spawn(move || self.send(host, Host::Linux, port, algorithm, time))
                })
                .collect();
            let bytes = || counts.each_ref().map(|count| count.load(Ordering::Relaxed));
            thread::sleep(time / 2);
            let (clock, [a0, b0]) = (Stopwatch::start(), bytes());
            thread::sleep(time / 2);
            let (seconds, [a, b]) = (clock.seconds(), bytes());
            for sender in senders {
                end_of_sender(sender)?;
            }
            Ok::<_, anyhow::Error>([a - a0, b - b0].map(|n| n as f64 * 8.0 / 1e6 / seconds))
        })?;
        end_of(our_receiver)?;
        end_of(their_receiver)?;
        Ok(rates)
    }

    /// Begins another path, after what is left of the last run has gone.
    fn set_path(&self, path: PathSpec) -> Result<()> {
        thread::sleep(Duration::from_millis(300));
        self.paths
            .send(path)
            .map_err(|_| anyhow!("the relay ended"))?;
        thread::sleep(Duration::from_millis(50));
        Ok(())
    }

    /// Starts to receive one stream for `time`; returns the port and the receiver.
    fn receive(
        &self,
        to: Host,
        received: &Arc<AtomicU64>,
        time: Duration,
    ) -> Result<(u16, JoinHandle<Result<()>>)> {
        let port = self.next_port.fetch_add(1, Ordering::Relaxed);
        let count = Arc::clone(received);
        let local = address_of(to, 1, port);
        let receiver = match to {
            Host::Linux => {
                let [_, namespace] = &self.namespaces;
                let listener = namespace.run(|| TcpListener::bind(local))??;
                thread::spawn(move || receive_in_linux(&listener, &count, time))
            }
            Host::Stack => {
                let [_, stack] = &self.stacks;
                let listener = netstack::TcpListener::bind_now(stack, local)?;
                let runtime = runtime()?;
                thread::spawn(move || runtime.block_on(receive_in_stack(&listener, &count, time)))
            }
        };
        Ok((port, receiver))
    }

    fn send(
        &self,
        from: Host,
        to: Host,
        port: u16,
        algorithm: Algorithm,
        time: Duration,
    ) -> Result<()> {
        let remote = address_of(to, 1, port);
        let data = vec![7; CHUNK_BYTES];
        let clock = Stopwatch::start();
        match from {
            Host::Linux => {
                let [namespace, _] = &self.namespaces;
                let mut stream =
                    namespace.run(|| TcpStream::connect(remote).context("connect in Linux"))??;
                let socket = SockRef::from(&stream);
                socket
                    .set_tcp_congestion(algorithm.linux_name())
                    .with_context(|| format!("set {algorithm} in Linux: is its module loaded?"))?;
                socket.set_linger(Some(Duration::ZERO))?;
                stream.set_write_timeout(Some(CALL_TIMEOUT))?;
                while clock.elapsed() < time {
                    match stream.write(&data) {
                        // The receiver resets at the end of its time, while a write waits for room.
                        Err(error)
                            if error.kind() == ErrorKind::ConnectionReset
                                && clock.elapsed() >= time =>
                        {
                            break;
                        }
                        Err(error) if error.kind() != ErrorKind::WouldBlock => {
                            return Err(error).context("send in Linux");
                        }
                        _ => {}
                    }
                }
                Ok(())
            }
            Host::Stack => {
                let [stack, _] = &self.stacks;
                runtime()?.block_on(async {
                    let stream = netstack::TcpStream::connect(stack, remote);
                    let mut stream = stream.await.context("connect in the stack")?;
                    stream.set_congestion(algorithm.to_string().parse()?);
                    stream.set_linger(Some(Duration::ZERO))?;
                    let sending = async {
                        loop {
                            stream.write_all(&data).await?;
                        }
                    };
                    let rest = time.saturating_sub(clock.elapsed());
                    let ended: Result<io::Result<()>, _> = timeout(rest, sending).await;
                    ended.unwrap_or(Ok(())).context("send in the stack")
                })
            }
        }
    }
}

fn runtime() -> Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    Ok(builder.enable_time().build()?)
}

/// Waits for a thread of a stream, and returns its error.
fn end_of(thread: JoinHandle<Result<()>>) -> Result<()> {
    let ended = thread.join();
    ended.map_err(|_| anyhow!("the receiver panicked"))?
}

fn end_of_sender(thread: ScopedJoinHandle<'_, Result<()>>) -> Result<()> {
    let ended = thread.join();
    ended.map_err(|_| anyhow!("the sender panicked"))?
}

/// Returns the address of a host at one side: 0 sends, 1 receives.
fn address_of(host: Host, side: usize, port: u16) -> SocketAddr {
    let end = match host {
        Host::Linux => side,
        Host::Stack => side + 2,
    };
    SocketAddr::new(IpAddr::V4(relay::address(end)), port)
}

fn receive_in_linux(listener: &TcpListener, count: &AtomicU64, time: Duration) -> Result<()> {
    SockRef::from(listener).set_read_timeout(Some(time + ACCEPT_GRACE))?;
    let (mut stream, _) = listener.accept().context("accept in Linux")?;
    stream.set_read_timeout(Some(CALL_TIMEOUT))?;
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    let mut buffer = vec![0; CHUNK_BYTES];
    let clock = Stopwatch::start();
    while clock.elapsed() < time {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => {
                count.fetch_add(len as u64, Ordering::Relaxed);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // The sender resets at the end of its time.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => return Err(error).context("receive in Linux"),
        }
    }
    Ok(())
}

async fn receive_in_stack(
    listener: &netstack::TcpListener,
    count: &AtomicU64,
    time: Duration,
) -> Result<()> {
    let accepted = timeout(time + ACCEPT_GRACE, listener.accept()).await;
    let (mut stream, _) = accepted.context("no connection in the stack")??;
    stream.set_linger(Some(Duration::ZERO))?;
    let mut buffer = vec![0; CHUNK_BYTES];
    let receiving = async {
        loop {
            match stream.read(&mut buffer).await {
                Ok(0) => return Ok(()),
                Ok(len) => {
                    count.fetch_add(len as u64, Ordering::Relaxed);
                }
                // The sender resets at the end of its time.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    };
    let ended: Result<io::Result<()>, _> = timeout(time, receiving).await;
    ended.unwrap_or(Ok(())).context("receive in the stack")
}
