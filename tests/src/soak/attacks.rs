//! Hostile clients of the soak. None of them minds what happens to its own connections.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use netstack::base::Rng;
use netstackd::probe::flood::SynFlood;
use netstackd::probe::{noise, now};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::most_sockets;
use crate::forge::{self, Complaint};
use crate::hostile::{Family, flag};
use crate::world::{BOTH, TUN, V4, port};

/// A kind of attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attack {
    /// Clients that write to the echo service, with small segments, and never read.
    NeverRead,
    /// Clients that ask for data without end, with the smallest window, and take nothing or a byte now and then.
    Drain,
    /// Connections that open, send bytes one by one, and reset, or half close, or go without a word.
    Swarm,
    /// Connections that stay idle.
    Idle,
    /// SYNs from random sources.
    SynFlood,
    /// Datagrams to every kind of port, many in fragments.
    Udp,
    /// Raw packets: fragments that never end, LAND, blind segments, ICMP errors, garbage.
    Raw,
}

impl Attack {
    pub(super) const ALL: [Self; 7] = [
        Self::NeverRead,
        Self::Drain,
        Self::Swarm,
        Self::Idle,
        Self::SynFlood,
        Self::Udp,
        Self::Raw,
    ];

    /// Attacks until `stop`; returns how much got out: connections, SYNs, or packets over the IP version with fewer.
    pub(super) fn run(self, seed: u64, stop: &AtomicBool) -> u64 {
        let mut rng = Rng::from_u64(seed);
        match self {
            Self::NeverRead => never_read(&mut rng, stop),
            Self::Drain => drain(&mut rng, stop),
            Self::Swarm => swarm(&mut rng, stop),
            Self::Idle => idle(&mut rng, stop),
            Self::SynFlood => syn_flood(&mut rng, stop),
            Self::Udp => udp(&mut rng, stop),
            Self::Raw => raw(&mut rng, stop),
        }
    }
}

fn goes_on(stop: &AtomicBool) -> bool {
    !stop.load(Ordering::Relaxed)
}

fn pause(millis: u64) {
    thread::sleep(Duration::from_millis(millis));
}

/// Connects with this MSS and receive buffer; `None` if the stack has no room.
fn connect(rng: &mut Rng, port: u16, mss: u32, recv_buffer: usize) -> Option<TcpStream> {
    let target = SocketAddr::new(BOTH[rng.below(2) as usize], port);
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None).ok()?;
    let _ = socket.set_tcp_mss(mss);
    let _ = socket.set_recv_buffer_size(recv_buffer);
    let _ = socket.set_send_buffer_size(64 << 10);
    socket.set_tcp_nodelay(true).ok()?;
    let limit = Duration::from_millis(500);
    socket.connect_timeout(&target.into(), limit).ok()?;
    socket.set_nonblocking(true).ok()?;
    Some(socket.into())
}

/// Ends a connection in a way that `rng` chooses.
fn end(rng: &mut Rng, stream: TcpStream) {
    match rng.below(3) {
        0 => {
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
        1 => {
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
        _ => {}
    }
    drop(stream);
}

/// Keeps up to `most` connections that `open` makes and `act` uses; ends one of them now and then. Returns how many
/// there were.
fn hold(
    rng: &mut Rng,
    stop: &AtomicBool,
    most: usize,
    mut open: impl FnMut(&mut Rng) -> Option<TcpStream>,
    mut act: impl FnMut(&mut Rng, &mut TcpStream),
) -> u64 {
    let mut held: Vec<TcpStream> = Vec::new();
    let mut opened = 0;
    while goes_on(stop) {
        for _ in 0..4 {
            if held.len() < most {
                let stream = open(rng);
                opened += u64::from(stream.is_some());
                held.extend(stream);
            }
        }
        for stream in &mut held {
            act(rng, stream);
        }
        if rng.below(4) == 0 && !held.is_empty() {
            let at = rng.below(held.len() as u32) as usize;
            end(rng, held.swap_remove(at));
        }
        pause(10);
    }
    for stream in held {
        end(rng, stream);
    }
    opened
}

fn never_read(rng: &mut Rng, stop: &AtomicBool) -> u64 {
    let block = noise(1, 16 << 10);
    let open = |rng: &mut Rng| {
        let mss = 88 + rng.below(1_300);
        connect(rng, port::ECHO, mss, 4 << 10)
    };
    hold(rng, stop, most_sockets() / 4, open, |_, stream| {
        let _ = stream.write(&block);
    })
}

fn drain(rng: &mut Rng, stop: &AtomicBool) -> u64 {
    let open = |rng: &mut Rng| {
        let mss = 88 + rng.below(1_300);
        connect(rng, port::CHARGEN, mss, 2 << 10)
    };
    hold(rng, stop, most_sockets() / 4, open, |rng, stream| {
        if rng.below(20) == 0 {
            let mut some = [0; 600];
            let len = 1 + rng.below(some.len() as u32 - 1) as usize;
            let _ = stream.read(&mut some[..len]);
        }
    })
}

fn swarm(rng: &mut Rng, stop: &AtomicBool) -> u64 {
    let mut opened = 0;
    let ports = [
        port::ECHO,
        port::DISCARD,
        port::DAYTIME,
        port::CHARGEN,
        port::HTTP,
    ];
    while goes_on(stop) {
        let to = ports[rng.below(ports.len() as u32) as usize];
        let Some(mut stream) = connect(rng, to, 536, 16 << 10) else {
            pause(5);
            continue;
        };
        opened += 1;
        for _ in 0..rng.below(20) {
            let _ = stream.write(b"x");
        }
        if rng.below(2) == 0 {
            pause(u64::from(rng.below(5)));
        }
        end(rng, stream);
    }
    opened
}

fn idle(rng: &mut Rng, stop: &AtomicBool) -> u64 {
    let open = |rng: &mut Rng| connect(rng, port::DISCARD, 536, 4 << 10);
    hold(rng, stop, most_sockets(), open, |_, _| {})
}

fn syn_flood(rng: &mut Rng, stop: &AtomicBool) -> u64 {
    let mut syns = 0;
    let ports = [port::ECHO, port::DISCARD, port::CLOSED];
    while goes_on(stop) {
        let target = SocketAddrV4::new(V4, ports[rng.below(3) as usize]);
        let rate = 1_000 + rng.below(20_000);
        let until = now() + Duration::from_millis(u64::from(rng.below(1_000)));
        if let Ok(mut flood) = SynFlood::new(TUN, target, rng.u64()) {
            let flooded = flood.run(Some(rate), || now() > until || !goes_on(stop));
            syns += flooded.map_or(0, |flooded| flooded.syns);
        }
        pause(u64::from(rng.below(300)));
    }
    syns
}

fn udp(rng: &mut Rng, stop: &AtomicBool) -> u64 {
    let mut sent = [0; 2];
    let sockets = BOTH.map(|address| {
        let any: SocketAddr = match address {
            IpAddr::V4(_) => ([0; 4], 0).into(),
            IpAddr::V6(_) => ([0; 16], 0).into(),
        };
        UdpSocket::bind(any).ok()
    });
    let bytes = noise(2, 60_000);
    let ports = [port::ECHO, port::DISCARD, port::CLOSED, port::CHARGEN];
    while goes_on(stop) {
        for _ in 0..8 {
            let which = rng.below(2) as usize;
            let to = SocketAddr::new(BOTH[which], ports[rng.below(4) as usize]);
            let most = if rng.below(4) == 0 { 60_000 } else { 1_400 };
            if let Some(socket) = &sockets[which] {
                let result = socket.send_to(&bytes[..rng.below(most) as usize], to);
                sent[which] += u64::from(result.is_ok());
            }
        }
        pause(2);
    }
    sent[0].min(sent[1])
}

fn raw(rng: &mut Rng, stop: &AtomicBool) -> u64 {
    let mut sent = [0; 2];
    let open = |domain| {
        /// `IPPROTO_RAW`: packets have their IP header.
        const RAW: i32 = 255;
        Socket::new(domain, Type::RAW, Some(Protocol::from(RAW))).ok()
    };
    let sockets = [open(Domain::IPV4), open(Domain::IPV6)];
    while goes_on(stop) {
        for _ in 0..8 {
            let which = rng.below(2) as usize;
            let packet = raw_packet(rng, Family::BOTH[which]);
            let to = SocketAddr::new(BOTH[which], 0);
            if let Some(socket) = &sockets[which] {
                let result = socket.send_to(&packet, &SockAddr::from(to));
                sent[which] += u64::from(result.is_ok());
            }
        }
        pause(2);
    }
    sent[0].min(sent[1])
}

/// Builds a packet that no honest host sends.
fn raw_packet(rng: &mut Rng, family: Family) -> Vec<u8> {
    let from = family.host(0x64 + rng.below(100) as u16);
    let number = rng.u32();
    match rng.below(7) {
        0 => {
            let offset = 8 * rng.below(8_000) as u16;
            let more = rng.below(2) == 0;
            forge::fragment(
                from,
                forge::UDP,
                number as u16 % 64,
                offset,
                more,
                &[7; 1_200],
            )
        }
        1 => {
            let ours = family.ours();
            let syn = forge::tcp(port::ECHO, port::ECHO, number, 0, flag::SYN, &[]);
            forge::sealed(forge::packet(ours, forge::TCP, &syn))
        }
        2 | 3 => {
            // Blind segments: to the ports of the host's own clients, too.
            let from = if rng.below(2) == 0 {
                from
            } else {
                family.kernel()
            };
            let flags = [flag::RST, flag::SYN, flag::ACK, flag::RST | flag::ACK, 0xff]
                [rng.below(5) as usize];
            let source = 32_768 + rng.below(28_000) as u16;
            let segment = forge::tcp(source, port::ECHO, number, rng.u32(), flags, b"blind");
            forge::sealed(forge::packet(from, forge::TCP, &segment))
        }
        4 => {
            let mut quoted = forge::tcp(
                port::ECHO,
                32_768 + rng.below(28_000) as u16,
                number,
                0,
                flag::ACK,
                &[],
            );
            quoted.truncate(8);
            let quote = forge::packet_to(family.ours(), family.kernel(), forge::TCP, &quoted);
            let complaints = [
                Complaint::Port,
                Complaint::Protocol,
                Complaint::TooBig(1_280),
            ];
            forge::complaint(from, complaints[rng.below(3) as usize], &quote)
        }
        5 => forge::packet(from, 200, b"no such protocol"),
        _ => {
            let mut garbage = vec![0; 20 + rng.below(200) as usize];
            rng.fill(&mut garbage);
            let protos = [forge::TCP, forge::UDP, forge::ICMP, forge::ICMPV6];
            forge::packet(from, protos[rng.below(4) as usize], &garbage)
        }
    }
}
