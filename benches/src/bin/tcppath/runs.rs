//! The hosts at the ends of the path, and the streams between them.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel as paths_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use benches::clock::Stopwatch;
use benches::netns::Namespace;
use futures::executor::block_on;
use netstack::device::channel::{ChannelConfig, PacketPipe, channel};
use netstack::net::Stack;
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tun_tap::{Iface, Mode};

use crate::relay::{self, End, PathSpec};

/// Bytes of a write and of a read.
const CHUNK_BYTES: usize = 1 << 16;

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

fn linux_end(name: &'static str, end: usize) -> Result<(Namespace, End)> {
    let namespace = Namespace::new(name)?;
    let tun = namespace.run(|| Iface::without_packet_info("p0", Mode::Tun))?;
    let tun = tun.context("open a TUN device")?;
    tun.set_non_blocking().context("set a TUN non-blocking")?;
    namespace.up("p0", &[(IpAddr::V4(relay::address(end)), 24)])?;
    namespace.run(|| std::fs::write("/proc/sys/net/ipv4/tcp_no_metrics_save", "1"))??;
    Ok((namespace, End::Linux(tun)))
}

fn stack_end(end: usize) -> Result<(Stack, End)> {
    let (device, pipe): (_, PacketPipe) = channel(ChannelConfig {
        mtu: 1_500,
        to_stack: 4_096,
        from_stack: 4_096,
    });
    let stack = Stack::builder()
        .address(IpAddr::V4(relay::address(end)), 24)
        .start(vec![Box::new(device)])?;
    Ok((stack, End::Stack(pipe)))
}

impl World {
    /// Creates the hosts and starts the relay.
    pub(crate) fn new() -> Result<Self> {
        let (sender, linux_sender) = linux_end("sender", 0)?;
        let (receiver, linux_receiver) = linux_end("receiver", 1)?;
        let (stack_sender, sender_end) = stack_end(2)?;
        let (stack_receiver, receiver_end) = stack_end(3)?;
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
        let port = self.receive(to, &received, time)?;
        let clock = Stopwatch::start();
        thread::scope(|scope| -> Result<()> {
            scope.spawn(|| self.send(from, to, port, algorithm, time));
            thread::sleep(time);
            Ok(())
        })?;
        let bytes = received.load(Ordering::Relaxed);
        Ok(bytes as f64 * 8.0 / 1e6 / clock.seconds())
    }

    /// Lets a stream of the stack and one of Linux share `path`; returns the goodput of each in the second half, in
    /// Mb/s.
    pub(crate) fn share(
        &self,
        path: &PathSpec,
        algorithms: [Algorithm; 2],
        time: Duration,
    ) -> Result<[f64; 2]> {
        self.set_path(*path)?;
        let counts = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
        let [ours, theirs] = &counts;
        let ports = [
            self.receive(Host::Linux, ours, time)?,
            self.receive(Host::Linux, theirs, time)?,
        ];
        let hosts = [Host::Stack, Host::Linux];
        let mut at_half = [0; 2];
        thread::scope(|scope| {
            for ((host, port), algorithm) in hosts.into_iter().zip(ports).zip(algorithms) {
                scope.spawn(move || self.send(host, Host::Linux, port, algorithm, time));
            }
            thread::sleep(time / 2);
            at_half = counts.each_ref().map(|count| count.load(Ordering::Relaxed));
            thread::sleep(time / 2);
        });
        let seconds = (time / 2).as_secs_f64();
        let [a, b] = counts.map(|count| count.load(Ordering::Relaxed));
        let [a0, b0] = at_half;
        Ok([a - a0, b - b0].map(|bytes| bytes as f64 * 8.0 / 1e6 / seconds))
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

    /// Starts to receive one stream for `time`, and returns the port.
    fn receive(&self, to: Host, received: &Arc<AtomicU64>, time: Duration) -> Result<u16> {
        let port = self.next_port.fetch_add(1, Ordering::Relaxed);
        let count = Arc::clone(received);
        let local = address_of(to, 1, port);
        match to {
            Host::Linux => {
                let [_, namespace] = &self.namespaces;
                let listener = namespace.run(|| TcpListener::bind(local))??;
                thread::spawn(move || receive_in_linux(&listener, &count, time));
            }
            Host::Stack => {
                let [_, stack] = &self.stacks;
                let listener = netstack::TcpListener::bind_now(stack, local)?;
                thread::spawn(move || {
                    block_on(async {
                        let (mut stream, _) = listener.accept().await?;
                        let mut buffer = vec![0; CHUNK_BYTES];
                        let clock = Stopwatch::start();
                        while clock.elapsed() < time {
                            match stream.read(&mut buffer).await? {
                                0 => break,
                                len => count.fetch_add(len as u64, Ordering::Relaxed),
                            };
                        }
                        stream.set_linger(Some(Duration::ZERO))
                    })
                });
            }
        }
        Ok(port)
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
                let mut stream = namespace.run(|| TcpStream::connect(remote))??;
                let socket = SockRef::from(&stream);
                socket.set_tcp_congestion(algorithm.linux_name())?;
                socket.set_linger(Some(Duration::ZERO))?;
                stream.set_write_timeout(Some(Duration::from_millis(200)))?;
                while clock.elapsed() < time {
                    match stream.write(&data) {
                        Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => break,
                        _ => {}
                    }
                }
                Ok(())
            }
            Host::Stack => {
                let [stack, _] = &self.stacks;
                let rest = move || time.saturating_sub(clock.elapsed());
                tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build()?
                    .block_on(async {
                        let mut stream = netstack::TcpStream::connect(stack, remote).await?;
                        stream.set_congestion(algorithm.to_string().parse()?);
                        stream.set_linger(Some(Duration::ZERO))?;
                        let sending = async { while stream.write_all(&data).await.is_ok() {} };
                        let _ = tokio::time::timeout(rest(), sending).await;
                        Ok(())
                    })
            }
        }
    }
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
    let (mut stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(Duration::from_millis(200)))?;
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    let mut buffer = vec![0; CHUNK_BYTES];
    let clock = Stopwatch::start();
    while clock.elapsed() < time {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => {
                count.fetch_add(len as u64, Ordering::Relaxed);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    Ok(())
}
