//! Captures TCP sessions between two kernel endpoints, in network namespaces of their own.

#![allow(dead_code, reason = "each test uses some of it")]

pub(crate) mod lossy;
pub(crate) mod made;

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use benches::netns::Namespace;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, recvfrom, setsockopt, socket,
    sockopt,
};
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::{DataLink, TsResolution};
use tools::capture::{Captured, read};
use tools::replay::{Part, Which, prepare};

/// `PACKET_OUTGOING` of packet(7): marks the copy of a packet that leaves this host.
const OUTGOING: u8 = 4;

/// The link between the two endpoints.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wire {
    /// One kernel namespace, over loopback; captured as raw IP.
    Loopback,
    /// Two namespaces and a veth pair; captured as Ethernet on the server's end.
    Veth,
}

/// The client's or the server's part of a session.
pub(crate) type Script = fn(TcpStream);

/// Captures one TCP session and returns its packets.
pub(crate) fn captured(wire: Wire, v6: bool, client: Script, server: Script) -> Vec<Captured> {
    let path = capture(wire, v6, client, server);
    let (packets, _) = read(&path).expect("the capture");
    std::fs::remove_file(&path).expect("remove the capture");
    packets
}

/// Runs one TCP session and captures it on the server's end. Returns the path of the file.
pub(crate) fn capture(wire: Wire, v6: bool, client: Script, server: Script) -> PathBuf {
    let [near, far] = ["client", "server"].map(|name| {
        Namespace::new(name).unwrap_or_else(|error| panic!("this test makes captures: {error:#}"))
    });
    let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
    let (server_namespace, address) = match wire {
        Wire::Loopback => (&near, if v6 { ip("::1") } else { ip("127.0.0.1") }),
        Wire::Veth => {
            near.veth(
                ("v0", &[(ip("10.79.0.1"), 24), (ip("fd79::1"), 64)]),
                &far,
                ("v1", &[(ip("10.79.0.2"), 24), (ip("fd79::2"), 64)]),
            )
            .expect("a veth pair");
            (&far, if v6 { ip("fd79::2") } else { ip("10.79.0.2") })
        }
    };
    let path = temporary(&format!("capture-{wire:?}-{v6}.pcap"));
    let done = AtomicBool::new(false);
    let (socket, listener) = server_namespace
        .run(|| {
            let listener = TcpListener::bind(SocketAddr::new(address, 0)).expect("listen");
            (packet_socket(wire), listener)
        })
        .expect("inside the server's namespace");
    let to = listener.local_addr().expect("an address");
    let stream = near
        .run(|| TcpStream::connect(to).expect("connect"))
        .expect("inside the client's namespace");
    thread::scope(|scope| {
        let ended = SetOnDrop(&done);
        let recorder = scope.spawn(|| record(&socket, wire, &path, &done));
        let serving = scope.spawn(|| server(listener.accept().expect("a client").0));
        near.run(|| client(stream))
            .expect("inside the client's namespace");
        serving.join().expect("the server");
        // The last acknowledgements are still on their way: no socket waits for them.
        thread::sleep(Duration::from_millis(100));
        drop(ended);
        recorder.join().expect("the recorder");
    });
    path
}

/// Returns the path of a temporary file that no other test uses.
pub(crate) fn temporary(name: &str) -> PathBuf {
    let thread = format!("{:?}", thread::current().id()).replace(['(', ')'], "");
    std::env::temp_dir().join(format!("{}-{thread}-{name}", std::process::id()))
}

/// Ends the recorder, also when the test fails.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn packet_socket(wire: Wire) -> OwnedFd {
    let kind = match wire {
        Wire::Loopback => SockType::Datagram,
        Wire::Veth => SockType::Raw,
    };
    let socket = socket(
        AddressFamily::Packet,
        kind,
        SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
        SockProtocol::EthAll,
    )
    .expect("a packet socket");
    // Root of a user namespace alone cannot exceed the host's limit.
    setsockopt(&socket, sockopt::RcvBufForce, &(256 << 20))
        .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &(256 << 20)))
        .expect("a large receive buffer");
    socket
}

fn record(socket: &OwnedFd, wire: Wire, path: &Path, done: &AtomicBool) {
    let header = PcapHeader {
        snaplen: 262_144,
        datalink: match wire {
            Wire::Loopback => DataLink::RAW,
            Wire::Veth => DataLink::ETHERNET,
        },
        ts_resolution: TsResolution::NanoSecond,
        ..PcapHeader::default()
    };
    let file = std::fs::File::create(path).expect("the capture file");
    let mut writer =
        PcapWriter::with_header(std::io::BufWriter::new(file), header).expect("header");
    let clock = benches::clock::Stopwatch::start();
    let mut buffer = vec![0; 262_144];
    loop {
        let ended = done.load(Ordering::Acquire);
        match recvfrom::<SockaddrStorage>(socket.as_raw_fd(), &mut buffer) {
            Ok((len, from)) => {
                let outgoing = from
                    .and_then(|from| from.as_link_addr().map(|link| link.pkttype() == OUTGOING))
                    .unwrap_or(false);
                // Loopback delivers every packet twice: leaving and arriving.
                if matches!(wire, Wire::Loopback) && outgoing {
                    continue;
                }
                let packet = PcapPacket::new(clock.elapsed(), len as u32, &buffer[..len]);
                writer.write_packet(&packet).expect("write a packet");
            }
            Err(nix::errno::Errno::EAGAIN) if ended => break,
            Err(nix::errno::Errno::EAGAIN) => thread::sleep(Duration::from_micros(200)),
            Err(error) => panic!("capture: {error}"),
        }
    }
    writer.into_writer().flush().expect("flush");
}

/// Returns `len` bytes that depend on the position and on `seed`.
pub(crate) fn pattern(seed: u8, len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at as u8) ^ ((at >> 8) as u8).wrapping_mul(31) ^ ((at >> 16) as u8) ^ seed)
        .collect()
}

/// Sends everything, then half-closes.
pub(crate) fn send(mut stream: &TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).expect("send");
    stream.shutdown(Shutdown::Write).expect("half-close");
}

/// Receives to the end.
pub(crate) fn receive(mut stream: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("receive");
    bytes
}

/// Returns the sessions of a capture that can be replayed, which all must be.
#[track_caller]
pub(crate) fn parts_of(packets: &[Captured], which: Which) -> Vec<Part> {
    prepare(packets, which)
        .into_iter()
        .map(|found| {
            found
                .part
                .unwrap_or_else(|error| panic!("{}: {error}", found.name))
        })
        .collect()
}
