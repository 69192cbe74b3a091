//! The kernel's side of the comparison: echo, discard and chargen on plain kernel sockets, written as
//! well as such servers usually are.
//!
//! The bulk services (discard, chargen) have a thread for each connection, with blocking calls of
//! [`BULK_BYTES`]. TCP echo runs on one epoll loop per core, each with its own `SO_REUSEPORT` listener.
//! UDP echo has a blocking thread per core and family, with `SO_REUSEPORT`, too. Only the system calls
//! copy data.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::thread;

use anyhow::{Context as _, Result};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use rustix::net::{RecvFlags, recv};
use socket2::{Domain, Protocol, Socket, Type};

/// Bytes of one read or write of the bulk services.
pub const BULK_BYTES: usize = 256 << 10;

/// Port of echo (RFC 862).
pub const ECHO: u16 = 7;
/// Port of discard (RFC 863).
pub const DISCARD: u16 = 9;
/// Port of chargen (RFC 864).
pub const CHARGEN: u16 = 19;

/// Serves one connection.
type Service = fn(TcpStream) -> io::Result<()>;

const FAMILIES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    IpAddr::V6(Ipv6Addr::UNSPECIFIED),
];

/// Prints `ready` and serves in the namespace of the calling thread until standard input ends.
///
/// With `nocopy`, discard lets the kernel throw the bytes away without copying them (`MSG_TRUNC`). That
/// is not what a usual server does, but the fair comparison with a service that only drops buffers.
pub fn serve(nocopy: bool) -> Result<()> {
    let discard: Service = if nocopy { discard_nocopy } else { discard };
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    for any in FAMILIES {
        for (port, service) in [(DISCARD, discard), (CHARGEN, chargen as Service)] {
            let listener = listen(any, port)?;
            thread::spawn(move || accept_each(&listener, service));
        }
        for _ in 0..cores {
            let udp = bind(any, ECHO, Type::DGRAM, Protocol::UDP)?;
            thread::spawn(move || udp_echo(&udp.into()));
        }
    }
    for _ in 0..cores {
        let listeners = [listen(FAMILIES[0], ECHO)?, listen(FAMILIES[1], ECHO)?];
        thread::spawn(move || echo_loop(&listeners));
    }
    println!("ready");
    io::stdout().flush()?;
    // The benchmark holds the other end: the server ends with it.
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

fn bind(any: IpAddr, port: u16, kind: Type, protocol: Protocol) -> Result<Socket> {
    let address = SocketAddr::new(any, port);
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if any.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket
        .bind(&address.into())
        .with_context(|| format!("kernel server: bind {address}"))?;
    Ok(socket)
}

fn listen(any: IpAddr, port: u16) -> Result<TcpListener> {
    let socket = bind(any, port, Type::STREAM, Protocol::TCP)?;
    // Accepted sockets inherit these options.
    socket
        .set_tcp_congestion(b"cubic")
        .context("kernel server: CUBIC is not available (modprobe tcp_cubic)")?;
    socket.set_tcp_nodelay(true)?;
    socket.listen(4096)?;
    Ok(socket.into())
}

fn accept_each(listener: &TcpListener, service: Service) {
    while let Ok((stream, _)) = listener.accept() {
        // An error ends only the thread of its connection.
        thread::spawn(move || service(stream));
    }
}

fn discard(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; BULK_BYTES];
    while stream.read(&mut buffer)? > 0 {}
    Ok(())
}

fn discard_nocopy(stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; BULK_BYTES];
    while recv(&stream, &mut buffer[..], RecvFlags::TRUNC)?.1 > 0 {}
    Ok(())
}

fn chargen(mut stream: TcpStream) -> io::Result<()> {
    let buffer: Vec<u8> = (b' '..=b'~').cycle().take(BULK_BYTES).collect();
    loop {
        stream.write_all(&buffer)?;
    }
}

fn udp_echo(socket: &UdpSocket) -> io::Result<()> {
    let mut buffer = vec![0; 65_536];
    loop {
        let (len, from) = socket.recv_from(&mut buffer)?;
        // UDP may lose datagrams: one that cannot be sent is lost.
        let _ = socket.send_to(&buffer[..len], from);
    }
}

/// One echo connection, with the bytes that are read but not written yet.
struct Echo {
    stream: TcpStream,
    pending: Vec<u8>,
}

fn echo_loop(listeners: &[TcpListener; 2]) -> io::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for listener in listeners {
        listener.set_nonblocking(true)?;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, listener.as_raw_fd() as u64);
        epoll.add(listener, event)?;
    }
    let mut connections: Vec<Option<Echo>> = Vec::new();
    let mut events = vec![EpollEvent::empty(); 256];
    let mut buffer = vec![0; BULK_BYTES];
    loop {
        let count = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        };
        for event in &events[..count] {
            let key = event.data() as usize;
            let listener = listeners
                .iter()
                .find(|listener| listener.as_raw_fd() as usize == key);
            if let Some(listener) = listener {
                accept_ready(&epoll, listener, &mut connections)?;
            } else if let Some(slot) = connections.get_mut(key)
                && let Some(echo) = slot
                && !echo.turn(&epoll, &mut buffer).unwrap_or(false)
            {
                // Closing the descriptor takes it out of the epoll set.
                *slot = None;
            }
        }
    }
}

fn accept_ready(
    epoll: &Epoll,
    listener: &TcpListener,
    connections: &mut Vec<Option<Echo>>,
) -> io::Result<()> {
    while let Ok((stream, _)) = listener.accept() {
        stream.set_nonblocking(true)?;
        let key = stream.as_raw_fd() as usize;
        epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, key as u64))?;
        if connections.len() <= key {
            connections.resize_with(key + 1, || None);
        }
        connections[key] = Some(Echo {
            stream,
            pending: Vec::new(),
        });
    }
    Ok(())
}

impl Echo {
    /// Reads and writes as much as is possible now. Returns false once the peer has closed.
    fn turn(&mut self, epoll: &Epoll, buffer: &mut [u8]) -> io::Result<bool> {
        if !self.pending.is_empty() {
            let sent = self.write_some()?;
            self.pending.drain(..sent);
            if self.pending.is_empty() {
                self.wait_for(epoll, EpollFlags::EPOLLIN)?;
            }
            return Ok(true);
        }
        let read = match self.stream.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        };
        let sent = match self.stream.write(&buffer[..read]) {
            Ok(sent) => sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        if sent < read {
            self.pending.extend_from_slice(&buffer[sent..read]);
            self.wait_for(epoll, EpollFlags::EPOLLOUT)?;
        }
        Ok(true)
    }

    fn write_some(&mut self) -> io::Result<usize> {
        match self.stream.write(&self.pending) {
            Ok(sent) => Ok(sent),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn wait_for(&self, epoll: &Epoll, flags: EpollFlags) -> io::Result<()> {
        let mut event = EpollEvent::new(flags, self.stream.as_raw_fd() as u64);
        Ok(epoll.modify(&self.stream, &mut event)?)
    }
}
