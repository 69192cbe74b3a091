//! Hostile peers: a stack on virtual time, and raw packets that any peer could send it.
//!
//! No kernel is between: a test says what each packet is, and a run repeats exactly from its seed. The
//! stack's own time on the processor is measured, so that a test can say what a packet costs.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures::FutureExt as _;
use futures::channel::oneshot;
use futures::executor::block_on;
use netstack::base::Config;
use netstack::net::{Stack, TcpListener, UdpSocket};
use rustix::time::{ClockId, clock_gettime};
use tools::virtual_stack::VirtualStack;

use crate::forge;

/// The stack's address.
pub const OURS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// The port of the echo service.
pub const ECHO: u16 = 7;
/// The port of the discard service, on TCP; a UDP socket there is never read.
pub const DISCARD: u16 = 9;
/// The port of a service that accepts and never reads.
pub const DEAF: u16 = 11;
/// The port of a service that writes without end.
pub const CHARGEN: u16 = 19;

/// Flags of the TCP header.
pub mod flag {
    /// No more data.
    pub const FIN: u8 = 1;
    /// Synchronise.
    pub const SYN: u8 = 2;
    /// Reset.
    pub const RST: u8 = 4;
    /// Acknowledgment.
    pub const ACK: u8 = 16;
}

/// A segment that the stack sent.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Port of the stack.
    pub from: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// Flags.
    pub flags: u8,
    /// Window, unscaled.
    pub window: u16,
    /// Options, as bytes.
    pub options: Vec<u8>,
    /// Payload.
    pub data: Vec<u8>,
}

/// A stack on virtual time with services, and what it sent.
#[derive(Debug)]
pub struct Lab {
    stack: VirtualStack,
    now: Duration,
    /// Segments by the peer's address and port, not looked at yet.
    heard: BTreeMap<(Ipv4Addr, u16), VecDeque<Heard>>,
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
    /// Creates a stack with the services of the constants above.
    ///
    /// # Panics
    ///
    /// Panics if the stack cannot be made.
    pub fn new(config: Config, seed: u64) -> Self {
        let addresses = [(IpAddr::V4(OURS), 24)];
        let mut stack = VirtualStack::new(config, &addresses, 1_500, seed).expect("a stack");
        let handle = stack.stack().clone();
        serve(&handle, ECHO, |mut stream| async move {
            while let Ok(Some(payload)) = stream.recv_payload().await {
                if stream.send_payload(payload).await.is_err() {
                    return;
                }
            }
            let _ = tokio::io::AsyncWriteExt::shutdown(&mut stream).await;
        });
        serve(&handle, DISCARD, |mut stream| async move {
            while let Ok(Some(_)) = stream.recv_payload().await {}
        });
        let (end_deaf, ended) = oneshot::channel::<()>();
        let ended = ended.shared();
        serve(&handle, DEAF, move |stream| {
            let ended = ended.clone();
            async move {
                let _ = ended.await;
                drop(stream);
            }
        });
        serve(&handle, CHARGEN, |mut stream| async move {
            let block = [b'c'; 8_192];
            while tokio::io::AsyncWriteExt::write_all(&mut stream, &block)
                .await
                .is_ok()
            {}
        });
        let echo = bind_udp(&handle, ECHO);
        stack.spawn(async move {
            while let Ok((payload, from)) = echo.recv_payload_from().await {
                let _ = echo.send_payload_to(payload, from).await;
            }
        });
        let mut lab = Self {
            stack,
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
        self.stack
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
        if packet.first().is_none_or(|byte| byte >> 4 != 4) || packet[6] & 0x3f != 0 {
            return;
        }
        let to = Ipv4Addr::new(packet[16], packet[17], packet[18], packet[19]);
        let body = &packet[20..];
        let word = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
        let long = |at: usize| (u32::from(word(at)) << 16) | u32::from(word(at + 2));
        match packet[9] {
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
            forge::ICMP if body[0] == 0 => self.echo_replies += 1,
            forge::ICMP => self.icmp_errors += 1,
            _ => {}
        }
    }

    /// Takes the next segment that the stack sent to that address and port.
    pub fn heard(&mut self, peer: (Ipv4Addr, u16)) -> Option<Heard> {
        let queue = self.heard.get_mut(&peer)?;
        let segment = queue.pop_front();
        if queue.is_empty() {
            self.heard.remove(&peer);
        }
        segment
    }

    /// Forgets what the stack sent to that address and port.
    pub fn ignore(&mut self, peer: (Ipv4Addr, u16)) {
        self.heard.remove(&peer);
    }

    /// Pings; true if the answer comes at once.
    pub fn ping(&mut self) -> bool {
        self.echoes = self.echoes.wrapping_add(1);
        let before = self.echo_replies;
        let [high, low] = self.echoes.to_be_bytes();
        let request = forge::icmp(8, 0, [0x77, 0x77, high, low], &[0x55; 1_000]);
        self.send(forge::sealed(forge::ipv4(OURS, forge::ICMP, &request)));
        self.echo_replies > before
    }

    /// Opens a connection to the echo service as a polite peer, exchanges `len` bytes and resets it; returns
    /// how long that took on virtual time, or `None` if it took longer than `limit`.
    pub fn exchange(&mut self, port: u16, len: usize, limit: Duration) -> Option<Duration> {
        let start = self.now;
        let address = Ipv4Addr::new(10, 77, 0, 98);
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

    /// Returns the stack's processor time since the start, and the packets that it received.
    pub fn cost(&self) -> (Duration, u64) {
        (self.processor, self.packets_in)
    }

    /// Returns the number of buffers in use.
    pub fn buffers_in_use(&self) -> usize {
        let (large, small) = self.handle().slabs_in_use();
        large + small
    }
}

fn serve<F>(
    stack: &Stack,
    port: u16,
    service: impl Fn(netstack::TcpStream) -> F + Send + Sync + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = block_on(TcpListener::bind(stack, (OURS, port).into())).expect("a listener");
    listener
        .serve(move |stream, _| service(stream))
        .expect("a service");
}

/// Binds a UDP socket of the stack.
///
/// # Panics
///
/// Panics if the port is in use.
pub fn bind_udp(stack: &Stack, port: u16) -> UdpSocket {
    block_on(UdpSocket::bind(stack, (OURS, port).into())).expect("a UDP socket")
}

/// Returns the processor time of this thread.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Returns the option for a maximum segment size.
pub fn mss(bytes: u16) -> Vec<u8> {
    let [high, low] = bytes.to_be_bytes();
    vec![2, 4, high, low]
}

/// A TCP endpoint by hand: it sends what a test says and keeps count.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its port.
    pub port: u16,
    /// The stack's port.
    pub to: u16,
    /// Its initial sequence number.
    pub iss: u32,
    /// Its next sequence number.
    pub next: u32,
    /// The stack's next sequence number, as far as it was received in order.
    pub rcv: u32,
    /// The last acknowledgment of the stack.
    pub una: u32,
    /// The window that the stack offered last.
    pub window: u16,
    /// The window that this side offers.
    pub offer: u16,
}

impl Peer {
    /// Creates a closed endpoint.
    pub fn new(address: Ipv4Addr, port: u16, to: u16) -> Self {
        let iss = u32::from(port).wrapping_mul(0x9E37_79B9) ^ address.to_bits();
        Self {
            address,
            port,
            to,
            iss,
            next: iss.wrapping_add(1),
            rcv: 0,
            una: iss,
            window: 0,
            offer: u16::MAX,
        }
    }

    /// Opens a connection; true if the stack answered.
    pub fn open(&mut self, lab: &mut Lab, options: &[u8]) -> bool {
        self.syn(lab, options);
        while let Some(segment) = lab.heard((self.address, self.port)) {
            if segment.flags & (flag::SYN | flag::ACK) == flag::SYN | flag::ACK {
                self.on_syn_ack(&segment);
                self.ack(lab);
                return true;
            }
        }
        false
    }

    /// Returns how many of `len` bytes after the SYN the stack acknowledged.
    fn acked(&self, len: usize) -> usize {
        let acked = self.una.wrapping_sub(self.iss.wrapping_add(1)) as usize;
        if acked <= len { acked } else { 0 }
    }

    /// Sends a SYN with these options, a multiple of four bytes.
    pub fn syn(&self, lab: &mut Lab, options: &[u8]) {
        lab.send(self.segment(self.iss, 0, flag::SYN, options, &[]));
    }

    /// Notes the answer to the SYN.
    pub fn on_syn_ack(&mut self, segment: &Heard) {
        self.rcv = segment.seq.wrapping_add(1);
        self.una = segment.ack;
        self.window = segment.window;
    }

    /// Acknowledges what was received in order.
    pub fn ack(&self, lab: &mut Lab) {
        lab.send(self.segment(self.next, self.rcv, flag::ACK, &[], &[]));
    }

    /// Sends data that is next.
    pub fn data(&mut self, lab: &mut Lab, data: &[u8]) {
        let seq = self.next;
        self.next = self.next.wrapping_add(data.len() as u32);
        self.send_at(lab, seq, data);
    }

    /// Sends data at a sequence number.
    pub fn send_at(&self, lab: &mut Lab, seq: u32, data: &[u8]) {
        lab.send(self.segment(seq, self.rcv, flag::ACK, &[], data));
    }

    /// Resets the connection.
    pub fn reset(&self, lab: &mut Lab) {
        // Where the stack expects it, so that it needs no challenge.
        let seq = if self.una == self.iss {
            self.next
        } else {
            self.una
        };
        lab.send(self.segment(seq, self.rcv, flag::RST | flag::ACK, &[], &[]));
    }

    /// Builds a segment of this endpoint; `options` is a multiple of four bytes.
    pub fn segment(&self, seq: u32, ack: u32, flags: u8, options: &[u8], data: &[u8]) -> Vec<u8> {
        let mut bytes = forge::tcp(self.port, self.to, seq, ack, flags, &[]);
        bytes[14..16].copy_from_slice(&self.offer.to_be_bytes());
        bytes[12] = (5 + options.len() as u8 / 4) << 4;
        bytes.extend_from_slice(options);
        bytes.extend_from_slice(data);
        forge::sealed(forge::ipv4_with(
            self.address,
            OURS,
            forge::TCP,
            &[],
            &bytes,
        ))
    }

    /// Takes everything that the stack sent to this endpoint, notes acknowledgment and window, and returns
    /// the segments.
    pub fn listen(&mut self, lab: &mut Lab) -> Vec<Heard> {
        let mut all = Vec::new();
        while let Some(segment) = lab.heard((self.address, self.port)) {
            if segment.flags & flag::ACK != 0 {
                self.una = segment.ack;
                self.window = segment.window;
            }
            all.push(segment);
        }
        all
    }
}
