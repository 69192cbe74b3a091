//! A run, from its seed to its verdict.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use netstack::base::{Instant, LinkCaps, OffloadCaps, Rng};
use netstack::engine::sim::Simulation;
use netstack::net::{Prefix, Stack};
use netstack::stack::Host;
use packet::buf::Audit;

use super::client;
use super::network::{Links, Network};
use super::port::Port;
use super::scenario::{Disturbance, Disturbed, HostPlan, Scenario};
use super::service::{self, Services};
use super::trace::Trace;
use super::world::{Shared, World};

/// The time at which each run starts: not zero, which is a value of its own for many timers.
const START: Instant = Instant::from_millis(1_000);
/// Longest run, in virtual time.
const LIMIT: Duration = Duration::from_secs(6 * 3_600);
/// Time after the last piece of work in which everything must have gone.
const AFTERMATH: Duration = Duration::from_secs(3_600);
/// Time for what needs no connection: fragments, memory.
const CALM: Duration = Duration::from_secs(30);
/// Largest super-packet.
const SUPER_BYTES: usize = 65_535;

/// How to run a seed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Prints each packet and each event.
    pub print: bool,
    /// Inverts a bit of the packet with this number, and lets its receiver believe that the packet is intact: a fault
    /// for tests of the checks.
    pub spoil: Option<u64>,
}

/// A run in which nothing was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Packets that the hosts sent.
    pub packets: u64,
    /// Length of the run in virtual time.
    pub took: Duration,
    /// The same for each run of the seed.
    pub digest: u64,
}

/// A run in which something was wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The fault.
    pub what: String,
    /// The last lines of the trace.
    pub trace: Vec<String>,
}

/// A host that runs.
struct Running {
    stack: Stack,
    places: Vec<usize>,
    _services: Services,
}

struct Run {
    scenario: Scenario,
    world: Shared,
    sim: Simulation,
    hosts: Vec<Option<Running>>,
    /// The events that are still to come, the next one last.
    events: Vec<(Instant, Event)>,
    starts: u64,
}

/// Something that happens at its time.
enum Event {
    Disturb(usize, Disturbance),
    Connect(usize),
    Start(usize),
    Address(usize, bool),
}

/// Runs a seed.
///
/// # Errors
/// Something was wrong.
pub fn run(seed: u64, options: Options) -> Result<Report, Failure> {
    let world = Shared::new(Network::new(options.spoil), Trace::new(options.print));
    let ran = catch_unwind(AssertUnwindSafe(|| {
        Run::new(Scenario::of(seed), world.clone())?.finish()
    }));
    let fault = |what: String| Failure {
        seed,
        what,
        trace: world
            .with(|world| world.trace.last_lines())
            .unwrap_or_default(),
    };
    let report = match ran {
        Ok(Ok(report)) => report,
        Ok(Err(error)) => return Err(fault(world.first_fault().unwrap_or(error.to_string()))),
        Err(panic) => {
            let message = panic.downcast_ref::<String>().cloned();
            let message = message.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            return Err(fault(format!("panic: {}", message.unwrap_or_default())));
        }
    };
    match world.first_fault() {
        Some(what) => Err(fault(what)),
        None => Ok(report),
    }
}

fn address(host: usize, is_v6: bool) -> IpAddr {
    let number = host as u8 + 1;
    match is_v6 {
        true => Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, number.into()).into(),
        false => Ipv4Addr::new(10, 99, 0, number).into(),
    }
}

fn prefix(host: usize, is_v6: bool) -> io::Result<Prefix> {
    let len = if is_v6 { 64 } else { 24 };
    Prefix::new(address(host, is_v6), len).map_err(io::Error::other)
}

fn caps(plan: &HostPlan) -> LinkCaps {
    LinkCaps {
        mtu: plan.mtu,
        max_packet: if plan.offload {
            SUPER_BYTES
        } else {
            plan.mtu.into()
        },
        offload: OffloadCaps {
            tso: plan.offload,
            uso: plan.offload,
            tx_checksum: plan.offload,
        },
    }
}

impl Run {
    fn new(scenario: Scenario, world: Shared) -> io::Result<Self> {
        let mut seeds = Rng::from_u64(scenario.seed ^ 0x6e65_7477);
        for (number, plan) in scenario.hosts.iter().enumerate() {
            let links = Links {
                up: plan.up.clone(),
                down: plan.down.clone(),
                seed: seeds.u64(),
                workers: plan.workers,
                takes_super: plan.offload,
            };
            world.with(|world| {
                world.network.add(links);
                for is_v6 in [false, true] {
                    world.network.own(address(number, is_v6), number);
                }
            });
        }
        let disturb = |Disturbed { at, host, what }: &Disturbed| {
            (START + *at, Event::Disturb(*host, what.clone()))
        };
        let mut events: Vec<_> = scenario.disturbances.iter().map(disturb).collect();
        events.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        let mut sim = Simulation::new(START);
        sim.interleave(Rng::from_u64(seeds.u64()));
        let mut run = Self {
            hosts: scenario.hosts.iter().map(|_| None).collect(),
            scenario,
            world,
            sim,
            events,
            starts: 0,
        };
        for host in 0..run.hosts.len() {
            run.start(host)?;
        }
        run.begin_work()?;
        Ok(run)
    }

    /// Starts a host, or starts it again: nothing is left of what it was before.
    fn start(&mut self, host: usize) -> io::Result<()> {
        let plan = &self.scenario.hosts[host];
        let caps = caps(plan);
        self.starts += 1;
        let mut seed = [host as u8; 32];
        seed[..8].copy_from_slice(&self.scenario.seed.to_be_bytes());
        seed[8..16].copy_from_slice(&self.starts.to_be_bytes());
        let addresses = [(address(host, false), 24), (address(host, true), 64)];
        let made = Host::new(plan.config.clone(), &addresses, caps, plan.workers, seed);
        let made = made.map_err(io::Error::other)?;
        let places = (0..plan.workers)
            .map(|worker| {
                let port = Port {
                    world: self.world.clone(),
                    host,
                    worker,
                    caps,
                    now: self.sim.now(),
                };
                self.sim.add(&made, worker, port)
            })
            .collect();
        let stack = Stack::from_host(made);
        let services = service::start(&stack, host, self.scenario.may_fail(), &self.world)?;
        self.hosts[host] = Some(Running {
            stack,
            places,
            _services: services,
        });
        Ok(())
    }

    fn begin_work(&mut self) -> io::Result<()> {
        let may_fail = self.scenario.may_fail();
        for ask in &self.scenario.asks {
            let Some(running) = &self.hosts[ask.from] else {
                continue;
            };
            let to = address(ask.to, ask.is_v6);
            let place = running.places[(ask.seed % running.places.len() as u64) as usize];
            let work = client::work(
                running.stack.clone(),
                *ask,
                to,
                may_fail,
                self.world.clone(),
            );
            self.sim.spawn(place, work);
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<Report> {
        let limit = START + LIMIT;
        self.step_until(limit, |run| run.sim.unfinished() == 0)?;
        if self.sim.unfinished() > 0 {
            let left = self.sim.unfinished();
            return Err(io::Error::other(format!(
                "{left} pieces of work have not ended after {LIMIT:?}"
            )));
        }
        let took = self.sim.now().saturating_since(START);
        let limit = self.sim.now() + AFTERMATH;
        self.step_until(limit, |run| run.events.is_empty() && run.is_empty())?;
        let limit = self.sim.now() + CALM;
        self.step_until(limit, |_| false)?;
        self.check_nothing_is_left()?;
        let totals = |world: &mut World| (world.network.packets(), world.trace.digest());
        let (packets, digest) = self.world.with(totals).unwrap_or_default();
        Ok(Report {
            seed: self.scenario.seed,
            packets,
            took,
            digest,
        })
    }

    /// Steps until `done`, until `limit`, or until something is wrong.
    fn step_until(&mut self, limit: Instant, done: impl Fn(&Self) -> bool) -> io::Result<()> {
        while !done(self) && self.sim.now() < limit {
            let next = self.events.last().map_or(limit, |(at, _)| (*at).min(limit));
            self.sim.step(next)?;
            let now = self.sim.now();
            self.world.with(|world| world.trace.set_now(now));
            while let Some((at, event)) = self.events.pop() {
                if at > self.sim.now() {
                    self.events.push((at, event));
                    break;
                }
                self.happen(event)?;
            }
            self.check_memory()?;
            if let Some(what) = self.world.first_fault() {
                return Err(io::Error::other(what));
            }
        }
        Ok(())
    }

    fn network(&self, change: impl FnOnce(&mut Network) + Send) {
        self.world.with(|world| change(&mut world.network));
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.events.push((self.sim.now() + after, event));
        self.events.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    }

    fn happen(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Disturb(host, what) => {
                self.world.note(&format!("{host}: {what:?}"));
                self.disturb(host, what)?;
            }
            Event::Connect(host) => self.network(|network| network.cut_off(host, false)),
            Event::Start(host) => {
                self.network(|network| network.clear(host));
                self.start(host)?;
            }
            Event::Address(host, is_v6) => {
                self.network(|network| network.own(address(host, is_v6), host));
                if let Some(running) = &self.hosts[host] {
                    // A host that started again meanwhile has it already.
                    let _ = running.stack.add_address(prefix(host, is_v6)?);
                }
            }
        }
        Ok(())
    }

    fn disturb(&mut self, host: usize, what: Disturbance) -> io::Result<()> {
        match what {
            Disturbance::CutOff(length) => {
                self.network(|network| network.cut_off(host, true));
                self.schedule(length, Event::Connect(host));
            }
            Disturbance::Restart(length) => {
                let Some(running) = self.hosts[host].take() else {
                    return Ok(());
                };
                running.stack.abort()?;
                for place in &running.places {
                    self.sim.remove(*place);
                }
                self.schedule(length, Event::Start(host));
            }
            Disturbance::Address { is_v6, back_after } => {
                self.network(|network| network.disown(address(host, is_v6)));
                if let Some(running) = &self.hosts[host] {
                    // It may have lost the other one already: the last one stays.
                    let _ = running.stack.remove_address(prefix(host, is_v6)?);
                }
                self.schedule(back_after, Event::Address(host, is_v6));
            }
            Disturbance::Steer => self.network(|network| network.steer(host)),
            Disturbance::Impair(links) => {
                let now = self.sim.now();
                self.network(|network| network.impair(host, *links, now));
            }
        }
        Ok(())
    }

    fn stacks(&self) -> impl Iterator<Item = (usize, &Stack)> {
        let running = |(number, host): (usize, &'_ Option<Running>)| host.as_ref().map(|_| number);
        let numbers: Vec<_> = self.hosts.iter().enumerate().filter_map(running).collect();
        numbers
            .into_iter()
            .filter_map(|number| Some((number, &self.hosts[number].as_ref()?.stack)))
    }

    fn is_empty(&self) -> bool {
        self.stacks()
            .all(|(_, stack)| stack.connections() + stack.half_open() + stack.time_waits() == 0)
    }

    fn check_memory(&self) -> io::Result<()> {
        for (number, stack) in self.stacks() {
            let memory = stack.memory();
            if memory.allocated > memory.limit || memory.used > memory.allocated {
                return Err(io::Error::other(format!("host {number} has {memory:?}")));
            }
        }
        Ok(())
    }

    fn check_nothing_is_left(&self) -> io::Result<()> {
        for (number, stack) in self.stacks() {
            let left = (
                stack.connections(),
                stack.half_open(),
                stack.time_waits(),
                stack.timers(),
            );
            if left != (0, 0, 0, 0) {
                let info = stack.tcp_info();
                return Err(io::Error::other(format!(
                    "host {number} has {left:?} connections, handshakes, TIME-WAITs and timers left: {info:?}"
                )));
            }
            let slabs = stack.slabs_in_use();
            if slabs != (0, 0) {
                return Err(io::Error::other(format!(
                    "host {number} has {slabs:?} slabs in use"
                )));
            }
            let audit = stack.audit();
            let is_bad = |audit: &Audit| !audit.is_clean() && *audit != Audit::Unsupported;
            if audit.iter().any(is_bad) {
                return Err(io::Error::other(format!("host {number}: {audit:?}")));
            }
        }
        Ok(())
    }
}
