//! Hostile peers: a stack on virtual time, and raw packets that any peer could send it.
//!
//! No kernel is between: a test says what each packet is, and a run repeats exactly from its seed. The
//! stack's own time on the processor is measured, so that a test can say what a packet costs.

mod peer;
mod services;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use futures::channel::oneshot;
use futures::executor::block_on;
use netstack::base::Config;
use netstack::net::{Stack, UdpSocket};
use rustix::time::{ClockId, clock_gettime};
use tools::virtual_stack::VirtualStack;

use crate::forge;
pub use peer::{Heard, Peer, flag, mss};
pub use services::{BLOBS, CHARGEN, DEAF, DISCARD, ECHO, FILE, FILE_BYTES};

/// A version of IP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl Family {
    /// Both of them.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// Returns the stack's address.
    pub fn ours(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(10, 77, 0, 2).into(),
            Self::V6 => Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2).into(),
        }
    }

    /// Returns the address of the kernel at the other end of the device, in tests with one.
    pub fn kernel(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(10, 77, 0, 1).into(),
            Self::V6 => Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1).into(),
        }
    }

    /// Returns the address of host number `n`: each is a peer of its own for limits, an address or a /64.
    pub fn host(self, n: u16) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::from_bits(0x0a4d_0000 | u32::from(n)).into(),
            Self::V6 => Ipv6Addr::new(0xfd77, 0, 0, n, 0, 0, 0, 0x99).into(),
        }
    }

    /// Returns address number `n` of host number 99: with IPv6 another address of its /64, with IPv4 there is only
    /// one.
    pub fn attacker(self, n: u16) -> IpAddr {
        match self {
            Self::V4 => self.host(99),
            Self::V6 => Ipv6Addr::new(0xfd77, 0, 0, 99, 0, 0, 0, n | 0x1000).into(),
        }
    }
}

/// A stack on virtual time with services, and what it sent.
#[derive(Debug)]
pub struct Lab {
    /// The family of its pings and polite peers.
    family: Family,
    stack: VirtualStack,
    next_timer: Option<Duration>,
    now: Duration,
    /// Segments by the peer's address and port, not looked at yet.
    heard: BTreeMap<(IpAddr, u16), VecDeque<Heard>>,
    echo_replies: u64,
    icmp_errors: u64,
    udp_answers: u64,
    packets_in: u64,
    packets_out: u64,
    processor: Duration,
    most_used: usize,
    most_allocated: usize,
    echoes: u16,
    end_deaf: Option<oneshot::Sender<()>>,
}

impl Lab {
    /// Creates a stack with the services of the constants above, to be attacked over this family.
    ///
    /// # Panics
    ///
    /// Panics if the stack cannot be made.
    pub fn new(config: Config, seed: u64, family: Family) -> Self {
        let addresses = [(Family::V4.ours(), 24), (Family::V6.ours(), 64)];
        let mut stack = VirtualStack::new(config, &addresses, 1_500, seed).expect("a stack");
        let end_deaf = services::start(&mut stack);
        let mut lab = Self {
            family,
            stack,
            next_timer: None,
            now: Duration::ZERO,
            heard: BTreeMap::new(),
            echo_replies: 0,
            icmp_errors: 0,
            udp_answers: 0,
            packets_in: 0,
            packets_out: 0,
            processor: Duration::ZERO,
            most_used: 0,
            most_allocated: 0,
            echoes: 0,
            end_deaf: Some(end_deaf),
        };
        lab.settle();
        lab
    }

    /// Returns the stack's handle.
    pub fn handle(&self) -> &Stack {
        self.stack.stack()
    }

    /// Returns the family that is attacked.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Returns when the next timer of the stack expires.
    pub fn next_timer(&self) -> Option<Duration> {
        self.next_timer
    }

    /// Returns the virtual time since the start.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Returns the number of UDP datagrams that the stack sent.
    pub fn udp_answers(&self) -> u64 {
        self.udp_answers
    }

    /// Returns the number of ICMP errors that the stack sent.
    pub fn icmp_errors(&self) -> u64 {
        self.icmp_errors
    }

    /// Returns the number of packets that the stack sent.
    pub fn packets_out(&self) -> u64 {
        self.packets_out
    }

    /// Ends the service that never reads: it lets go of its connections.
    pub fn end_deaf(&mut self) {
        self.end_deaf = None;
        self.settle();
    }

    /// Delivers one packet and lets the stack handle it.
    pub fn send(&mut self, packet: Vec<u8>) {
        self.queue(packet);
        self.settle();
    }

    /// Queues a packet for the next turn.
    pub fn queue(&mut self, packet: Vec<u8>) {
        self.packets_in += 1;
        self.stack.deliver(packet, 0);
    }

    /// Lets the stack do all that it can do now.
    ///
    /// # Panics
    ///
    /// Panics if it never comes to rest, or takes more memory than it may.
    pub fn settle(&mut self) {
        let mut sent = Vec::new();
        let before = processor_time();
        self.next_timer = self
            .stack
            .settle(self.now, &mut sent)
            .expect("the stack comes to rest");
        self.processor += processor_time().saturating_sub(before);
        let memory = self.handle().memory();
        assert!(memory.allocated <= memory.limit, "{memory:?}");
        self.most_used = self.most_used.max(memory.used);
        self.most_allocated = self.most_allocated.max(memory.allocated);
        self.packets_out += sent.len() as u64;
        for packet in sent {
            self.hear(&packet);
        }
    }

    /// Lets virtual time pass, with every timer that is due on the way.
    pub fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = (self.now + Duration::from_millis(10)).min(end);
            self.settle();
        }
    }

    fn hear(&mut self, packet: &[u8]) {
        let Some((to, proto, body)) = forge::parts(packet) else {
            return;
        };
        let word = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
        let long = |at: usize| (u32::from(word(at)) << 16) | u32::from(word(at + 2));
        match proto {
            forge::TCP => {
                let header = usize::from(body[12] >> 4) * 4;
                let segment = Heard {
                    from: word(0),
                    seq: long(4),
                    ack: long(8),
                    flags: body[13],
                    window: word(14),
                    options: body[20..header].to_vec(),
                    data: body[header..].to_vec(),
                };
                let queue = self.heard.entry((to, word(2))).or_default();
                queue.push_back(segment);
                if queue.len() > 4_096 {
                    queue.pop_front();
                }
            }
            forge::UDP => self.udp_answers += 1,
            forge::ICMP if body[0] == forge::ECHO_REPLY_V4 => self.echo_replies += 1,
            forge::ICMPV6 if body[0] == forge::ECHO_REPLY_V6 => self.echo_replies += 1,
            forge::ICMP | forge::ICMPV6 => self.icmp_errors += 1,
            _ => {}
        }
    }

    /// Takes the next segment that the stack sent to that address and port.
    pub fn heard(&mut self, peer: (IpAddr, u16)) -> Option<Heard> {
        let queue = self.heard.get_mut(&peer)?;
        let segment = queue.pop_front();
        if queue.is_empty() {
            self.heard.remove(&peer);
        }
        segment
    }

    /// Forgets what the stack sent to that address and port.
    pub fn ignore(&mut self, peer: (IpAddr, u16)) {
        self.heard.remove(&peer);
    }

    /// Forgets everything that the stack sent.
    pub fn ignore_all(&mut self) {
        self.heard.clear();
    }

    /// Pings; true if the answer comes at once.
    pub fn ping(&mut self) -> bool {
        self.echoes = self.echoes.wrapping_add(1);
        let before = self.echo_replies;
        let [high, low] = self.echoes.to_be_bytes();
        let from = self.family.host(99);
        let request = forge::echo_request(from, [0x77, 0x77, high, low], &[0x55; 1_000]);
        self.send(request);
        self.echo_replies > before
    }

    /// Opens a connection to the echo service as a polite peer, exchanges `len` bytes and resets it; returns
    /// how long that took on virtual time, or `None` if it took longer than `limit`.
    pub fn exchange(&mut self, port: u16, len: usize, limit: Duration) -> Option<Duration> {
        let start = self.now;
        let address = self.family.host(98);
        let mut peer = Peer::new(address, port, ECHO);
        let data: Vec<u8> = (0..len)
            .map(|at| (at * 7 + usize::from(port)) as u8)
            .collect();
        let (mut opened, mut sent, mut got) = (false, 0, Vec::new());
        let mut tries = 0;
        while got.len() < data.len() {
            if self.now - start > limit {
                println!(
                    "{} of {len} bytes came back, {sent} sent, opened {opened}: {peer:?}",
                    got.len()
                );
                peer.reset(self);
                return None;
            }
            // Retransmissions of SYN and data each 200 ms.
            if tries % 20 == 0 {
                if opened {
                    sent = sent.min(peer.acked(data.len()));
                } else {
                    peer.syn(self, &mss(1_460));
                }
            }
            tries += 1;
            while let Some(segment) = self.heard((address, port)) {
                if segment.flags & flag::RST != 0 {
                    println!("reset after {:?}: {segment:?}", self.now - start);
                    return None;
                }
                if segment.flags & flag::SYN != 0 {
                    opened = true;
                    peer.on_syn_ack(&segment);
                    peer.ack(self);
                    continue;
                }
                peer.una = segment.ack;
                peer.window = segment.window;
                if segment.seq == peer.rcv && !segment.data.is_empty() {
                    got.extend_from_slice(&segment.data);
                    peer.rcv = peer.rcv.wrapping_add(segment.data.len() as u32);
                    peer.ack(self);
                }
            }
            if opened {
                let acked = peer.acked(data.len());
                while sent < data.len() && sent - acked.min(sent) < usize::from(peer.window) {
                    let end = (sent + 1_000).min(data.len());
                    let seq = peer.iss.wrapping_add(1 + sent as u32);
                    peer.send_at(self, seq, &data[sent..end]);
                    sent = end;
                    peer.next = peer.iss.wrapping_add(1 + sent as u32);
                }
            }
            self.wait(Duration::from_millis(10));
        }
        assert_eq!(got, data, "the echo is what was sent");
        peer.reset(self);
        Some(self.now - start)
    }

    /// Prints what the test cost: packets, the stack's processor time for each, and its memory.
    pub fn report(&self, what: &str) {
        let each = self.processor.as_nanos() / u128::from(self.packets_in.max(1));
        println!(
            "{what}: {} packets in, {} out, {each} ns each with every check on, at most {} kB used, {} kB allocated",
            self.packets_in,
            self.packets_out,
            self.most_used / 1_000,
            self.most_allocated / 1_000,
        );
    }

    /// Returns the stack's processor time since the start, and the packets that it received and sent.
    pub fn cost(&self) -> (Duration, u64, u64) {
        (self.processor, self.packets_in, self.packets_out)
    }

    /// Returns the number of buffers in use.
    pub fn buffers_in_use(&self) -> usize {
        let (large, small) = self.handle().slabs_in_use();
        large + small
    }
}

/// Binds a UDP socket of the stack.
///
/// # Panics
///
/// Panics if the port is in use.
pub fn bind_udp(stack: &Stack, address: IpAddr, port: u16) -> UdpSocket {
    block_on(UdpSocket::bind(stack, (address, port))).expect("a UDP socket")
}

/// Returns the processor time of this thread.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
