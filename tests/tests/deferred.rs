//! Deferred handshakes: the program decides about each SYN before it is answered. And filters, which decide at once.

use std::future::Future;
use std::io;
use std::net::Ipv4Addr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use netstack::base::{Config, Instant};
use netstack::device::channel::{ChannelConfig, PacketPipe, channel};
use netstack::net::{Stack, Syn, SynListener, TcpSocket, TcpStream, Turns, Unreachable};
use netstack::{Counter, DropReason};
use tests::forge;
use tests::pair::{bounded, server, stacks};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const OURS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accepted_syn_becomes_a_connection() {
    let (client, host) = stacks();
    let listener = SynListener::bind(&host, server(80)).expect("bind");
    let connecting = tokio::spawn(async move {
        TcpStream::connect(&client, server(80))
            .await
            .map(|s| (s, client))
    });
    let syn = bounded(listener.next()).await.expect("a SYN");
    let info = *syn.info();
    assert_eq!((info.local, info.ttl, info.tos), (server(80), 64, 0));
    assert!(info.mss.is_some() && info.window_scale.is_some());
    assert!(info.sack && info.timestamps);
    // The program takes its time, and the client waits.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!connecting.is_finished());
    let mut served = bounded(syn.accept()).await.expect("accept");
    let (mut stream, _client) = bounded(connecting).await.expect("task").expect("connect");
    assert_eq!(served.peer_addr().expect("peer"), info.remote);
    assert_eq!(stream.local_addr().expect("local"), info.remote);
    stream.write_all(b"decided").await.expect("write");
    stream.shutdown().await.expect("shutdown");
    let mut got = Vec::new();
    bounded(served.read_to_end(&mut got)).await.expect("read");
    assert_eq!(got, b"decided");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_syn_looks_like_a_closed_port() {
    let (client, host) = stacks();
    let listener = SynListener::bind(&host, server(80)).expect("bind");
    let refuse: [fn(Syn); 2] = [Syn::refuse, drop];
    for refuse in refuse {
        let client = client.clone();
        let connecting = tokio::spawn(async move { TcpStream::connect(&client, server(80)).await });
        refuse(bounded(listener.next()).await.expect("a SYN"));
        let error = bounded(connecting)
            .await
            .expect("task")
            .expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
    assert_eq!(host.half_open(), 0);
}

/// A stack on virtual time whose packets the test makes by hand.
struct Lab {
    stack: Stack,
    turns: Turns,
    pipe: PacketPipe,
    now: Instant,
}

impl Lab {
    fn new(config: Config) -> Self {
        let (device, pipe) = channel(ChannelConfig::default());
        let now = Instant::from_millis(1);
        let (stack, mut turns) = Stack::builder()
            .config(config)
            .address(OURS.into(), 24)
            .seed([3; 32])
            .manual(vec![Box::new(device)], now)
            .expect("stack");
        let turns = turns.pop().expect("a worker");
        Self {
            stack,
            turns,
            pipe,
            now,
        }
    }

    fn settle(&mut self) {
        while self.turns.turn(self.now).expect("turn").busy {}
    }

    fn send(&mut self, from_port: u16, to_port: u16, seq: u32, flags: u8) {
        self.send_with_ack(from_port, to_port, (seq, 0), flags);
    }

    fn send_with_ack(&mut self, from_port: u16, to_port: u16, (seq, ack): (u32, u32), flags: u8) {
        let segment = forge::tcp(from_port, to_port, seq, ack, flags, b"");
        let packet = forge::sealed(forge::ipv4(OURS, 6, &segment));
        self.pipe.try_send(packet).expect("room");
        self.settle();
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            let next = self.turns.turn(self.now).expect("turn");
            if !next.busy {
                self.now = next
                    .next_timer
                    .map_or(end, |at| at.min(end))
                    .max(self.now + Duration::from_millis(1));
            }
        }
        self.settle();
    }

    /// Polls a future once.
    fn poll<F: Future>(future: F) -> Poll<F::Output> {
        pin!(future)
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
    }

    fn next(listener: &SynListener) -> Option<Syn> {
        match Self::poll(listener.next()) {
            Poll::Ready(syn) => Some(syn.expect("a SYN")),
            Poll::Pending => None,
        }
    }

    /// Returns the flags and the sequence number of each segment sent since the last call.
    fn sent(&mut self) -> Vec<(u8, u32)> {
        let parsed = |packet: Bytes| {
            let (_, _, segment) = forge::parts(&packet).expect("a segment");
            let seq = segment[4..8].try_into().expect("four bytes");
            (segment[13], u32::from_be_bytes(seq))
        };
        std::iter::from_fn(|| self.pipe.try_recv().map(parsed)).collect()
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.stack.counters().dropped(reason)
    }
}

#[test]
fn a_syn_that_comes_again_does_not_come_twice() {
    let mut lab = Lab::new(Config::default());
    let listener = SynListener::bind(&lab.stack, (OURS, 80)).expect("bind");
    for _ in 0..5 {
        lab.send(4_000, 80, 100, SYN);
    }
    let syn = Lab::next(&listener).expect("one");
    assert!(Lab::next(&listener).is_none(), "it came twice");
    assert!(lab.pipe.try_recv().is_none(), "it was answered");
    assert_eq!(
        (lab.stack.half_open(), lab.dropped(DropReason::TcpUndecided)),
        (1, 4)
    );
    // What the peer cannot know yet changes nothing.
    lab.send(4_000, 80, 101, ACK);
    assert_eq!(lab.stack.half_open(), 1);
    // Ignored, it is still absorbed.
    syn.ignore();
    lab.send(4_000, 80, 100, SYN);
    assert!(Lab::next(&listener).is_none() && lab.pipe.try_recv().is_none());
}

/// However far the handshake has come when the future is dropped, the peer is reset as soon as it has finished it.
#[test]
fn an_accept_that_is_dropped_leaves_no_connection() {
    #[derive(Clone, Copy, PartialEq, Debug)]
    enum DroppedAfter {
        Syn,
        SynAck,
        Ack,
    }
    use DroppedAfter::{Ack, Syn, SynAck};

    for (port, moment) in [(4_000, Syn), (4_001, SynAck), (4_002, Ack)] {
        let mut lab = Lab::new(Config::default());
        let listener = SynListener::bind(&lab.stack, (OURS, 80)).expect("bind");
        lab.send(port, 80, 100, SYN);
        let mut accepting = Box::pin(Lab::next(&listener).expect("a SYN").accept());
        assert!(Lab::poll(accepting.as_mut()).is_pending());
        assert_eq!(lab.stack.half_open(), 1);
        let mut accepting = Some(accepting);
        if moment == Syn {
            accepting = None;
        }
        lab.settle();
        let sent = lab.sent();
        let [(flags, iss)] = sent[..] else {
            panic!("{moment:?}: {sent:?}");
        };
        assert_eq!(flags, SYN | ACK);
        if moment == SynAck {
            accepting = None;
        }
        lab.send_with_ack(port, 80, (101, iss.wrapping_add(1)), ACK);
        if moment == Ack {
            assert_eq!((lab.stack.connections(), lab.sent().len()), (1, 0));
        }
        drop(accepting);
        lab.settle();
        let sent = lab.sent();
        assert!(
            matches!(sent[..], [(flags, seq)] if flags & RST != 0 && seq == iss.wrapping_add(1)),
            "{moment:?}: {sent:?}"
        );
        assert_eq!((lab.stack.half_open(), lab.stack.connections()), (0, 0));
    }
}

#[test]
fn an_icmp_error_answers_from_the_address_that_was_asked() {
    let mut lab = Lab::new(Config::default());
    let listener = SynListener::bind(&lab.stack, (OURS, 80)).expect("bind");
    for (reason, code) in [
        (Unreachable::Network, 0),
        (Unreachable::Host, 1),
        (Unreachable::Prohibited, 13),
    ] {
        lab.send(4_000, 80, 100, SYN);
        Lab::next(&listener).expect("a SYN").unreachable(reason);
        lab.settle();
        let error = lab.pipe.try_recv().expect("an answer");
        assert_eq!(&error[12..16], &OURS.octets(), "its source");
        assert_eq!((error[9], error[20], error[21]), (1, 3, code));
        // The quote: our peer's ports and sequence number, which it checks (RFC 5927).
        let quoted = &error[28..];
        assert_eq!(&quoted[20..28], &[15, 160, 0, 80, 0, 0, 0, 100]);
        assert_eq!(lab.stack.half_open(), 0);
    }
}

#[test]
fn a_reset_and_the_deadline_end_the_wait() {
    let mut lab = Lab::new(Config::default());
    let listener = SynListener::bind(&lab.stack, (OURS, 80)).expect("bind");
    lab.send(4_000, 80, 100, SYN);
    let syn = Lab::next(&listener).expect("a SYN");
    lab.send(4_000, 80, 300, RST);
    assert_eq!(lab.stack.half_open(), 1, "a reset out of sequence");
    lab.send(4_000, 80, 101, RST);
    assert_eq!(lab.stack.half_open(), 0);
    let Poll::Ready(Err(error)) = Lab::poll(syn.accept()) else {
        panic!("accepted what is gone");
    };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);

    // One that was reset before the program saw it is not shown.
    lab.send(4_001, 80, 100, SYN);
    lab.send(4_001, 80, 101, RST);
    assert!(Lab::next(&listener).is_none());

    lab.send(4_002, 80, 100, SYN);
    let syn = Lab::next(&listener).expect("a SYN");
    lab.wait(Duration::from_secs(59));
    assert_eq!(lab.stack.half_open(), 1);
    lab.wait(Duration::from_secs(2));
    assert_eq!(lab.stack.half_open(), 0);
    syn.refuse();
    lab.settle();
    assert!(
        lab.pipe.try_recv().is_none(),
        "an answer after the deadline"
    );
}

#[test]
fn a_handshake_that_the_peer_does_not_finish_fails() {
    let mut lab = Lab::new(Config::default());
    let listener = SynListener::bind(&lab.stack, (OURS, 80)).expect("bind");
    lab.send(4_000, 80, 100, SYN);
    let mut accepting = pin!(Lab::next(&listener).expect("a SYN").accept());
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(accepting.as_mut().poll(cx).is_pending());
    lab.settle();
    let syn_ack = lab.pipe.try_recv().expect("a SYN-ACK");
    assert_eq!(syn_ack[33], SYN | ACK);
    lab.wait(Duration::from_secs(200));
    let Poll::Ready(Err(error)) = accepting.as_mut().poll(cx) else {
        panic!("no end");
    };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
}

#[test]
fn a_flood_is_bounded_and_gets_no_cookie() {
    let config = Config {
        max_half_open: 32,
        ..Config::default()
    };
    let mut lab = Lab::new(config);
    let listener = SynListener::bind(&lab.stack, (OURS, 80)).expect("bind");
    for port in 1_000..3_000 {
        lab.send(port, 80, 1, SYN);
    }
    let half_open = lab.stack.half_open();
    assert!((8..=32).contains(&half_open), "{half_open}");
    // The rest found no place, or took that of another.
    let displaced = lab.stack.counters().count(Counter::TcpHandshakesDisplaced);
    let refused = lab.dropped(DropReason::TcpBacklogFull);
    assert_eq!(displaced + refused, 2_000 - half_open as u64);
    assert_eq!(lab.stack.counters().count(Counter::TcpSynCookiesSent), 0);
    assert!(
        lab.pipe.try_recv().is_none(),
        "an answer before the decision"
    );
    let shown = std::iter::from_fn(|| Lab::next(&listener)).map(Syn::ignore);
    assert_eq!(shown.count(), half_open);
}

#[test]
fn a_listener_that_closes_ends_every_wait() {
    let mut lab = Lab::new(Config::default());
    let listener = SynListener::bind(&lab.stack, (OURS, 80)).expect("bind");
    lab.send(4_000, 80, 100, SYN);
    let mut accepting = pin!(Lab::next(&listener).expect("a SYN").accept());
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(accepting.as_mut().poll(cx).is_pending());
    drop(listener);
    assert!(matches!(accepting.as_mut().poll(cx), Poll::Ready(Err(_))));
    assert_eq!(lab.stack.half_open(), 0);
    lab.settle();
}

#[test]
fn a_filter_decides_before_anything_is_kept() {
    let mut lab = Lab::new(Config::default());
    let socket = TcpSocket::new_v4(&lab.stack);
    socket.set_filter(|syn| {
        assert!(syn.remote.port() != 666, "a filter of the program panics");
        syn.remote.port() >= 4_000
    });
    socket.bind((OURS, 80).into()).expect("bind");
    let _listener = socket.listen(4).expect("listen");
    lab.send(3_999, 80, 100, SYN);
    lab.send(666, 80, 100, SYN);
    assert_eq!(
        (lab.stack.half_open(), lab.dropped(DropReason::TcpFiltered)),
        (0, 2)
    );
    assert!(lab.pipe.try_recv().is_none());
    lab.send(4_000, 80, 100, SYN);
    assert_eq!(lab.stack.half_open(), 1);
    assert_eq!(lab.pipe.try_recv().expect("a SYN-ACK")[33], SYN | ACK);
}
