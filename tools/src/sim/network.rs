//! A star of links: each host has one to the middle and one from it, and the middle forwards by destination.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::time::Duration;

use impair::{Checksum, Frame, Impairment, Wire};
use netstack::base::Instant;
use packet::IpProto;
use packet::ip::Outline;

use super::trace::Trace;

/// Most packets in all before a run counts as endless.
const PACKETS_MAX: u64 = 3_000_000;

/// The links of one host.
#[derive(Debug)]
struct HostLinks {
    up: Wire,
    down: Wire,
    /// The packets that have arrived for each of its workers.
    inboxes: Vec<VecDeque<Frame>>,
    /// The device takes super-packets.
    takes_super: bool,
    /// Changes which worker a flow goes to.
    steering: u64,
    is_cut_off: bool,
}

/// The network. Times are since the origin of virtual time.
#[derive(Debug)]
pub struct Network {
    hosts: Vec<HostLinks>,
    /// The host of each address.
    owners: BTreeMap<IpAddr, usize>,
    packets: u64,
    spoil: Option<u64>,
}

/// The links of a host, for [`Network::add`].
#[derive(Clone, Debug)]
pub struct Links {
    /// From the host to the middle.
    pub up: Impairment,
    /// From the middle to the host.
    pub down: Impairment,
    /// The seed of both.
    pub seed: u64,
    /// Workers of the host.
    pub workers: usize,
    /// The device takes super-packets.
    pub takes_super: bool,
}

fn since_origin(now: Instant) -> Duration {
    Duration::from_nanos(now.as_nanos())
}

impl Network {
    /// Returns a network without hosts. `spoil`: the number of a packet that is spoilt so that its receiver cannot know.
    pub fn new(spoil: Option<u64>) -> Self {
        Self {
            hosts: Vec::new(),
            owners: BTreeMap::new(),
            packets: 0,
            spoil,
        }
    }

    /// Adds a host; returns its number.
    pub fn add(&mut self, links: Links) -> usize {
        self.hosts.push(HostLinks {
            up: Wire::new(links.up, links.seed),
            down: Wire::new(links.down, !links.seed),
            inboxes: vec![VecDeque::new(); links.workers],
            takes_super: links.takes_super,
            steering: 0,
            is_cut_off: false,
        });
        self.hosts.len() - 1
    }

    /// Sends what is for `address` to `host`.
    pub fn own(&mut self, address: IpAddr, host: usize) {
        self.owners.insert(address, host);
    }

    /// Discards what is for `address` from now on.
    pub fn disown(&mut self, address: IpAddr) {
        self.owners.remove(&address);
    }

    /// Cuts a host off from all others, or connects it again. What is under way when it is cut off is lost.
    pub fn cut_off(&mut self, host: usize, is_cut_off: bool) {
        if let Some(links) = self.hosts.get_mut(host) {
            links.is_cut_off = is_cut_off;
        }
    }

    /// Changes the links of a host, up and down.
    pub fn impair(&mut self, host: usize, (up, down): (Impairment, Impairment), now: Instant) {
        if let Some(links) = self.hosts.get_mut(host) {
            links.up.set(up, since_origin(now));
            links.down.set(down, since_origin(now));
        }
    }

    /// Sends the flows of a host to other workers than before.
    pub fn steer(&mut self, host: usize) {
        if let Some(links) = self.hosts.get_mut(host) {
            links.steering = links.steering.wrapping_add(1);
        }
    }

    /// Discards what has arrived at a host and was not read.
    pub fn clear(&mut self, host: usize) {
        for inbox in self
            .hosts
            .get_mut(host)
            .into_iter()
            .flat_map(|h| &mut h.inboxes)
        {
            inbox.clear();
        }
    }

    /// Sends a packet of a host.
    pub fn send(&mut self, host: usize, frame: Frame, now: Instant, trace: &mut Trace) {
        let Some(links) = self.hosts.get_mut(host) else {
            return;
        };
        self.packets += 1;
        if self.packets == PACKETS_MAX {
            trace.fault(format!("{PACKETS_MAX} packets: the run has no end"));
        }
        if self.packets >= PACKETS_MAX {
            return;
        }
        let frame = match self.spoil {
            Some(number) if number == self.packets => spoilt(&frame),
            _ => frame,
        };
        trace.digest_bytes(frame.bytes());
        trace.note(&format!("{host} > {}", line(&frame)));
        if let Some(answer) = links.up.push(frame, since_origin(now)) {
            self.arrive(host, answer, trace);
        }
    }

    /// Moves everything to where it is at `now`.
    pub fn advance(&mut self, now: Instant, trace: &mut Trace) {
        trace.set_now(now);
        let at = since_origin(now);
        for from in 0..self.hosts.len() {
            while let Some(frame) = self.hosts[from].up.pop(at) {
                if !self.hosts[from].is_cut_off {
                    self.forward(from, frame, at);
                }
            }
        }
        for host in 0..self.hosts.len() {
            while let Some(frame) = self.hosts[host].down.pop(at) {
                if !self.hosts[host].is_cut_off {
                    self.arrive(host, frame, trace);
                }
            }
        }
    }

    /// Sends a packet from the middle to the host of its destination.
    fn forward(&mut self, from: usize, frame: Frame, at: Duration) {
        let destination = Outline::read(frame.bytes()).map(|outline| outline.dst);
        let Some(&to) = destination.and_then(|dst| self.owners.get(&dst)) else {
            return;
        };
        if let Some(answer) = self.hosts[to].down.push(frame, at) {
            // The middle is a router: it answers what the next link does not carry.
            let _ = self.hosts[from].down.push(answer, at);
        }
    }

    /// Puts a packet in front of one of a host's workers.
    fn arrive(&mut self, host: usize, frame: Frame, trace: &mut Trace) {
        let links = &mut self.hosts[host];
        trace.note(&format!("{host} < {}", line(&frame)));
        let queue = queue_of(&frame, links.steering, links.inboxes.len());
        let Some(inbox) = links.inboxes.get_mut(queue) else {
            return;
        };
        if links.takes_super {
            inbox.push_back(frame);
            return;
        }
        for index in 0..frame.segments() {
            let mut segment = frame.run(index..index + 1);
            segment.finish();
            inbox.push_back(segment);
        }
    }

    /// Returns the next packet for a worker.
    pub fn take(&mut self, host: usize, worker: usize) -> Option<Frame> {
        self.hosts
            .get_mut(host)?
            .inboxes
            .get_mut(worker)?
            .pop_front()
    }

    /// Returns when something happens next, or `now` if a worker has something to read.
    pub fn next(&self, host: usize, worker: usize, now: Instant) -> Option<Instant> {
        let inbox = self
            .hosts
            .get(host)
            .and_then(|links| links.inboxes.get(worker));
        if inbox.is_some_and(|inbox| !inbox.is_empty()) {
            return Some(now);
        }
        let wires = self.hosts.iter().flat_map(|links| [&links.up, &links.down]);
        let next = wires.filter_map(Wire::next).min()?;
        Some(Instant::from_nanos(
            u64::try_from(next.as_nanos()).unwrap_or(u64::MAX),
        ))
    }

    /// Returns the number of packets that were sent.
    pub fn packets(&self) -> u64 {
        self.packets
    }
}

/// Returns the packet with another last byte, of which its receiver believes that it is intact.
fn spoilt(frame: &Frame) -> Frame {
    let mut bytes = frame.bytes().to_vec();
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    Frame::new(bytes, Checksum::Vouched, frame.gso_size())
}

/// Returns the worker that a packet goes to: the same one for both directions of a flow, and for all fragments between
/// two hosts.
fn queue_of(frame: &Frame, steering: u64, queues: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    steering.hash(&mut hasher);
    if let Some(outline) = Outline::read(frame.bytes()) {
        outline.src.hash(&mut hasher);
        let has_ports =
            matches!(outline.proto, IpProto::TCP | IpProto::UDP) && outline.fragment.is_none();
        if has_ports {
            outline.transport.get(..4).hash(&mut hasher);
        }
    }
    (hasher.finish() % queues.max(1) as u64) as usize
}

/// Describes a packet in a line.
fn line(frame: &Frame) -> String {
    let bytes = frame.bytes();
    let Some(outline) = Outline::read(bytes) else {
        return format!("{} bytes that are no packet", bytes.len());
    };
    let (src, dst) = (outline.src, outline.dst);
    let many = match frame.segments() {
        1 => String::new(),
        count => format!(" x{count}"),
    };
    let field = |at: usize| {
        let bytes = outline.transport.get(at..at + 4);
        bytes
            .and_then(|b| b.try_into().ok())
            .map_or(0, u32::from_be_bytes)
    };
    let ports = field(0);
    let (from, to) = (ports >> 16, ports & 0xffff);
    let len = bytes.len();
    if outline.fragment.is_some() {
        return format!("{src} > {dst} fragment, {len} bytes");
    }
    match outline.proto {
        IpProto::TCP => {
            let flags = flags(outline.transport.get(13).copied().unwrap_or(0));
            let (seq, ack) = (field(4), field(8));
            format!("{src}:{from} > {dst}:{to} {flags} seq {seq} ack {ack}, {len} bytes{many}")
        }
        IpProto::UDP => format!("{src}:{from} > {dst}:{to} UDP, {len} bytes{many}"),
        proto => format!("{src} > {dst} protocol {}, {len} bytes", proto.0),
    }
}

fn flags(byte: u8) -> String {
    let names = ["F", "S", "R", "P", ".", "U", "E", "C"];
    let set = |(bit, name): (usize, &&'static str)| (byte & (1 << bit) != 0).then_some(*name);
    names.iter().enumerate().filter_map(set).collect()
}
