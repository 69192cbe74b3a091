//! The replay itself, on virtual time: all sessions of one host at once.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use super::datagrams::{Datagrams, Exchange};
use super::errors::readdress_quote;
use super::host::{Host, Opening};
use super::places::{MAX_SESSIONS, Place, free_port};
use super::plan::Plan;
use super::player::{Player, Progress};
use super::record::Record;
use super::report::{Difference, Report};
use super::translate::readdress;
use crate::capture::Captured;
use crate::capture::checksum;
use crate::capture::defragment::defragment;
use crate::capture::packet::Packet;

/// Most rounds at one moment: a session plays a packet in each.
const MAX_ROUNDS: usize = 10_000_000;

/// A session to replay.
#[derive(Clone, Debug)]
pub enum Part {
    /// A TCP connection.
    Tcp(Box<Plan>),
    /// Datagrams.
    Datagrams(Exchange),
}

impl Part {
    /// Returns when the session begins, since the start of the capture.
    pub fn start(&self) -> Duration {
        match self {
            Self::Tcp(plan) => plan.start,
            Self::Datagrams(exchange) => exchange.start(),
        }
    }
}

/// One session while it is replayed.
enum Playing {
    Tcp(Box<Player>),
    Datagrams(Box<Datagrams>),
}

impl Playing {
    fn place(&self) -> Place {
        match self {
            Self::Tcp(player) => player.plan.place,
            Self::Datagrams(datagrams) => datagrams.place,
        }
    }

    /// Returns the captured ends: the host's and the peer's.
    fn captured(&self) -> Place {
        match self {
            Self::Tcp(player) => {
                let session = &player.plan.session;
                match player.plan.role {
                    super::Role::Client => Place {
                        ours: session.client,
                        peer: session.server,
                    },
                    super::Role::Server => Place {
                        ours: session.server,
                        peer: session.client,
                    },
                }
            }
            Self::Datagrams(datagrams) => Place {
                ours: datagrams.exchange.ours,
                peer: datagrams.exchange.peer,
            },
        }
    }
}

/// Replays one session against `host`.
pub fn run(plan: &Plan, host: &mut impl Host) -> Report {
    let parts = vec![Part::Tcp(Box::new(plan.clone()))];
    let result = run_all(parts, host, false, None::<&mut Record<io::Sink>>);
    result
        .ok()
        .and_then(|reports| reports.into_iter().next())
        .unwrap_or_default()
}

/// Replays sessions at once against `host`, each with the number of its place in `parts`. Writes all packets to
/// `record`. Returns the reports in the same order.
///
/// # Errors
/// The record cannot be written.
pub fn run_all<W: Write>(
    parts: Vec<Part>,
    host: &mut impl Host,
    strict: bool,
    record: Option<&mut Record<W>>,
) -> io::Result<Vec<Report>> {
    let mut replay = Replay::new(parts, host, record);
    replay.play(host)?;
    let failure = host.failure().map(str::to_owned);
    Ok(replay.finish(strict, host.has_application(), failure))
}

struct Replay<'a, W: Write> {
    now: Duration,
    playing: Vec<Playing>,
    by_peer: HashMap<IpAddr, usize>,
    /// Fragments that the stack sends, by session.
    sending: HashMap<usize, Vec<Captured>>,
    record: Option<&'a mut Record<W>>,
}

impl<'a, W: Write> Replay<'a, W> {
    fn new(parts: Vec<Part>, host: &impl Host, record: Option<&'a mut Record<W>>) -> Self {
        let (mut taken, mut of_udp): (HashSet<u16>, HashSet<u16>) = Default::default();
        for part in &parts {
            match part {
                Part::Tcp(plan) if plan.opening != Opening::Nothing => {
                    taken.insert(plan.place.ours.port());
                }
                Part::Datagrams(exchange) if !exchange.is_refused() => {
                    of_udp.insert(exchange.ours.port());
                }
                _ => {}
            }
        }
        // Nobody listens where connections, and datagrams, are refused.
        let (closed, closed_of_udp) = (free_port(&taken), free_port(&of_udp));
        let mut playing = Vec::new();
        let mut by_peer = HashMap::new();
        for (number, part) in parts.into_iter().enumerate().take(MAX_SESSIONS) {
            let one = match part {
                Part::Tcp(mut plan) => {
                    plan.place = host.place(number, plan.place.ours, plan.place.peer);
                    if plan.opening == Opening::Nothing && taken.contains(&plan.place.ours.port()) {
                        plan.use_port(closed);
                    }
                    Playing::Tcp(Box::new(Player::new(*plan, number)))
                }
                Part::Datagrams(exchange) => {
                    let mut place = host.place(number, exchange.ours, exchange.peer);
                    if exchange.is_refused() && of_udp.contains(&exchange.ours.port()) {
                        place.ours.set_port(closed_of_udp);
                    }
                    Playing::Datagrams(Box::new(Datagrams::new(exchange, number, place)))
                }
            };
            by_peer.insert(one.place().peer.ip(), number);
            playing.push(one);
        }
        Self {
            now: Duration::ZERO,
            playing,
            by_peer,
            sending: HashMap::new(),
            record,
        }
    }

    fn play(&mut self, host: &mut impl Host) -> io::Result<()> {
        for _ in 0..MAX_ROUNDS {
            // Real time has passed by itself.
            self.now = host.wait(self.now);
            let timer = self.settle(host)?;
            let mut next: Option<Duration> = None;
            let mut moved = false;
            for number in 0..self.playing.len() {
                match self.step(number, host)? {
                    Progress::Moved => moved = true,
                    Progress::Waits(at) => next = [next, Some(at)].into_iter().flatten().min(),
                    Progress::Done => {}
                }
            }
            if moved {
                continue;
            }
            let actions = self.playing.iter().filter_map(|one| match one {
                Playing::Tcp(player) => player.next_action(),
                Playing::Datagrams(datagrams) => datagrams.next_action(),
            });
            let action = actions.filter(|at| *at > self.now).min();
            let last = self.playing.iter().map(|one| match one {
                Playing::Tcp(player) => player.last_due(),
                Playing::Datagrams(datagrams) => datagrams.last_due(),
            });
            let last = last.max().unwrap_or_default() + host.patience();
            // Timers alone keep the replay going only for so long.
            let timer = timer.filter(|at| *at <= last);
            let wake = [next, action, timer].into_iter().flatten();
            match wake.filter(|at| *at > self.now).min() {
                Some(at) => self.now = host.wait(at),
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Lets a session play its next packet.
    fn step(&mut self, number: usize, host: &mut impl Host) -> io::Result<Progress> {
        let Some(one) = self.playing.get_mut(number) else {
            return Ok(Progress::Done);
        };
        let mut delivered = Vec::new();
        let (progress, comment) = match one {
            Playing::Tcp(player) => {
                let was_stuck = player.is_stuck();
                let progress = player.step(self.now, host, &mut delivered);
                let stuck = player.is_stuck() && !was_stuck;
                let why = player.report.differences.last();
                let why = why.filter(|_| stuck).map(|why| format!("differs: {why}"));
                (progress, why)
            }
            Playing::Datagrams(datagrams) => (datagrams.step(self.now, host, &mut delivered), None),
        };
        let captured = one.captured();
        if let Some(record) = self.record.as_deref_mut() {
            for packet in &delivered {
                let shown = with_ends(packet, captured.peer, captured.ours);
                record.packet(self.now, &shown, None)?;
            }
            if let (Some(comment), Playing::Tcp(player)) = (comment, one) {
                // The packet that could not be played, as captured.
                if let Some(packet) = player.waiting_packet() {
                    record.packet(self.now, packet, Some(format!("not played, {comment}")))?;
                }
            }
        }
        Ok(progress)
    }

    /// Runs the stack and the applications until all are idle at this time. Returns the time of the next
    /// timer.
    fn settle(&mut self, host: &mut impl Host) -> io::Result<Option<Duration>> {
        let mut sent = Vec::new();
        loop {
            let timer = host.turn(self.now, &mut sent);
            let mut busy = !sent.is_empty();
            for packet in sent.drain(..) {
                self.take(&packet)?;
            }
            for one in &mut self.playing {
                busy |= match one {
                    Playing::Tcp(player) => player.application(self.now, host),
                    Playing::Datagrams(datagrams) => datagrams.application(self.now, host),
                };
            }
            if !busy {
                return Ok(timer);
            }
        }
    }

    /// Hands a packet of the stack to its session, fragments as a whole.
    fn take(&mut self, packet: &[u8]) -> io::Result<()> {
        let Some(parsed) = Packet::parse(packet, packet.len() as u32) else {
            return Ok(());
        };
        let Some(number) = self.by_peer.get(&parsed.destination).copied() else {
            return Ok(());
        };
        let Some(one) = self.playing.get_mut(number) else {
            return Ok(());
        };
        let whole = if parsed.fragment.is_some() {
            let waiting = self.sending.entry(number).or_default();
            waiting.push(Captured {
                number: 0,
                time: self.now,
                ip: packet.to_vec(),
                cut: false,
            });
            let whole = defragment(waiting).pop().map(|whole| whole.captured.ip);
            if whole.is_some() {
                waiting.clear();
            }
            whole
        } else {
            Some(packet.to_vec())
        };
        let comment = match (one, whole) {
            (Playing::Tcp(player), Some(whole)) => player.take(self.now, &whole),
            (Playing::Datagrams(datagrams), Some(whole)) => datagrams.take(self.now, &whole),
            (_, None) => None,
        };
        let captured = self.playing.get(number).map(Playing::captured);
        if let (Some(record), Some(captured)) = (self.record.as_deref_mut(), captured) {
            let shown = with_ends(packet, captured.ours, captured.peer);
            record.packet(self.now, &shown, comment)?;
        }
        Ok(())
    }

    fn finish(self, strict: bool, has_application: bool, failure: Option<String>) -> Vec<Report> {
        let reports = self.playing.into_iter().map(|one| {
            let mut report = match one {
                Playing::Tcp(player) => player.finish(strict, has_application),
                Playing::Datagrams(datagrams) => datagrams.finish(has_application),
            };
            if let Some(error) = &failure {
                let error = error.clone();
                report.differences.push(Difference::Failed { error });
            }
            report
        });
        reports.collect()
    }
}

/// Returns a packet with the captured addresses and ports.
fn with_ends(packet: &[u8], from: std::net::SocketAddr, to: std::net::SocketAddr) -> Vec<u8> {
    let right =
        Packet::parse(packet, packet.len() as u32).and_then(|packet| checksum::is_right(&packet));
    let mut shown = packet.to_vec();
    readdress(&mut shown, from, to);
    // An error is about a packet of its receiver.
    readdress_quote(&mut shown, to, from);
    match right {
        Some(right) => checksum::write(&mut shown, !right),
        None => checksum::write_header(&mut shown),
    }
    shown
}
