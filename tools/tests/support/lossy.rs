//! Captures of two stacks of this project on virtual time, over a path that loses, delays and reorders
//! packets as a seed says.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use netstack::base::Config;
use netstack::net::{TcpListener, TcpStream, UdpSocket};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tools::virtual_stack::VirtualStack;

use super::pattern;

/// A path between two stacks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LossyPath {
    pub(crate) seed: u64,
    /// Share of packets that are lost.
    pub(crate) loss: f64,
    /// Share of packets that are delayed for longer than their successors.
    pub(crate) reorder: f64,
    pub(crate) delay: Duration,
    pub(crate) v6: bool,
}

/// One packet at the client's end of the path.
#[derive(Clone, Debug)]
pub(crate) struct Wired {
    pub(crate) time: Duration,
    pub(crate) ip: Vec<u8>,
}

const REQUEST: usize = 40_000;
const ANSWER: usize = 400_000;
const CONNECTIONS: u16 = 3;

impl LossyPath {
    fn addresses(self) -> [IpAddr; 2] {
        let texts = if self.v6 {
            ["fd79::1", "fd79::2"]
        } else {
            ["10.79.0.1", "10.79.0.2"]
        };
        texts.map(|text| text.parse().expect("an address"))
    }

    /// Runs some connections and datagrams. Returns the packets in the order in which the client's end of
    /// the path saw them.
    pub(crate) fn packets(self) -> Vec<Wired> {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        let [ours, theirs] = self.addresses();
        let prefix = if self.v6 { 64 } else { 24 };
        let stack = |address, seed| {
            VirtualStack::new(Config::default(), &[(address, prefix)], 1_500, seed)
                .expect("a stack")
        };
        let mut stacks = [stack(ours, self.seed), stack(theirs, self.seed + 1_000)];
        serve(&mut stacks[1], theirs);
        ask(&mut stacks[0], ours, theirs);
        let mut seen = Vec::new();
        let mut underway: BTreeMap<(Duration, u64), (usize, Vec<u8>)> = BTreeMap::new();
        let mut now = Duration::ZERO;
        let mut count = 0;
        while now < Duration::from_secs(300) && seen.len() < 50_000 {
            let mut next: Option<Duration> = None;
            for side in [0, 1] {
                let mut sent = Vec::new();
                let timer = stacks[side].settle(now, &mut sent).expect("an idle stack");
                next = [next, timer].into_iter().flatten().min();
                for packet in sent {
                    count += 1;
                    if side == 0 {
                        seen.push(Wired {
                            time: now,
                            ip: packet.clone(),
                        });
                    }
                    if random.random_bool(self.loss) {
                        continue;
                    }
                    let late = if random.random_bool(self.reorder) {
                        self.delay / 4
                    } else {
                        Duration::ZERO
                    };
                    let arrives = now + self.delay + late + Duration::from_micros(count % 7);
                    underway.insert((arrives, count), (1 - side, packet));
                }
            }
            let arriving = underway.keys().next().map(|(at, _)| *at);
            let Some(at) = [arriving, next].into_iter().flatten().min() else {
                break;
            };
            now = at.max(now);
            while let Some(first) = underway.first_entry()
                && first.key().0 <= now
            {
                let (to, packet) = first.remove();
                if to == 0 {
                    seen.push(Wired {
                        time: now,
                        ip: packet.clone(),
                    });
                }
                stacks[to].deliver(packet, 0);
            }
        }
        seen
    }

    /// Returns the packets as a pcap file.
    pub(crate) fn pcap(self) -> Vec<u8> {
        pcap(&self.packets())
    }
}

/// Returns packets as a pcap file of raw IP, with nanoseconds.
pub(crate) fn pcap(packets: &[Wired]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_3c4d, 0x0004_0002, 0, 0, 262_144, 101_u32] {
        file.extend(word.to_le_bytes());
    }
    for packet in packets {
        let time = Duration::from_secs(1_700_000_000) + packet.time;
        let len = packet.ip.len() as u32;
        for word in [time.as_secs() as u32, time.subsec_nanos(), len, len] {
            file.extend(word.to_le_bytes());
        }
        file.extend(&packet.ip);
    }
    file
}

fn serve(stack: &mut VirtualStack, address: IpAddr) {
    let handle = stack.stack().clone();
    for n in 0..CONNECTIONS {
        let at = SocketAddr::new(address, 8_000 + n);
        let listener = TcpListener::bind_now(&handle, at).expect("a listener");
        stack.spawn(async move {
            let Ok((mut stream, _)) = listener.accept().await else {
                return;
            };
            let mut request = vec![0; REQUEST];
            if stream.read_exact(&mut request).await.is_ok() {
                let _ = stream.write_all(&pattern(2, ANSWER)).await;
                let _ = stream.shutdown().await;
            }
        });
    }
    let socket = UdpSocket::bind_now(&handle, SocketAddr::new(address, 29_000)).expect("a socket");
    stack.spawn(async move {
        let mut buffer = vec![0; 65_535];
        while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(&buffer[..len], from).await;
        }
    });
}

fn ask(stack: &mut VirtualStack, ours: IpAddr, theirs: IpAddr) {
    let handle = stack.stack().clone();
    for n in 0..CONNECTIONS {
        let handle = handle.clone();
        stack.spawn(async move {
            let to = SocketAddr::new(theirs, 8_000 + n);
            let Ok(mut stream) = TcpStream::connect(&handle, to).await else {
                return;
            };
            let _ = stream.write_all(&pattern(1, REQUEST)).await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
        });
    }
    let socket = UdpSocket::bind_now(&handle, SocketAddr::new(ours, 27_000)).expect("a socket");
    stack.spawn(async move {
        for len in [10, 1_000, 4_000] {
            let to = SocketAddr::new(theirs, 29_000);
            let _ = socket.send_to(&pattern(3, len), to).await;
        }
    });
}
