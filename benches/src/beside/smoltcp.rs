//! smoltcp behind a TUN device, with its feature `segmentation-offload`: one thread, no checksum of TCP and UDP in
//! software, no delay of acknowledgments, no congestion control (its default).

use std::io;
use std::num::{NonZeroU16, NonZeroUsize};
use std::time::Duration;

use anyhow::Result;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, PacketMeta, RxToken, TxToken};
use smoltcp::socket::{tcp, udp};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};

use super::Beside;
use super::tun::{HEADER_BYTES, PACKET_BYTES_MAX, Tun};
use crate::clock::Stopwatch;
use crate::server::{CHARGEN, DISCARD, ECHO};

/// Bytes of each buffer of a TCP socket.
const BUFFER_BYTES: usize = 1 << 20;
/// Datagrams that the UDP socket holds in each direction.
const DATAGRAMS: usize = 512;
/// Sockets that listen on each port: four connections at once, and those that are about to end.
const LISTENERS: [(u16, usize); 3] = [(ECHO, 16), (DISCARD, 5), (CHARGEN, 5)];

/// The device as smoltcp wants it.
struct Offloaded {
    tun: Tun,
    received: Vec<u8>,
    sent: Vec<u8>,
}

struct Received<'a>(&'a [u8]);

struct Sending<'a> {
    tun: &'a Tun,
    room: &'a mut Vec<u8>,
    segment: Option<NonZeroU16>,
}

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let packet = &mut self.room[..len];
        let result = f(packet);
        // As on any link, what cannot be sent is lost.
        let _ = self
            .tun
            .write(packet, &[], self.segment.map(NonZeroU16::get));
        result
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.segment = meta.segmentation_offload_size;
    }
}

impl Device for Offloaded {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, now: Instant) -> Option<(Received<'_>, Sending<'_>)> {
        let len = self.tun.read(&mut self.received).ok()??;
        let Self {
            tun,
            received,
            sent,
        } = self;
        let sending = Sending {
            tun,
            room: sent,
            segment: None,
        };
        let _ = now;
        Some((Received(received.get(HEADER_BYTES..len)?), sending))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        Some(Sending {
            tun: &self.tun,
            room: &mut self.sent,
            segment: None,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut caps = DeviceCapabilities::default();
        caps.medium = Medium::Ip;
        caps.max_transmission_unit = 1_500;
        caps.checksum.tcp = Checksum::None;
        caps.checksum.udp = Checksum::None;
        caps.segmentation.tcpv4 = NonZeroUsize::new(PACKET_BYTES_MAX);
        // It drops super-segments over IPv6, which it takes for packets to be fragmented.
        caps.segmentation.tcpv6 = None;
        caps
    }
}

/// Serves until the device fails.
pub(super) fn serve(tun: Tun) -> Result<()> {
    let mut device = Offloaded {
        tun,
        received: vec![0; HEADER_BYTES + PACKET_BYTES_MAX],
        sent: vec![0; PACKET_BYTES_MAX],
    };
    let clock = Stopwatch::start();
    let now = || Instant::from_micros(clock.elapsed().as_micros() as i64);
    let mut interface = Interface::new(Config::new(HardwareAddress::Ip), &mut device, now());
    let net = Beside::Smoltcp.net();
    interface.update_ip_addrs(|addresses| {
        let group = 0xfd00 | u16::from(net / 10 * 16 + net % 10);
        let _ = addresses.push(IpCidr::new(IpAddress::v4(10, net, 0, 2), 24));
        let _ = addresses.push(IpCidr::new(IpAddress::v6(group, 0, 0, 0, 0, 0, 0, 2), 64));
    });
    let mut sockets = SocketSet::new(Vec::new());
    let mut served = Vec::new();
    for (port, count) in LISTENERS {
        for _ in 0..count {
            served.push((port, sockets.add(listener(port)?)));
        }
    }
    let datagrams = sockets.add(udp_socket()?);
    let mut scratch = vec![b'x'; BUFFER_BYTES];
    loop {
        interface.poll(now(), &mut device, &mut sockets);
        let mut is_busy = echo_datagrams(sockets.get_mut(datagrams), &mut scratch);
        for (port, handle) in &served {
            is_busy |= serve_one(&mut sockets, *port, *handle, &mut scratch)?;
        }
        if !is_busy {
            let limit = interface.poll_delay(now(), &sockets).map(Duration::from);
            device.tun.wait(limit)?;
        }
    }
}

fn listener(port: u16) -> io::Result<tcp::Socket<'static>> {
    let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER_BYTES]);
    let mut socket = tcp::Socket::new(buffer(), buffer());
    socket.set_nagle_enabled(false);
    socket.set_ack_delay(None);
    socket.listen(port).map_err(io::Error::other)?;
    Ok(socket)
}

fn udp_socket() -> io::Result<udp::Socket<'static>> {
    let buffer = || {
        udp::PacketBuffer::new(
            vec![udp::PacketMetadata::EMPTY; DATAGRAMS],
            vec![0; DATAGRAMS * 2_048],
        )
    };
    let mut socket = udp::Socket::new(buffer(), buffer());
    socket.bind(ECHO).map_err(io::Error::other)?;
    Ok(socket)
}

/// Echoes what was received. Returns true if something was.
fn echo_datagrams(socket: &mut udp::Socket<'_>, scratch: &mut [u8]) -> bool {
    let mut is_busy = false;
    while socket.can_send()
        && let Ok((len, from)) = socket.recv_slice(scratch)
    {
        let _ = socket.send_slice(&scratch[..len], from.endpoint);
        is_busy = true;
    }
    is_busy
}

/// Does what the service of `port` does with a socket. Returns true if something moved.
fn serve_one(
    sockets: &mut SocketSet<'_>,
    port: u16,
    handle: SocketHandle,
    scratch: &mut [u8],
) -> io::Result<bool> {
    let socket = sockets.get_mut::<tcp::Socket<'_>>(handle);
    match socket.state() {
        tcp::State::Listen => return Ok(false),
        // Our side closes last, so nobody waits for late segments.
        tcp::State::Closed | tcp::State::TimeWait => {
            socket.abort();
            socket.listen(port).map_err(io::Error::other)?;
            return Ok(false);
        }
        _ => {}
    }
    let moved = match port {
        DISCARD => socket.recv(|bytes| (bytes.len(), bytes.len())).unwrap_or(0),
        CHARGEN => fill(socket, scratch),
        _ => echo(socket, scratch),
    };
    if !socket.may_recv() && socket.recv_queue() == 0 && socket.may_send() {
        socket.close();
        return Ok(true);
    }
    Ok(moved > 0)
}

fn fill(socket: &mut tcp::Socket<'_>, pattern: &[u8]) -> usize {
    let mut total = 0;
    while socket.can_send()
        && let Ok(len @ 1..) = socket.send_slice(pattern)
    {
        total += len;
    }
    total
}

fn echo(socket: &mut tcp::Socket<'_>, scratch: &mut [u8]) -> usize {
    let mut total = 0;
    loop {
        let room = socket.send_capacity() - socket.send_queue();
        let room = room.min(scratch.len());
        match socket.recv_slice(&mut scratch[..room]) {
            Ok(len @ 1..) => {
                let _ = socket.send_slice(&scratch[..len]);
                total += len;
            }
            _ => return total,
        }
    }
}
