//! Handshakes, connections and datagrams that wait for the program get their places within the limits, and nothing that cannot
//! be is believed.

use std::task::{Poll, Waker};

use ::bytes::Bytes;

use super::super::tcp::connection::Listener;
use super::super::tcp::deferred::Hop;
use super::super::udp::app;
use super::super::udp::socket::Protocol;
use super::super::waiters::Wait;
use super::*;
use crate::base::counters::{Counter, DropReason};
use crate::base::time::Duration;
use crate::base::{Config, LinkCaps, OffloadCaps, TcpConfig};
use crate::tcp::{HalfOpen, SeqNum};

fn ours(port: u16) -> SocketAddr {
    ([10, 77, 0, 1], port).into()
}

fn theirs(port: u16) -> SocketAddr {
    ([10, 77, 0, 2], port).into()
}

/// A host at 10.77.0.1 with two workers.
fn host(config: Config) -> Arc<Host> {
    let link = LinkCaps {
        mtu: 1_500,
        max_packet: 1_500,
        offload: OffloadCaps::default(),
    };
    let addresses = [(ours(0).ip(), 24)];
    Host::new(config, &addresses, link, 2, [1; 32]).expect("a host")
}

fn listener(host: &Host, port: u16, defers: bool) -> Arc<Listener> {
    let options = Options {
        defers,
        ..host.tcp_options()
    };
    listen::listen(host, ours(port), options).expect("a listener")
}

fn handshake(from: u16, to: u16, is_asked: bool) -> KeptHandshake {
    KeptHandshake {
        flow: (ours(to), theirs(from)),
        half: HalfOpen::example(SeqNum(from.into())),
        hop: Hop::default(),
        is_asked,
        deadline: Instant::from_millis(u64::MAX / 2_000_000),
    }
}

fn datagram(from: u16, to: u16, payload: &'static [u8]) -> KeptDatagram {
    KeptDatagram {
        from: theirs(from),
        to: ours(to),
        index: 0,
        payload: Bytes::from_static(payload),
    }
}

/// Returns a checkpoint of a stack on which nothing happened.
fn empty() -> Checkpoint {
    Checkpoint::of(&host(Config::default()), HashMap::new())
}

/// Returns the sentence with which a checkpoint is refused.
fn refused(checkpoint: &Checkpoint) -> String {
    let taken = take_up(&host(Config::default()), checkpoint);
    taken.err().expect("it is refused").to_string()
}

#[test]
fn handshakes_go_to_their_listeners_within_their_places() {
    let host = host(Config {
        max_half_open: 40,
        ..Config::default()
    });
    let plain = listener(&host, 80, false);
    let asking = listener(&host, 81, true);
    let mut checkpoint = empty();
    let new = |port| handshake(port, 80, false);
    checkpoint.handshakes = (1..=100).map(new).collect();
    checkpoint.handshakes.push(handshake(200, 81, true));
    // Nobody listens there, or a listener of the other kind.
    checkpoint.handshakes.push(handshake(201, 82, false));
    checkpoint.handshakes.push(handshake(202, 81, false));
    // Twice.
    checkpoint.handshakes.push(handshake(200, 81, true));
    let taken = take_up(&host, &checkpoint).expect("good");
    enter(&host, taken.pending);
    assert_eq!(plain.half_open(), 20, "half of all places");
    assert_eq!(asking.half_open(), 1);
    let counters = host.workers.counters_here();
    assert_eq!(counters.count(Counter::TcpHandshakesExpired), 83);
    let now = host.clock.now();
    locked(|key| {
        let all = |flow: &FlowKey, at: Instant, _: &_| {
            let longest = match flow.local().port() {
                80 => TcpConfig::default().rto_initial,
                _ => Duration::from_secs(60),
            };
            assert_eq!(at, now + longest, "a deadline is bounded");
        };
        let connections = &host.tcp.connections;
        connections.for_each_half_open(&mut key.ctx(), all);
        assert_eq!(connections.check(&mut key.ctx()), 21);
    });
    // The program is asked.
    let mut cx = std::task::Context::from_waker(Waker::noop());
    let Poll::Ready(Ok((asked, info))) = listen::poll_syn(&host, &asking, Wait::from(&mut cx))
    else {
        panic!("no SYN");
    };
    assert_eq!((info.remote, asked.iss), (theirs(200), SeqNum(200)));
    listen::close_all(&host);
    assert_eq!(host.tcp.syn_places.taken(), 0);
}

#[test]
fn what_was_half_open_is_taken_down_again() {
    let first = host(Config::default());
    let listeners = [listener(&first, 80, false), listener(&first, 81, true)];
    let mut checkpoint = empty();
    checkpoint.handshakes = vec![handshake(1, 80, false), handshake(2, 81, true)];
    let taken = take_up(&first, &checkpoint).expect("good");
    enter(&first, taken.pending);
    let again = Checkpoint::of(&first, HashMap::new());
    let mut flows: Vec<_> = again
        .handshakes
        .iter()
        .map(|one| (one.flow, one.is_asked))
        .collect();
    flows.sort();
    let expected = [
        ((ours(80), theirs(1)), false),
        ((ours(81), theirs(2)), true),
    ];
    assert_eq!(flows, expected);
    drop(listeners);
}

#[test]
fn datagrams_go_to_their_sockets_within_their_queues() {
    let host = host(Config {
        udp_queue_datagrams: 3,
        ..Config::default()
    });
    let bound = app::bind(&host, Protocol::Udp, ours(53), 1).expect("bound");
    let mut checkpoint = empty();
    let texts: [&[u8]; 5] = [b"one", b"two", b"three", b"four", b"five"];
    checkpoint.datagrams = texts.map(|text| datagram(9, 53, text)).into();
    checkpoint.datagrams.push(datagram(9, 54, b"nobody's"));
    let taken = take_up(&host, &checkpoint).expect("good");
    enter(&host, taken.pending);
    let again = Checkpoint::of(&host, HashMap::new());
    let kept = again.datagrams.iter();
    let kept: Vec<_> = kept.map(|one| (one.from, one.to, &*one.payload)).collect();
    let expected = [b"one".as_slice(), b"two", b"three"];
    assert_eq!(kept, expected.map(|text| (theirs(9), ours(53), text)));
    let counters = host.workers.counters_here();
    assert_eq!(counters.dropped(DropReason::UdpQueueFull), 2);
    assert_eq!(counters.dropped(DropReason::UdpNoSocket), 1);
    drop(bound);
}

#[test]
fn a_peer_that_sends_from_port_0_keeps_nobody_from_taking_over() {
    let host = host(Config::default());
    let listening = listener(&host, 80, false);
    let bound = app::bind(&host, Protocol::Udp, ours(53), 1).expect("bound");
    let mut checkpoint = empty();
    checkpoint.handshakes = vec![handshake(0, 80, false)];
    checkpoint.datagrams = vec![datagram(0, 53, b"hello")];
    let taken = take_up(&host, &checkpoint).expect("good");
    enter(&host, taken.pending);
    let again = Checkpoint::of(&host, HashMap::new());
    assert_eq!((again.handshakes.len(), again.datagrams.len()), (1, 1));
    drop((listening, bound));
}

#[test]
fn counters_go_on_and_are_never_less() {
    let first = host(Config::default());
    first.workers[1].counters.add(Counter::PacketsIn, 7);
    first.workers[0].counters.drop_packet(DropReason::TcpPaws);
    let checkpoint = Checkpoint::of(&first, HashMap::new());
    let second = host(Config::default());
    take_up(&second, &checkpoint).expect("good");
    assert_eq!(second.workers[1].counters.count(Counter::PacketsIn), 7);
    assert_eq!(second.workers[0].counters.dropped(DropReason::TcpPaws), 1);
}

#[test]
fn what_no_stack_has_is_refused() {
    let six = SocketAddr::from(([0xfd77, 0, 0, 0, 0, 0, 0, 2], 9));
    let bad_ends = [(ours(80), six), (ours(0), theirs(1))];
    for flow in bad_ends {
        let mut checkpoint = empty();
        checkpoint.handshakes = vec![KeptHandshake {
            flow,
            ..handshake(1, 80, false)
        }];
        assert!(refused(&checkpoint).contains("handshake"));
        let mut checkpoint = empty();
        checkpoint.datagrams = vec![KeptDatagram {
            to: flow.0,
            from: flow.1,
            ..datagram(1, 80, b"")
        }];
        assert!(refused(&checkpoint).contains("datagram"));
    }
    let mut checkpoint = empty();
    checkpoint.datagrams = vec![datagram(1, 80, &[0; 65_536])];
    assert!(refused(&checkpoint).contains("datagram"));
}

#[cfg(feature = "checkpoint")]
#[test]
fn arbitrary_contents_are_refused_or_bounded() {
    let host = host(Config::default());
    let listeners = [listener(&host, 80, false), listener(&host, 81, true)];
    let bound = app::bind(&host, Protocol::Udp, ours(53), 1).expect("bound");
    let mut checkpoint = empty();
    checkpoint.handshakes = vec![handshake(1, 80, false), handshake(2, 81, true)];
    checkpoint.datagrams = vec![datagram(1, 53, b"hello")];
    let good = checkpoint.to_bytes().expect("bytes");
    let mut rng = crate::base::Rng::from_u64(5);
    let mut restored = 0;
    for _ in 0..3_000 {
        let mut bytes = good.clone();
        for _ in 0..=rng.below(3) {
            // Behind the secrets, whose bytes are random anyway, as often as not.
            let from = [16, bytes.len() / 2][rng.below(2) as usize] as u32;
            let at = from + rng.below(bytes.len() as u32 - from);
            bytes[at as usize] = rng.u64() as u8;
        }
        let Ok(read) = Checkpoint::of_contents(&bytes[16..]) else {
            continue;
        };
        if let Ok(taken) = take_up(&host, &read) {
            enter(&host, taken.pending);
            restored += 1;
        }
        listen_anew(&host);
    }
    assert!(restored > 100, "{restored} of them can be");
    drop((listeners, bound));
}

/// Empties the tables of half-open connections.
#[cfg(feature = "checkpoint")]
fn listen_anew(host: &Host) {
    listen::close_all(host);
    listener(host, 80, false);
    listener(host, 81, true);
}
