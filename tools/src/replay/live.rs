//! A host in real time, over a TUN device in a network namespace: a running `netstackd`, or any other.
//!
//! Without its control socket the host answers with applications of its own, and only its packets are seen. With the control
//! socket of a `netstackd` its applications are played, too: they are connections that its request `nc` carries.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use impair::{Checksum, Frame};

use super::places::{NETWORKS, Place};
use super::{Host, Opening, Part, Reading};
use crate::capture::checksum;
use crate::capture::packet::{Packet, Transport};
use crate::live::control::{Nc, News, SocketOptions, Sockets};
use crate::live::namespace::{enter, enter_new, path_of};
use crate::live::router::{Router, forwarding};
use crate::live::{Daemon, LOOK, clock};

/// The name of the device.
const DEVICE: &str = "replay0";

/// Largest packet on the link of the replay, in bytes.
const MTU: u16 = 1_500;

/// The addresses of a daemon that is started here.
const DAEMON: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2)),
    IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2)),
];

/// Silence of the host after which nothing more is expected of it: longer than its first retransmission of anything.
const QUIET: Duration = Duration::from_millis(1_500);

/// How a host is reached.
#[derive(Clone, Debug, Default)]
pub struct LiveOptions {
    /// Its addresses: one of each family that is replayed.
    pub addresses: Vec<IpAddr>,
    /// The port at which it serves, if that is not the captured one.
    pub port: Option<u16>,
    /// The control socket of the `netstackd` that it is; without one it has applications of its own.
    pub control: Option<PathBuf>,
    /// How long a peer waits for what the captured peer had.
    pub patience: Duration,
}

/// A connection, or a socket for datagrams, that the daemon carries.
struct Carried {
    nc: Nc,
    received: VecDeque<Vec<u8>>,
    reading: Reading,
    is_datagrams: bool,
    /// The daemon hears of what is written, or closed, only from then on.
    is_connected: bool,
    /// It is to be ended, or closed, once it is connected.
    ends: bool,
    closes: bool,
}

impl Carried {
    fn new(nc: Nc, is_datagrams: bool) -> Self {
        Self {
            nc,
            received: VecDeque::new(),
            reading: Reading::Waiting,
            is_datagrams,
            is_connected: is_datagrams,
            ends: false,
            closes: false,
        }
    }

    /// Takes what became of it. Returns true if there was anything.
    fn look(&mut self) -> bool {
        let mut busy = false;
        while let Some(news) = self.nc.news() {
            busy = true;
            match news {
                News::Connected { .. } => self.is_connected = true,
                News::Data(bytes) => self.received.push_back(bytes),
                News::Eof | News::Ended => self.reading = Reading::Ended,
                News::Failed(_) => self.reading = Reading::Failed,
                News::OptionsSet => {}
            }
        }
        // Both fail only if the daemon is gone, which the next news says.
        if self.is_connected && std::mem::take(&mut self.ends) {
            let _ = self.nc.end();
        }
        if self.is_connected && std::mem::take(&mut self.closes) {
            let _ = self.nc.close();
        }
        busy
    }
}

/// A host in real time.
pub struct Live {
    router: Router,
    options: LiveOptions,
    /// The daemon that was started for this, if one was.
    _daemon: Option<Daemon>,
    start: Instant,
    /// The time of the replay at the start.
    begin: Duration,
    /// The last packet in either direction.
    active: Duration,
    sent: Vec<Vec<u8>>,
    carried: HashMap<usize, Carried>,
    /// The number of the first peer: no two replays against a host have the same ones soon after each other.
    first: usize,
    /// Peers of this replay.
    peers: usize,
    failure: Option<String>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Live {
    /// Moves this thread to the namespace, if one is named, and makes a device there, behind which all peers are. Forwarding
    /// is switched on in a namespace that is named; elsewhere it must be on.
    ///
    /// # Errors
    /// There is no such namespace, the device cannot be made, or the kernel does not forward packets.
    pub fn reach(options: LiveOptions, netns: Option<&str>) -> Result<Self, String> {
        let v6 = options.addresses.iter().any(IpAddr::is_ipv6);
        let open = match netns {
            Some(name) => {
                enter(&path_of(name))?;
                Router::open
            }
            None => {
                check_forwarding(v6)?;
                Router::open_where_forwarding_is_on
            }
        };
        let router = open(DEVICE, MTU, &networks(v6), v6)?;
        Ok(Self::over(router, options, None))
    }

    /// Moves this thread to a namespace of its own, starts a netstackd there, and makes a device behind which all peers are.
    ///
    /// # Errors
    /// The process may not make a namespace or a device, or the daemon does not start.
    pub fn start(program: &Path, patience: Duration) -> Result<Self, String> {
        enter_new()?;
        let daemon = Daemon::start(program, &DAEMON, MTU, &[])?;
        let router = Router::open(DEVICE, MTU, &networks(true), true)?;
        let options = LiveOptions {
            addresses: DAEMON.into(),
            port: None,
            control: Some(daemon.control().to_owned()),
            patience,
        };
        Ok(Self::over(router, options, Some(daemon)))
    }

    fn over(router: Router, options: LiveOptions, daemon: Option<Daemon>) -> Self {
        Self {
            router,
            options,
            _daemon: daemon,
            start: clock(),
            begin: Duration::ZERO,
            active: Duration::ZERO,
            sent: Vec::new(),
            carried: HashMap::new(),
            // A process has its number for itself for a while.
            first: (std::process::id() as usize % 1_000) * 100,
            peers: 0,
            failure: None,
        }
    }

    /// Begins another replay at this time since the start of the capture, with peers of its own.
    pub fn begin_again(&mut self, at: Duration) {
        self.start = clock();
        self.begin = at;
        self.active = at;
        self.sent.clear();
        self.carried.clear();
        self.first += self.peers;
        self.peers = 0;
        self.failure = None;
    }

    /// Returns true if the host's applications are played one session at a time: each listens at the captured port.
    pub fn plays_one_at_a_time(&self) -> bool {
        self.options.control.is_some()
    }

    /// Returns why a session cannot be replayed against this host, if that is so.
    pub fn refuses(&self, part: &Part) -> Option<String> {
        let (ours, connects, resets) = match part {
            Part::Tcp(plan) => (plan.place.ours, plan.connects(), plan.resets()),
            Part::Datagrams(exchange) => (exchange.ours, exchange.host_begins(), false),
        };
        if self.address(ours).is_none() {
            let family = if ours.is_ipv4() { 4 } else { 6 };
            return Some(format!(
                "the host has no address of IPv{family} here: name it, too (--live ADDRESS)"
            ));
        }
        match &self.options.control {
            None if connects => Some(
                "the host would have to send first, which needs its control socket (--control PATH)"
                    .to_owned(),
            ),
            Some(_) if resets => Some(
                "the captured application resets the connection, which the control socket cannot do"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    fn address(&self, of_family: SocketAddr) -> Option<IpAddr> {
        let mut of = self.options.addresses.iter();
        let found = of.find(|address| address.is_ipv4() == of_family.is_ipv4());
        found.copied()
    }

    fn now(&self) -> Duration {
        self.begin + clock().saturating_duration_since(self.start)
    }

    /// Takes what the host has sent, and what became of its sockets. Returns true if there was anything.
    fn look(&mut self) -> bool {
        let mut busy = false;
        while let Some(packet) = self.router.receive() {
            self.sent.push(packet);
            busy = true;
        }
        for carried in self.carried.values_mut() {
            busy |= carried.look();
        }
        if busy {
            self.active = self.now();
        }
        busy
    }

    fn begin(
        &self,
        control: &Path,
        opening: Opening,
        ours: SocketAddr,
        peer: SocketAddr,
    ) -> Result<Option<Nc>, String> {
        let options = SocketOptions::default();
        Ok(match opening {
            Opening::Nothing => None,
            Opening::Listens => {
                let mut nc = Nc::listen(control, ours, &options)?;
                if let Err(why) = Sockets::open(control)?.await_listener(ours) {
                    return Err(match nc.news() {
                        Some(News::Failed(sentence)) => format!("listen at {ours}: {sentence}"),
                        _ => why,
                    });
                }
                Some(nc)
            }
            Opening::Connects => Some(Nc::connect(control, Some(ours), peer, &options)?),
            Opening::Datagrams => Some(Nc::datagrams(control, Some(ours), Some(peer), &options)?.0),
        })
    }
}

/// Returns the payload of the segments into which a packet is cut that is too long for the link; 0 if it stays as it is.
fn segment_size(packet: &[u8]) -> u16 {
    let parsed = Packet::parse(packet, packet.len() as u32);
    match parsed.map(|packet| packet.transport) {
        Some(Transport::Tcp(tcp)) if packet.len() > usize::from(MTU) => {
            let headers = packet.len().saturating_sub(tcp.payload.len());
            MTU.saturating_sub(u16::try_from(headers).unwrap_or(MTU))
        }
        _ => 0,
    }
}

/// Returns the networks of the peers.
fn networks(v6: bool) -> Vec<String> {
    let used = NETWORKS.iter().take(if v6 { 2 } else { 1 });
    used.map(|network| (*network).to_owned()).collect()
}

fn check_forwarding(v6: bool) -> Result<(), String> {
    for setting in forwarding(v6) {
        let path = format!("/proc/sys/{}", setting.replace('.', "/"));
        let value = std::fs::read_to_string(path).unwrap_or_default();
        if value.trim() == "0" {
            return Err(format!(
                "this host forwards no packets: set {setting} to 1 (sysctl -w {setting}=1), or name the host's network \
                 namespace (--netns)"
            ));
        }
    }
    Ok(())
}

impl Host for Live {
    fn place(&self, number: usize, ours: SocketAddr, peer: SocketAddr) -> Place {
        let address = self.address(ours).unwrap_or(ours.ip());
        let port = self.options.port.unwrap_or(ours.port());
        Place::at(SocketAddr::new(address, port), self.first + number, peer)
    }

    fn wait(&mut self, until: Duration) -> Duration {
        loop {
            let now = self.now();
            if self.look() || now >= until || !self.sent.is_empty() {
                return now;
            }
            thread::sleep(LOOK.min(until - now));
        }
    }

    fn patience(&self) -> Duration {
        self.options.patience
    }

    fn has_application(&self) -> bool {
        self.options.control.is_some()
    }

    fn open(&mut self, session: usize, opening: Opening, ours: SocketAddr, peer: SocketAddr) {
        self.peers = self.peers.max(session + 1);
        let Some(control) = self.options.control.clone() else {
            return;
        };
        match self.begin(&control, opening, ours, peer) {
            Ok(Some(nc)) => {
                let carried = Carried::new(nc, opening == Opening::Datagrams);
                self.carried.insert(session, carried);
            }
            Ok(None) => {}
            Err(why) => self.failure = Some(why),
        }
    }

    fn deliver(&mut self, packet: Vec<u8>, _gso_size: u16) {
        self.active = self.now();
        let gso_size = segment_size(&packet);
        let parsed = Packet::parse(&packet, packet.len() as u32);
        let is_right = parsed.and_then(|packet| checksum::is_right(&packet));
        // Segments get checksums of their own, unless that of the whole is wrong.
        let checksum = match is_right {
            Some(true) if gso_size > 0 => Checksum::Vouched,
            _ => Checksum::Complete,
        };
        let frame = Frame::new(packet, checksum, gso_size);
        for index in 0..frame.segments() {
            let mut segment = frame.run(index..index + 1);
            segment.finish();
            if let Err(why) = self.router.send(segment.bytes()) {
                self.failure = Some(why);
            }
        }
    }

    fn turn(&mut self, _now: Duration, sent: &mut Vec<Vec<u8>>) -> Option<Duration> {
        self.look();
        sent.append(&mut self.sent);
        // Its timers are its own: it is done when it has been quiet.
        Some(self.active + QUIET)
    }

    fn read(&mut self, session: usize, into: &mut Vec<u8>) -> Reading {
        let Some(carried) = self.carried.get_mut(&session) else {
            return Reading::Waiting;
        };
        into.extend(carried.received.drain(..).flatten());
        carried.reading
    }

    fn receive(&mut self, session: usize) -> Option<Vec<u8>> {
        self.carried.get_mut(&session)?.received.pop_front()
    }

    fn write(&mut self, session: usize, bytes: &[u8]) -> usize {
        match self.carried.get_mut(&session) {
            Some(carried) if carried.is_datagrams => {
                // What the daemon refuses counts as sent: nothing is gained by trying again.
                let _ = carried.nc.send_data(bytes);
                bytes.len().max(1)
            }
            Some(carried) if carried.is_connected => carried.nc.write(bytes),
            Some(_) => 0,
            // An application of its own writes when it likes.
            None => 0,
        }
    }

    fn shut_down(&mut self, session: usize) {
        if let Some(carried) = self.carried.get_mut(&session) {
            carried.ends = true;
            carried.look();
        }
    }

    fn close(&mut self, session: usize) {
        if let Some(carried) = self.carried.get_mut(&session) {
            carried.closes = true;
            carried.look();
        }
    }

    fn abort(&mut self, _session: usize) {
        if self.has_application() {
            self.failure = Some("an application of the daemon cannot be made to reset".to_owned());
        }
    }

    fn drops(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }
}
