//! Sessions without a connection: datagrams of UDP, and echo requests.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::errors::{Errors, Kind, Quote};
use super::host::{Host, Opening};
use super::places::Place;
use super::player::Progress;
use super::report::{Difference, Report};
use super::translate::{readdress, set_length};
use crate::capture::checksum;
use crate::capture::defragment::{Whole, fragments};
use crate::capture::link::be16;
use crate::capture::packet::{Packet, Transport};

/// A captured datagram or message.
#[derive(Clone, Debug)]
struct Datagram {
    number: u64,
    at: Duration,
    /// The packet.
    ip: Vec<u8>,
    pieces: Vec<usize>,
    /// The payload of a datagram; the message of an echo.
    data: Vec<u8>,
    from_peer: bool,
    /// True if its checksum is wrong: its receiver discards it.
    spoilt: bool,
    /// How many good ones of the peer came before it.
    after: usize,
}

/// The datagrams between two ends, ready to be played.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Its protocol: UDP or ICMP.
    pub protocol: &'static str,
    /// The captured end of the host.
    pub ours: SocketAddr,
    /// The captured end of the peer.
    pub peer: SocketAddr,
    all: Vec<Datagram>,
    pub(super) errors: Errors,
}

/// Collects the exchanges of `packets`. `hosts` says whether an address is the stack's; without it, the first
/// receiver of each exchange is.
pub(crate) fn exchanges(
    packets: &[Whole],
    host: Option<IpAddr>,
    time: &impl Fn(u64) -> Duration,
) -> Vec<Exchange> {
    let mut found: Vec<Exchange> = Vec::new();
    let mut known: HashMap<(&'static str, SocketAddr, SocketAddr), usize> = HashMap::new();
    for whole in packets {
        let captured = &whole.captured;
        let Some(packet) = Packet::parse(&captured.ip, captured.ip.len() as u32) else {
            continue;
        };
        let Some((protocol, from, to, data)) = message(&packet) else {
            continue;
        };
        let (from, to) = (
            SocketAddr::new(packet.source, from),
            SocketAddr::new(packet.destination, to),
        );
        if captured.cut || !is_unicast(from.ip()) || !is_unicast(to.ip()) {
            continue;
        }
        let key = (protocol, from.min(to), from.max(to));
        let at = known.get(&key).copied().or_else(|| {
            let (ours, peer) = match host {
                Some(host) if from.ip() == host => (from, to),
                Some(host) if to.ip() != host => return None,
                _ => (to, from),
            };
            found.push(Exchange {
                protocol,
                ours,
                peer,
                all: Vec::new(),
                errors: Errors::default(),
            });
            known.insert(key, found.len() - 1);
            Some(found.len() - 1)
        });
        let Some(exchange) = at.and_then(|at| found.get_mut(at)) else {
            continue;
        };
        let good = exchange.all.iter().filter(|d| d.from_peer && !d.spoilt);
        let datagram = Datagram {
            number: captured.number,
            at: time(captured.number),
            ip: captured.ip.clone(),
            pieces: whole.pieces.clone(),
            data,
            from_peer: from == exchange.peer,
            spoilt: checksum::is_right(&packet) == Some(false),
            after: good.count(),
        };
        exchange.all.push(datagram);
    }
    for exchange in &mut found {
        exchange.forgive_checksums();
    }
    // A host that answers no echo request is none.
    found.retain(|exchange| {
        exchange.protocol != "ICMP" || exchange.all.iter().any(|datagram| !datagram.from_peer)
    });
    found
}

/// Returns the protocol, the ports and the data of a datagram or an echo.
fn message(packet: &Packet<'_>) -> Option<(&'static str, u16, u16, Vec<u8>)> {
    match &packet.transport {
        Transport::Udp(udp) if has_its_length(packet) => Some((
            "UDP",
            udp.source_port,
            udp.destination_port,
            udp.payload.to_vec(),
        )),
        Transport::Icmp(icmp) if icmp.echo.is_some() && !matches!(icmp.kind, 13 | 14) => {
            Some(("ICMP", 0, 0, icmp.message.to_vec()))
        }
        _ => None,
    }
}

/// Returns true if the length in the header of a datagram fits: a host discards others.
fn has_its_length(packet: &Packet<'_>) -> bool {
    let length = be16(packet.payload(), 4).map_or(0, u32::from);
    (8..=packet.payload_len).contains(&length) && packet.ip.len() <= usize::from(u16::MAX)
}

fn is_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => !ip.is_multicast() && !ip.is_broadcast() && !ip.is_unspecified(),
        IpAddr::V6(ip) => !ip.is_multicast() && !ip.is_unspecified(),
    }
}

impl Exchange {
    /// Forgives wrong checksums where most of a side are wrong: its device computes them.
    fn forgive_checksums(&mut self) {
        for side in [true, false] {
            let of = || {
                self.all
                    .iter()
                    .filter(|datagram| datagram.from_peer == side)
            };
            if of().filter(|datagram| datagram.spoilt).count() * 2 > of().count() {
                for datagram in self.all.iter_mut().filter(|d| d.from_peer == side) {
                    datagram.spoilt = false;
                }
            }
        }
        let mut good = 0;
        for datagram in &mut self.all {
            datagram.after = good;
            good += usize::from(datagram.from_peer && !datagram.spoilt);
        }
    }

    /// Returns true if the host sends before it receives: of echoes, only replies can be replayed.
    pub fn pings(&self) -> bool {
        self.protocol == "ICMP"
            && self.all.iter().any(|datagram| {
                !datagram.from_peer && matches!(datagram.data.first(), Some(8 | 128))
            })
    }

    /// Returns true if the host sends the first datagram.
    pub fn host_begins(&self) -> bool {
        self.all.first().is_some_and(|first| !first.from_peer)
    }

    /// Returns when it begins.
    pub(super) fn start(&self) -> Duration {
        self.all.first().map_or(Duration::ZERO, |first| first.at)
    }

    /// Returns true if the host says that nobody has the port.
    pub(super) fn is_refused(&self) -> bool {
        self.errors.refuse_port() && self.all.iter().all(|datagram| datagram.from_peer)
    }

    /// Returns the number of datagrams.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Returns true if there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

/// An exchange, while it is replayed.
pub(super) struct Datagrams {
    pub(super) exchange: Exchange,
    pub(super) place: Place,
    number: usize,
    opened: bool,
    next_in: usize,
    next_error: usize,
    next_out: usize,
    received: Vec<Vec<u8>>,
    sent: Vec<Vec<u8>>,
    errors_sent: Vec<Kind>,
    pub(super) report: Report,
}

impl Datagrams {
    pub(super) fn new(exchange: Exchange, number: usize, place: Place) -> Self {
        Self {
            place,
            exchange,
            number,
            opened: false,
            next_in: 0,
            next_error: 0,
            next_out: 0,
            received: Vec::new(),
            sent: Vec::new(),
            errors_sent: Vec::new(),
            report: Report::default(),
        }
    }

    fn is_udp(&self) -> bool {
        self.exchange.protocol == "UDP"
    }

    pub(super) fn step(
        &mut self,
        now: Duration,
        host: &mut impl Host,
        delivered: &mut Vec<Vec<u8>>,
    ) -> Progress {
        if !self.opened {
            self.opened = true;
            let opening = if self.is_udp() && !self.exchange.is_refused() {
                Opening::Datagrams
            } else {
                Opening::Nothing
            };
            host.open(self.number, opening, self.place.ours, self.place.peer);
        }
        loop {
            if let Some(progress) = self.step_error(now, host, delivered) {
                return progress;
            }
            let Some(next) = self.exchange.all.get(self.next_in) else {
                return Progress::Done;
            };
            if !next.from_peer {
                self.next_in += 1;
                continue;
            }
            if now < next.at {
                return Progress::Waits(next.at);
            }
            let mut ip = next.ip.clone();
            set_length(&mut ip);
            readdress(&mut ip, self.place.peer, self.place.ours);
            checksum::write(&mut ip, next.spoilt);
            let packets = fragments(&ip, &next.pieces, next.number as u32);
            for packet in &packets {
                host.deliver(packet.clone(), 0);
            }
            delivered.extend(packets);
            self.next_in += 1;
            self.report.played += 1;
            self.report.ended = now;
            return Progress::Moved;
        }
    }

    /// Plays the next ICMP error if it comes before the next datagram. `None`: it does not.
    fn step_error(
        &mut self,
        now: Duration,
        host: &mut impl Host,
        delivered: &mut Vec<Vec<u8>>,
    ) -> Option<Progress> {
        let error = self.exchange.errors.played.get(self.next_error)?;
        let next = self.exchange.all.get(self.next_in);
        if next.is_some_and(|datagram| datagram.number < error.number) {
            return None;
        }
        if now < error.at {
            return Some(Progress::Waits(error.at));
        }
        let packet = error.packet(self.place, 0);
        host.deliver(packet.clone(), 0);
        delivered.push(packet);
        self.next_error += 1;
        self.report.played += 1;
        self.report.ended = now;
        Some(Progress::Moved)
    }

    /// Returns the next datagram that the application sends.
    fn next_out(&self) -> Option<&Datagram> {
        let mut rest = self.exchange.all.iter().skip(self.next_out);
        rest.find(|datagram| !datagram.from_peer)
    }

    pub(super) fn next_action(&self) -> Option<Duration> {
        let next = self.next_out().filter(|_| self.is_udp())?;
        (self.received.len() >= next.after).then_some(next.at)
    }

    pub(super) fn last_due(&self) -> Duration {
        let errors = &self.exchange.errors.played;
        let error = errors.last().map_or(Duration::ZERO, |error| error.at);
        self.exchange.all.last().map_or(error, |d| d.at.max(error))
    }

    pub(super) fn application(&mut self, now: Duration, host: &mut impl Host) -> bool {
        if !self.opened || !self.is_udp() {
            return false;
        }
        let mut busy = false;
        while let Some(datagram) = host.receive(self.number) {
            self.received.push(datagram);
            busy = true;
        }
        while let Some(next) = self.next_out()
            && next.at <= now
            && self.received.len() >= next.after
        {
            if host.write(self.number, &next.data) == 0 {
                break;
            }
            let at = self
                .exchange
                .all
                .iter()
                .position(|d| d.number == next.number);
            self.next_out = at.map_or(self.exchange.all.len(), |at| at + 1);
            busy = true;
        }
        busy
    }

    /// Takes a whole packet of the stack, and the number of packets that it came in.
    pub(super) fn take(&mut self, now: Duration, ip: &[u8]) -> Option<String> {
        self.report.replayed_out += 1;
        self.report.ended = now;
        let packet = Packet::parse(ip, ip.len() as u32)?;
        let data = match &packet.transport {
            Transport::Udp(udp) if self.is_udp() => udp.payload.to_vec(),
            Transport::Icmp(icmp) if !self.is_udp() => icmp.message.to_vec(),
            Transport::Icmp(_) => {
                let kind = Quote::of(&packet)?.kind;
                self.errors_sent.push(kind);
                let is_expected = self.exchange.errors.expected.contains(&kind);
                let (kind, code) = kind;
                let what = Difference::IcmpSent { kind, code };
                return (!is_expected).then(|| format!("differs: {what}"));
            }
            _ => return None,
        };
        self.sent.push(data);
        let number = self.sent.len();
        let expected = self.expected_out();
        let what = compare(expected.get(number - 1).copied(), self.sent.last())?;
        Some(format!("differs: {what}"))
    }

    fn expected_out(&self) -> Vec<&Vec<u8>> {
        let ours = self.exchange.all.iter().filter(|d| !d.from_peer);
        ours.map(|datagram| &datagram.data).collect()
    }

    pub(super) fn finish(mut self, has_application: bool) -> Report {
        let expected_in: Vec<&Vec<u8>> = self
            .exchange
            .all
            .iter()
            .filter(|datagram| datagram.from_peer && !datagram.spoilt)
            .map(|datagram| &datagram.data)
            .collect();
        let mut differences = Vec::new();
        let mut note = |side, expected: &[&Vec<u8>], found: &[Vec<u8>]| {
            for at in 0..expected.len().max(found.len()) {
                if let Some(what) = compare(expected.get(at).copied(), found.get(at)) {
                    differences.push(Difference::Datagram {
                        side,
                        number: at + 1,
                        what,
                    });
                    break;
                }
            }
        };
        if self.is_udp() && has_application && !self.exchange.is_refused() {
            note("peer", &expected_in, &self.received);
        }
        let expected_out = self.expected_out();
        note("host", &expected_out, &self.sent);
        self.report.captured_out = expected_out.len();
        self.report.peer_bytes = self.received.iter().map(|data| data.len() as u64).sum();
        self.report.our_bytes = self.sent.iter().map(|data| data.len() as u64).sum();
        self.report.differences = differences;
        let errors = std::mem::take(&mut self.exchange.errors);
        errors.compare(&self.errors_sent, &mut self.report);
        self.report
    }
}

/// Returns how a datagram differs from the captured one. Checksums of messages cover nothing that can differ
/// alone.
fn compare(expected: Option<&Vec<u8>>, found: Option<&Vec<u8>>) -> Option<String> {
    match (expected, found) {
        (None, None) => None,
        (Some(expected), None) => Some(format!("{} bytes captured, not replayed", expected.len())),
        (None, Some(found)) => Some(format!("{} bytes replayed, not captured", found.len())),
        (Some(expected), Some(found)) if expected == found => None,
        (Some(expected), Some(found)) => Some(format!(
            "{} bytes captured, {} other bytes replayed",
            expected.len(),
            found.len()
        )),
    }
}
