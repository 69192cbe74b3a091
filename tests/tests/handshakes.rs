//! Handshakes of passive opens, segment by segment: half-open entries, SYN cookies beyond them, and what
//! becomes of either (RFC 9293 sections 3.10.7.2 and 3.10.7.4, RFC 4987).

use std::net::SocketAddr;
use std::time::Duration;

use futures::FutureExt as _;
use netstack::base::{Config, Rng};
use netstack::net::{TcpListener, TcpStream};
use netstack::{Counter, DropReason};
use packet::tcp::{TcpFlags, TcpOptions, Timestamps};
use tests::raw_peer::{ACK, FIN, Peer, RST, SYN, Wire, build, ours};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Half-open connections that a stack of these tests may have.
const HALF_OPEN: usize = 64;

fn config() -> Config {
    Config {
        max_half_open: HALF_OPEN,
        ..Config::default()
    }
}

fn modern() -> TcpOptions {
    TcpOptions {
        mss: Some(1_400),
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: Some(Timestamps { val: 5_000, ecr: 0 }),
        ..TcpOptions::default()
    }
}

fn address(n: u32) -> SocketAddr {
    SocketAddr::new([10, 1, (n >> 8) as u8, n as u8].into(), 4_000)
}

fn count(wire: &Wire, counter: Counter) -> u64 {
    wire.stack().counters().count(counter)
}

fn dropped(wire: &Wire, reason: DropReason) -> u64 {
    wire.stack().counters().dropped(reason)
}

fn accept(listener: &TcpListener) -> Option<TcpStream> {
    let (stream, _) = listener.accept().now_or_never()?.expect("accepted");
    Some(stream)
}

/// Sends `syns` SYNs from random sources to `to`.
fn flood(wire: &mut Wire, to: SocketAddr, syns: u32, seed: u64) {
    let mut rng = Rng::from_u64(seed);
    for n in 0..syns {
        let mut peer = Peer::new(
            (
                [10, 128 | rng.u32() as u8, rng.u32() as u8, 9],
                1 + n as u16,
            )
                .into(),
            to,
            modern(),
        );
        peer.seq = rng.u32();
        wire.queue(peer.packet(SYN, b""));
    }
    wire.settle();
}

/// A request and its answer on an open connection.
fn exchange(wire: &mut Wire, peer: &mut Peer, stream: &mut TcpStream) {
    wire.send(peer.packet(ACK, b"request"));
    let mut buffer = [0; 100];
    let read = stream.read(&mut buffer).now_or_never().expect("at once");
    assert_eq!(&buffer[..read.expect("read")], b"request");
    let written = stream.write_all(b"answer").now_or_never().expect("room");
    written.expect("written");
    let sent = wire.settle();
    let answer = sent
        .iter()
        .find(|sent| sent.to == peer.from)
        .expect("an answer");
    assert_eq!(answer.payload, b"answer");
    peer.hear(answer);
    wire.send(peer.packet(ACK, b""));
}

#[test]
fn a_syn_makes_no_connection_and_the_third_segment_does() {
    let mut wire = Wire::new(config());
    let listener = TcpListener::bind_now(wire.stack(), ours(80)).expect("bind");
    let mut peer = Peer::new(address(1), ours(80), modern());
    let syn_ack = peer.syn(&mut wire).expect("a SYN-ACK");
    assert_eq!(
        (wire.stack().connections(), wire.stack().half_open()),
        (0, 1)
    );
    assert!(wire.stack().tcp_info().is_empty());
    let options = syn_ack.header.options;
    assert_eq!((options.mss, options.window_scale), (Some(1_460), Some(9)));
    assert!(options.sack_permitted);
    assert!(wire.send(peer.packet(ACK, b"")).is_empty());
    assert_eq!(
        (wire.stack().connections(), wire.stack().half_open()),
        (1, 0)
    );
    let mut stream = accept(&listener).expect("a connection");
    assert_eq!(stream.peer_addr().expect("open"), peer.from);
    exchange(&mut wire, &mut peer, &mut stream);
}

#[test]
fn the_third_segment_may_carry_all_there_is() {
    let mut wire = Wire::new(config());
    let listener = TcpListener::bind_now(wire.stack(), ours(80)).expect("bind");
    let mut peer = Peer::new(address(1), ours(80), modern());
    peer.syn(&mut wire).expect("a SYN-ACK");
    let sent = wire.send(peer.packet(ACK | FIN, b"all there is"));
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(sent[0].numbers(), (ACK, peer.ack, peer.seq));
    let mut stream = accept(&listener).expect("a connection");
    let mut text = String::new();
    // The end comes with a poll of its own.
    let read = futures::executor::block_on(stream.read_to_string(&mut text));
    assert_eq!(read.expect("read"), 12);
    assert_eq!(text, "all there is");
}

#[test]
fn a_syn_ack_goes_again_until_it_is_given_up() {
    let mut wire = Wire::new(config());
    let _listener = TcpListener::bind_now(wire.stack(), ours(80)).expect("bind");
    let mut peer = Peer::new(address(1), ours(80), modern());
    let first = peer.syn(&mut wire).expect("a SYN-ACK");
    let again = wire.pass(Duration::from_secs(200));
    let at: Vec<u128> = again
        .iter()
        .map(|s| (s.at - first.at).as_millis())
        .collect();
    assert_eq!(at, [1_000, 3_000, 7_000, 15_000, 31_000, 63_000]);
    assert!(again.iter().all(|sent| sent.numbers() == first.numbers()));
    assert_eq!(wire.stack().half_open(), 0);
    assert_eq!(count(&wire, Counter::TcpHandshakesExpired), 1);
    assert_eq!(count(&wire, Counter::TcpRetransmits), 6);
    // The third segment comes too late.
    let late = wire.send(peer.packet(ACK, b""));
    assert_eq!(late.len(), 1);
    assert_eq!(
        late[0].numbers(),
        (RST, first.header.seq.wrapping_add(1), 0)
    );
}

#[test]
fn segments_that_do_not_complete_a_handshake_are_answered_as_the_rfc_says() {
    let mut wire = Wire::new(config());
    let _listener = TcpListener::bind_now(wire.stack(), ours(80)).expect("bind");
    let mut peer = Peer::new(address(1), ours(80), TcpOptions::default());
    let syn = peer.clone().packet(SYN, b"");
    let first = peer.syn(&mut wire).expect("a SYN-ACK");
    // The SYN again.
    let again = wire.send(syn);
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].numbers(), first.numbers());
    // An ACK of what was never sent.
    let mut bad = peer.clone();
    bad.ack = bad.ack.wrapping_add(1);
    let reset = wire.send(bad.packet(ACK, b""));
    assert_eq!(reset[0].numbers(), (RST, bad.ack, 0));
    // Challenges (RFC 5961): a reset out of place, another SYN.
    for flags in [RST, SYN] {
        let mut blind = peer.clone();
        blind.seq = blind.seq.wrapping_add(100);
        let challenge = wire.send(blind.packet(flags, b""));
        assert_eq!(challenge.len(), 1, "{flags:?}");
        assert_eq!(challenge[0].numbers(), (ACK, peer.ack, peer.seq));
    }
    assert_eq!(dropped(&wire, DropReason::TcpChallenged), 2);
    assert_eq!(wire.stack().half_open(), 1);
    // A reset in place.
    assert!(wire.send(peer.clone().packet(RST, b"")).is_empty());
    assert_eq!(
        (wire.stack().half_open(), count(&wire, Counter::TcpResetsIn)),
        (0, 1)
    );
    assert!(wire.pass(Duration::from_secs(10)).is_empty());
}

#[test]
fn a_hard_icmp_error_ends_a_handshake_and_a_soft_one_does_not() {
    let mut wire = Wire::new(config());
    let _listener = TcpListener::bind_now(wire.stack(), ours(80)).expect("bind");
    let mut peer = Peer::new(address(1), ours(80), modern());
    let syn_ack = peer.syn(&mut wire).expect("a SYN-ACK");
    let quote = build(syn_ack.from, syn_ack.to, &syn_ack.header, b"");
    let unreachable = |code: u8, quote: &[u8]| {
        let mut message = vec![3, code, 0, 0, 0, 0, 0, 0];
        message.extend_from_slice(quote);
        let std::net::IpAddr::V4(to) = tests::raw_peer::OURS else {
            panic!("an IPv4 address")
        };
        let from = std::net::Ipv4Addr::new(10, 1, 0, 1);
        let packet = tests::forge::ipv4_with(from, to, tests::forge::ICMP, &[], &message);
        tests::forge::sealed(packet)
    };
    // Net unreachable is soft.
    wire.send(unreachable(0, &quote));
    assert_eq!(wire.stack().half_open(), 1);
    // Port unreachable about another sequence number is a guess.
    let mut guess = syn_ack.header;
    guess.seq = guess.seq.wrapping_add(1);
    let wrong = build(syn_ack.from, syn_ack.to, &guess, b"");
    wire.send(unreachable(3, &wrong));
    assert_eq!(wire.stack().half_open(), 1);
    assert_eq!(dropped(&wire, DropReason::IcmpUnmatched), 1);
    wire.send(unreachable(3, &quote));
    assert_eq!(wire.stack().half_open(), 0);
}

#[test]
fn a_syn_with_fin_is_dropped_and_counted() {
    let mut wire = Wire::new(config());
    let _listener = TcpListener::bind_now(wire.stack(), ours(80)).expect("bind");
    let mut peer = Peer::new(address(1), ours(80), modern());
    assert!(wire.send(peer.packet(SYN | FIN, b"")).is_empty());
    assert_eq!(dropped(&wire, DropReason::TcpSynFin), 1);
    assert_eq!(wire.stack().half_open(), 0);
    // Without a listener it is refused like any SYN.
    let mut peer = Peer::new(address(1), ours(81), modern());
    let refused = wire.send(peer.packet(SYN | FIN, b""));
    assert_eq!(refused[0].header.flags, RST | ACK);
}

#[test]
fn a_flood_takes_bounded_memory_and_keeps_nobody_out() {
    const SYNS: u32 = 20_000;
    let mut wire = Wire::new(config());
    let listener = TcpListener::bind_now(wire.stack(), ours(80)).expect("bind");
    let other = TcpListener::bind_now(wire.stack(), ours(81)).expect("bind");
    flood(&mut wire, ours(80), SYNS, 1);
    let half_open = wire.stack().half_open();
    assert_eq!(half_open, HALF_OPEN / 2, "its share");
    let cookies = count(&wire, Counter::TcpSynCookiesSent);
    assert_eq!(cookies, u64::from(SYNS) - half_open as u64);
    assert_eq!(wire.stack().connections(), 0);
    // A genuine client of the flooded port, in the middle of the flood.
    let mut client = Peer::new(address(1), ours(80), modern());
    client.syn(&mut wire).expect("a SYN-ACK");
    flood(&mut wire, ours(80), SYNS, 2);
    wire.pass(Duration::from_millis(300));
    wire.send(client.packet(ACK, b""));
    assert_eq!(count(&wire, Counter::TcpSynCookiesReturned), 1);
    let mut stream = accept(&listener).expect("a connection");
    exchange(&mut wire, &mut client, &mut stream);
    let (_, _, info) = wire.stack().tcp_info()[0];
    assert_eq!(info.send_window, 30_000 << 7, "the window scale was kept");
    assert_eq!(info.mss, 1_400 - 12, "so was the MSS, but for timestamps");
    // One of the other port does not even need a cookie.
    let mut client = Peer::new(address(2), ours(81), modern());
    client.syn(&mut wire).expect("a SYN-ACK");
    assert_eq!(wire.stack().half_open(), half_open + 1);
    wire.send(client.packet(ACK, b""));
    assert!(accept(&other).is_some());
    // Soon after the flood there are places again.
    wire.pass(Duration::from_secs(8));
    let mut client = Peer::new(address(3), ours(80), modern());
    let before = count(&wire, Counter::TcpSynCookiesSent);
    client.open(&mut wire);
    assert_eq!(count(&wire, Counter::TcpSynCookiesSent), before);
    assert!(accept(&listener).is_some());
}

#[test]
fn a_cookie_without_timestamps_still_makes_a_connection() {
    let mut wire = Wire::new(config());
    let listener = TcpListener::bind_now(wire.stack(), ours(80)).expect("bind");
    flood(&mut wire, ours(80), 100, 3);
    let options = TcpOptions {
        timestamps: None,
        ..modern()
    };
    let mut client = Peer::new(address(1), ours(80), options);
    let syn_ack = client.syn(&mut wire).expect("a SYN-ACK");
    let offered = syn_ack.header.options;
    assert!(offered.mss.is_some());
    assert_eq!(
        (offered.window_scale, offered.sack_permitted),
        (None, false)
    );
    // The first segment with data completes the handshake as well.
    let sent = wire.send(client.packet(ACK, b"data at once"));
    assert!(
        sent.iter().all(|sent| !sent.header.flags.contains(RST)),
        "{sent:?}"
    );
    let mut stream = accept(&listener).expect("a connection");
    let mut buffer = [0; 100];
    let read = stream.read(&mut buffer).now_or_never().expect("at once");
    assert_eq!(&buffer[..read.expect("read")], b"data at once");
    let (_, _, info) = wire.stack().tcp_info()[0];
    assert_eq!((info.mss, info.send_window), (1_400, 30_000));
}

/// The third segment and the first data of a handshake by cookie are lost: what arrives first is in the middle of the
/// peer's first flight.
#[test]
fn a_later_segment_of_a_handshake_by_cookie_is_not_reset() {
    let mut wire = Wire::new(config());
    let listener = TcpListener::bind_now(wire.stack(), ours(80)).expect("bind");
    flood(&mut wire, ours(80), 100, 5);
    let mut client = Peer::new(address(1), ours(80), modern());
    client.syn(&mut wire).expect("a SYN-ACK");
    // Two full segments of a flight, and the rest.
    let text: Vec<u8> = (0..3_000_u32).map(|n| n as u8).collect();
    let full = 1_388;
    let at = |from: usize, to: usize| {
        let mut peer = client.clone();
        peer.seq = peer.seq.wrapping_add(from as u32);
        peer.packet(ACK, &text[from..to])
    };
    let (first, later) = (at(0, full), at(full, 2 * full));
    assert_eq!(wire.send(later.clone()).len(), 0, "no reset");
    assert_eq!(dropped(&wire, DropReason::TcpNotAcceptable), 1);
    assert_eq!(wire.stack().connections(), 0);
    // It is sent again, as everything that is not acknowledged.
    wire.send(first);
    wire.send(later);
    let mut stream = accept(&listener).expect("a connection");
    let mut buffer = vec![0; 2 * full];
    let read = stream.read_exact(&mut buffer).now_or_never();
    read.expect("at once").expect("read");
    assert_eq!(buffer, text[..2 * full]);
}

#[test]
fn guessed_and_stale_cookies_are_reset() {
    let mut wire = Wire::new(config());
    let listener = TcpListener::bind_now(wire.stack(), ours(80)).expect("bind");
    let mut client = Peer::new(address(1), ours(80), modern());
    flood(&mut wire, ours(80), 100, 4);
    client.syn(&mut wire).expect("a SYN-ACK");
    let mut guess = client.clone();
    for bit in 0..32 {
        guess.ack = client.ack ^ 1 << bit;
        let sent = wire.send(guess.clone().packet(ACK, b""));
        assert_eq!(sent[0].numbers(), (RST, guess.ack, 0), "bit {bit}");
    }
    wire.pass(Duration::from_secs(129));
    let late = wire.send(client.packet(ACK, b""));
    assert_eq!(late[0].header.flags, RST);
    assert_eq!(count(&wire, Counter::TcpSynCookiesReturned), 0);
    assert!(accept(&listener).is_none());
    assert_eq!(wire.stack().connections(), 0);
}

#[test]
fn a_full_backlog_puts_a_handshake_off_and_does_not_lose_it() {
    let mut config = config();
    config.tcp.backlog = 1;
    let mut wire = Wire::new(config);
    let listener = TcpListener::bind_now(wire.stack(), ours(80)).expect("bind");
    let mut first = Peer::new(address(1), ours(80), modern());
    let mut second = Peer::new(address(2), ours(80), modern());
    first.syn(&mut wire).expect("a SYN-ACK");
    second.syn(&mut wire).expect("a SYN-ACK");
    wire.send(first.packet(ACK, b""));
    wire.send(second.packet(ACK, b""));
    assert_eq!(
        (wire.stack().connections(), wire.stack().half_open()),
        (1, 1)
    );
    assert_eq!(dropped(&wire, DropReason::TcpBacklogFull), 1);
    // While it is full, no handshake is begun.
    let mut third = Peer::new(address(3), ours(80), modern());
    assert!(third.syn(&mut wire).is_none());
    let _stream = accept(&listener).expect("the first");
    // The SYN-ACK goes again, and the peer acknowledges it again.
    let again = wire.pass(Duration::from_secs(1));
    assert_eq!(again.len(), 1);
    second.hear(&again[0]);
    wire.send(second.packet(ACK, b""));
    assert!(accept(&listener).is_some());
}

#[test]
fn a_full_table_refuses_connections_and_says_so() {
    let mut config = config();
    config.max_connections = 1;
    let mut wire = Wire::new(config);
    let listener = TcpListener::bind_now(wire.stack(), ours(80)).expect("bind");
    let mut first = Peer::new(address(1), ours(80), modern());
    let mut second = Peer::new(address(2), ours(80), modern());
    second.syn(&mut wire).expect("a SYN-ACK");
    first.open(&mut wire);
    assert!(wire.send(second.packet(ACK, b"")).is_empty());
    let mut third = Peer::new(address(3), ours(80), modern());
    assert!(third.syn(&mut wire).is_none());
    assert_eq!(dropped(&wire, DropReason::TcpTableFull), 2);
    let stream = accept(&listener).expect("the first");
    stream.set_linger(Some(Duration::ZERO)).expect("linger");
    drop(stream);
    wire.settle();
    wire.send(second.packet(ACK, b""));
    assert!(accept(&listener).is_some());
}

#[test]
fn a_listener_that_closes_takes_its_half_open_connections_with_it() {
    let mut wire = Wire::new(config());
    let listener = TcpListener::bind_now(wire.stack(), ours(80)).expect("bind");
    let _other = TcpListener::bind_now(wire.stack(), ours(81)).expect("bind");
    let mut peer = Peer::new(address(1), ours(80), modern());
    let mut of_other = Peer::new(address(1), ours(81), modern());
    peer.syn(&mut wire).expect("a SYN-ACK");
    of_other.syn(&mut wire).expect("a SYN-ACK");
    drop(listener);
    assert_eq!(wire.stack().half_open(), 1);
    let refused = wire.send(peer.packet(ACK, b""));
    assert_eq!(refused[0].header.flags, RST);
    assert!(wire.send(of_other.packet(ACK, b"")).is_empty());
    assert_eq!(wire.stack().connections(), 1);
}

#[test]
fn what_anybody_sends_in_a_handshake_neither_grows_nor_panics() {
    for seed in 0..20 {
        let mut rng = Rng::from_u64(seed);
        let mut config = config();
        config.max_half_open = 1 + rng.below(12) as usize;
        config.tcp.backlog = 4;
        let mut wire = Wire::new(config);
        let listener = TcpListener::bind_now(wire.stack(), ours(80)).expect("bind");
        let mut peers: Vec<Peer> = (0..30)
            .map(|n| Peer::new(address(n), ours(80), modern()))
            .collect();
        for _ in 0..2_000 {
            let peer = &mut peers[rng.below(30) as usize];
            let flags = TcpFlags::from_bits_retain(rng.u32() as u16 & 0x17);
            let near = |rng: &mut Rng| rng.below(3).wrapping_sub(1);
            let mut sender = peer.clone();
            sender.seq = sender.seq.wrapping_add(near(&mut rng));
            sender.ack = sender.ack.wrapping_add(near(&mut rng));
            let payload = [7; 3];
            let packet = sender.packet(flags, &payload[..rng.below(4) as usize]);
            for sent in wire.send(packet) {
                if let Some(peer) = peers.iter_mut().find(|peer| peer.from == sent.to)
                    && sent.header.flags.contains(SYN)
                {
                    peer.hear(&sent);
                    peer.seq = sent.header.ack;
                }
            }
            match rng.below(40) {
                0 => drop(accept(&listener)),
                1 => drop(wire.pass(Duration::from_millis(u64::from(rng.below(3_000))))),
                _ => {}
            }
            assert!(wire.stack().half_open() <= 12 + 8 + 30, "seed {seed}");
        }
        drop(listener);
        wire.pass(Duration::from_secs(2_000));
        assert_eq!(wire.stack().half_open(), 0, "seed {seed}");
        assert_eq!(wire.stack().connections(), 0, "seed {seed}");
        assert_eq!(wire.stack().slabs_in_use(), (0, 0), "seed {seed}");
    }
}
