//! A wire, packet by packet: times, losses and queues from seeds, super-packets segment by segment.

use std::time::Duration;

use impair::{Checksum, Frame, QUANTUM, Wire};
use packet::checksum::{RxChecksum, verify, verify_transport};
use packet::ip::{IpPacket, Ipv4, Ipv6, Outline};
use packet::tcp::TcpView;

const SEED: u64 = 20_261_129;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn us(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

/// An IPv4 packet of `len` bytes, ECN-capable if `ecn` is 1 or 2.
fn packet(len: usize, ecn: u8) -> Frame {
    let mut bytes = vec![0; len];
    bytes[0] = 0x45;
    bytes[1] = ecn;
    bytes[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    bytes[6] = 0x40;
    bytes[8] = 64;
    bytes[9] = 253;
    bytes[12..20].copy_from_slice(&[10, 77, 0, 1, 10, 77, 0, 2]);
    let sum = packet::checksum::of(&bytes[..20]);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    Frame::bare(bytes)
}

/// A TCP super-packet with `payload` bytes that count up, with a partial checksum as the kernel hands it over.
fn super_packet(ipv6: bool, payload: usize, size: u16) -> Frame {
    let ip = if ipv6 { 40 } else { 20 };
    let mut bytes = vec![0; ip + 32 + payload];
    let tcp_len = (32 + payload) as u16;
    if ipv6 {
        bytes[0] = 0x60;
        bytes[4..6].copy_from_slice(&tcp_len.to_be_bytes());
        (bytes[6], bytes[7]) = (6, 64);
        (bytes[8], bytes[23]) = (0xfd, 1);
        (bytes[24], bytes[39]) = (0xfd, 2);
    } else {
        bytes[0] = 0x45;
        bytes[2..4].copy_from_slice(&(20 + tcp_len).to_be_bytes());
        bytes[4..6].copy_from_slice(&0xfffe_u16.to_be_bytes());
        (bytes[6], bytes[8], bytes[9]) = (0x40, 64, 6);
        bytes[12..20].copy_from_slice(&[10, 77, 0, 1, 10, 77, 0, 2]);
        let sum = packet::checksum::of(&bytes[..20]);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    let tcp = &mut bytes[ip..];
    tcp[..4].copy_from_slice(&[0x12, 0x34, 0, 80]);
    tcp[4..8].copy_from_slice(&0xffff_f000_u32.to_be_bytes());
    // 32 bytes of header; CWR, ACK, PSH, FIN.
    (tcp[12], tcp[13]) = (0x80, 0x99);
    tcp[20..32].copy_from_slice(&[1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 7]);
    for (at, byte) in tcp[32..].iter_mut().enumerate() {
        *byte = at as u8;
    }
    let outline = Outline::read(&bytes).expect("a packet");
    let sum = packet::checksum::pseudo_header(
        outline.src,
        outline.dst,
        outline.proto,
        u32::from(tcp_len),
    );
    bytes[ip + 16..ip + 18].copy_from_slice(&sum.partial().to_be_bytes());
    let checksum = Checksum::Partial {
        start: ip as u16,
        offset: 16,
    };
    Frame::new(bytes, checksum, size)
}

fn wire(settings: &str) -> Wire {
    Wire::new(settings.parse().expect(settings), SEED)
}

/// Everything that arrives until nothing is under way, with its time.
fn drain(wire: &mut Wire) -> Vec<(Duration, Frame)> {
    let mut arrived = Vec::new();
    while let Some(at) = wire.next() {
        while let Some(frame) = wire.pop(at) {
            arrived.push((at, frame));
        }
    }
    arrived
}

/// Sends `count` packets of 1,000 bytes, one each millisecond, and returns which of them arrive.
fn survivors(settings: &str, count: u64) -> (Vec<u64>, Wire) {
    let mut wire = wire(settings);
    let mut arrived = Vec::new();
    for at in 0..count {
        wire.push(packet(1_000, 0), ms(at));
        while wire.pop(ms(at)).is_some() {
            arrived.push(at);
        }
    }
    (arrived, wire)
}

#[test]
fn the_default_passes_everything_on_at_once() {
    let mut wire = wire("none");
    for len in [20, 1_500, 9_000] {
        assert!(wire.push(packet(len, 0), ms(3)).is_none());
        assert_eq!(wire.pop(ms(3)).map(|frame| frame.bytes().len()), Some(len));
    }
    let whole = super_packet(false, 60_000, 1_448);
    wire.push(whole.clone(), ms(3));
    assert_eq!(wire.pop(ms(3)), Some(whole), "in one piece");
    assert_eq!(wire.stats().delivered, 3 + 42);
    assert!(wire.next().is_none() && wire.pop(ms(9)).is_none());
}

#[test]
fn delay_and_jitter_keep_the_order_and_their_bounds() {
    let mut wire = wire("delay=50ms,jitter=10ms");
    for at in 0..1_000 {
        wire.push(packet(100 + at as usize, 0), us(at * 100));
    }
    let arrived = drain(&mut wire);
    let lens: Vec<usize> = arrived.iter().map(|(_, f)| f.bytes().len()).collect();
    assert_eq!(lens, (100..1_100).collect::<Vec<_>>());
    for (index, (at, _)) in arrived.iter().enumerate() {
        let way = *at - us(index as u64 * 100);
        assert!((ms(50)..=ms(60)).contains(&way), "{index}: {way:?}");
    }
    let ways: Vec<Duration> = arrived.iter().map(|(at, _)| *at).collect();
    assert!(
        ways.windows(2).any(|pair| pair[1] - pair[0] > us(100)),
        "no jitter"
    );
}

#[test]
fn a_rate_spaces_packets_by_their_length() {
    // 1,500 bytes take 1 ms.
    let mut wire = wire("rate=12mbit,delay=5ms");
    for len in [1_500, 750, 1_500] {
        wire.push(packet(len, 0), ms(0));
    }
    let times: Vec<Duration> = drain(&mut wire).iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [us(6_000), us(6_500), us(7_500)]);
    // The line was idle since.
    wire.push(packet(1_500, 0), ms(20));
    assert_eq!(drain(&mut wire)[0].0, ms(26));
}

#[test]
fn a_queue_drops_what_arrives_or_what_has_waited_longest() {
    for (policy, expected) in [
        ("tail", [100, 101, 102, 103]),
        ("head", [100, 107, 108, 109]),
    ] {
        let mut wire = wire(&format!("rate=8mbit,queue=4p,drop={policy}"));
        for len in 100..110 {
            wire.push(packet(len, 0), ms(0));
        }
        assert_eq!(wire.stats().dropped, 6, "{policy}");
        assert_eq!(wire.stats().queued, 4, "{policy}");
        let lens: Vec<usize> = drain(&mut wire)
            .iter()
            .map(|(_, f)| f.bytes().len())
            .collect();
        assert_eq!(lens, expected, "{policy}");
        assert_eq!(wire.stats().queued_bytes, 0);
    }
}

#[test]
fn a_queue_is_bounded_in_bytes_and_in_time() {
    // 1,000 bytes take 1 ms.
    for queue in ["10000b", "10ms"] {
        let mut wire = wire(&format!("rate=8mbit,queue={queue}"));
        for _ in 0..100 {
            wire.push(packet(1_000, 0), ms(0));
        }
        assert_eq!(wire.stats().queued, 10, "{queue}");
        let last = drain(&mut wire).last().map(|(at, _)| *at);
        assert_eq!(last, Some(ms(10)), "{queue}");
    }
}

#[test]
fn a_packet_longer_than_the_queue_passes_an_empty_one() {
    let mut wire = wire("rate=8mbit,queue=100b");
    wire.push(packet(1_000, 0), ms(0));
    wire.push(packet(1_000, 0), ms(0));
    assert_eq!((drain(&mut wire).len(), wire.stats().dropped), (1, 1));
}

#[test]
fn a_long_queue_marks_those_that_know_marks() {
    let mut wire = wire("rate=8mbit,mark=3p");
    for ecn in [2, 2, 2, 2, 0, 1, 3] {
        wire.push(packet(1_000, ecn), ms(0));
    }
    let arrived = drain(&mut wire);
    let fields: Vec<u8> = arrived.iter().map(|(_, f)| f.bytes()[1]).collect();
    assert_eq!(fields, [2, 2, 2, 3, 0, 3, 3]);
    assert!(
        arrived.iter().all(|(_, f)| verify(&f.bytes()[..20])),
        "a header's checksum"
    );
    // One of them had the mark already.
    assert_eq!(wire.stats().marked, 3);
}

#[test]
fn controlled_delay_keeps_a_standing_queue_short() {
    // 1,000 bytes take 1 ms, and 1,050 bytes come in each, whatever is dropped.
    let longest = |settings: &str, ecn: u8| {
        let mut wire = wire(settings);
        let mut longest = 0;
        for at in 0..15_000 {
            wire.push(packet(1_050, ecn), ms(at));
            while wire.pop(ms(at)).is_some() {}
            if at > 14_000 {
                longest = longest.max(wire.stats().queued);
            }
        }
        (longest, wire.stats())
    };
    let (tail, _) = longest("rate=8mbit,queue=500p", 0);
    assert_eq!(tail, 500);
    let (codel, stats) = longest("rate=8mbit,queue=500p,drop=codel", 0);
    assert!(codel < 50 && stats.dropped > 100, "{codel} {stats:?}");
    let (_, stats) = longest("rate=8mbit,queue=500p,drop=codel,mark=1p", 2);
    assert!(stats.marked > 100, "{stats:?}");
}

#[test]
fn loss_is_independent_or_in_bursts() {
    let gaps = |settings: &str| {
        let (arrived, wire) = survivors(settings, 100_000);
        let lost = wire.stats().lost;
        assert_eq!(lost + arrived.len() as u64, 100_000);
        let bursts = arrived
            .windows(2)
            .filter(|pair| pair[1] - pair[0] > 1)
            .count();
        (lost as f64 / 100_000.0, lost as f64 / bursts as f64)
    };
    let (share, burst) = gaps("loss=10%");
    assert!((0.095..0.105).contains(&share), "{share}, seed {SEED}");
    assert!((1.05..1.2).contains(&burst), "{burst}, seed {SEED}");
    // A share of 1/(1+9) of the time is bad, for 5 packets on the mean.
    let (share, burst) = gaps("gilbert=2.2222%:20%");
    assert!((0.085..0.115).contains(&share), "{share}, seed {SEED}");
    assert!((4.5..5.5).contains(&burst), "{burst}, seed {SEED}");
    let (share, _) = gaps("gilbert=50%:50%:20%:10%");
    assert!((0.145..0.155).contains(&share), "{share}, seed {SEED}");
}

#[test]
fn the_same_seed_gives_the_same_packets_and_another_one_others() {
    let run = |seed| {
        let settings = "loss=5%,reorder=5%,duplicate=5%,corrupt=5%,delay=1ms,jitter=1ms";
        let mut wire = Wire::new(settings.parse().expect("known"), seed);
        for at in 0..500 {
            wire.push(packet(500, 0), us(at * 50));
        }
        drain(&mut wire)
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn what_is_reordered_is_overtaken_and_what_is_doubled_comes_twice() {
    let mut late = wire("reorder=10%,reorder-by=5ms");
    for at in 0..1_000 {
        late.push(packet(100 + at as usize, 0), us(at * 100));
    }
    let lens: Vec<usize> = drain(&mut late)
        .iter()
        .map(|(_, f)| f.bytes().len())
        .collect();
    let overtaken = lens.windows(2).filter(|pair| pair[1] < pair[0]).count() as u64;
    let reordered = late.stats().reordered;
    assert!((70..130).contains(&reordered), "{reordered}, seed {SEED}");
    assert!(overtaken > reordered / 2, "{overtaken} of {reordered}");
    let mut doubled = wire("duplicate=100%");
    doubled.push(packet(100, 0), ms(0));
    assert_eq!(drain(&mut doubled).len(), 2);
}

#[test]
fn each_rule_holds_for_each_segment_of_a_super_packet() {
    for ipv6 in [false, true] {
        let whole = super_packet(ipv6, 60_000, 1_000);
        assert_eq!(
            (whole.segments(), whole.wire_bytes()),
            (
                60,
                whole.bytes().len() as u64 + 59 * whole.segment_len(0) as u64 - 59_000
            )
        );
        // 60 packets of which 10 % are lost: never all or none.
        let mut lossy = wire("loss=10%");
        for _ in 0..100 {
            lossy.push(whole.clone(), ms(0));
        }
        let stats = lossy.stats();
        assert_eq!(stats.sent, 6_000);
        assert!((500..700).contains(&stats.lost), "{stats:?}, seed {SEED}");
        let runs = drain(&mut lossy);
        assert!(runs.len() > 300, "{} runs", runs.len());
        for (_, run) in &runs {
            check_run(run, &whole);
        }
        // A queue of 7 packets takes 7 segments, which leave one after the other.
        let mut slow = wire("rate=8mbit,queue=7p");
        slow.push(whole.clone(), ms(0));
        assert_eq!(slow.stats().dropped, 53);
        let arrived = drain(&mut slow);
        let len = whole.segment_len(0) as u64;
        let expected: Vec<Duration> = (1..=7).map(|n| us(n * len)).collect();
        assert_eq!(
            arrived.iter().map(|(at, _)| *at).collect::<Vec<_>>(),
            expected
        );
        assert!(arrived.iter().all(|(_, frame)| frame.segments() == 1));
        // A fast line keeps them together as long as a run takes no longer than a quantum.
        let mut fast = wire("rate=10gbit");
        fast.push(whole.clone(), ms(0));
        let arrived = drain(&mut fast);
        assert!(arrived.len() < 4, "{} runs", arrived.len());
        let all: u64 = arrived.iter().map(|(_, frame)| frame.wire_bytes()).sum();
        assert_eq!(all, whole.wire_bytes());
        let time = arrived.last().expect("runs").0;
        assert!(time.abs_diff(us(all * 8 / 10_000)) < QUANTUM, "{time:?}");
    }
}

/// Checks a run of segments against the super-packet that it was cut from: after each is finished, its checksums are right
/// and its payload is where its sequence number says.
fn check_run(run: &Frame, whole: &Frame) {
    for index in 0..run.segments() {
        let mut segment = run.run(index..index + 1);
        segment.finish();
        let bytes = segment.bytes();
        let (src, dst, tcp) = if bytes[0] >> 4 == 4 {
            let ip = IpPacket::<Ipv4>::parse(bytes).expect("IPv4");
            (ip.src().into(), ip.dst().into(), ip.payload())
        } else {
            let ip = IpPacket::<Ipv6>::parse(bytes).expect("IPv6");
            (ip.src().into(), ip.dst().into(), ip.payload())
        };
        let view = TcpView::parse(src, dst, tcp, RxChecksum::Unknown).expect("TCP");
        let header = view.header();
        let offset = header.seq.wrapping_sub(0xffff_f000) as usize;
        let payload = &whole.bytes()[whole.segment_len(0) - 1_000..];
        assert_eq!(view.payload(), &payload[offset..offset + 1_000]);
        assert_eq!(
            bytes[bytes.len() - tcp.len() + 13] & 0x80 != 0,
            offset == 0,
            "CWR"
        );
        assert_eq!(
            bytes[bytes.len() - tcp.len() + 13] & 9 != 0,
            offset == 59_000,
            "FIN"
        );
    }
}

#[test]
fn a_corrupted_segment_differs_in_one_bit_and_its_checksum_tells() {
    let whole = super_packet(false, 20_000, 1_000);
    let mut wire = wire("corrupt=20%");
    for _ in 0..50 {
        wire.push(whole.clone(), ms(0));
    }
    let mut wrong = 0;
    for (_, run) in drain(&mut wire) {
        for index in 0..run.segments() {
            let mut segment = run.run(index..index + 1);
            segment.finish();
            let bytes = segment.bytes();
            let transport = &bytes[20..];
            let outline = Outline::read(bytes);
            let is_right = verify(&bytes[..20])
                && outline.is_some_and(|o| verify_transport(o.src, o.dst, o.proto, transport));
            wrong += u64::from(!is_right);
        }
    }
    // A bit of the fields that say how long the packet is may make it unreadable; then it counts as wrong, too.
    assert_eq!(wrong, wire.stats().corrupted);
    assert!((150..250).contains(&wrong), "{wrong}, seed {SEED}");
}

#[test]
fn udp_super_packets_are_cut_with_lengths_and_checksums_of_their_own() {
    let mut bytes = vec![0; 28 + 5_000];
    bytes[0] = 0x45;
    bytes[2..4].copy_from_slice(&5_028_u16.to_be_bytes());
    (bytes[6], bytes[8], bytes[9]) = (0x40, 64, 17);
    bytes[12..20].copy_from_slice(&[10, 77, 0, 1, 10, 77, 0, 2]);
    bytes[20..26].copy_from_slice(&[0, 9, 0, 7, (5_008_u16 >> 8) as u8, 5_008_u16 as u8]);
    let checksum = Checksum::Partial {
        start: 20,
        offset: 6,
    };
    let whole = Frame::new(bytes, checksum, 1_200);
    assert_eq!(whole.segments(), 5);
    for (index, len) in [1_200, 1_200, 1_200, 1_200, 200].into_iter().enumerate() {
        let mut segment = whole.run(index..index + 1);
        segment.finish();
        let bytes = segment.bytes();
        assert_eq!((bytes.len(), segment.gso_size()), (28 + len, 0));
        assert_eq!(u16::from_be_bytes([bytes[24], bytes[25]]) as usize, 8 + len);
        let outline = Outline::read(bytes).expect("a packet");
        assert!(verify(&bytes[..20]));
        assert!(verify_transport(
            outline.src,
            outline.dst,
            outline.proto,
            &bytes[20..]
        ));
    }
}

#[test]
fn a_packet_that_is_too_big_is_answered_as_a_router_does() {
    let mut link = wire("mtu=1280");
    let answer = link
        .push(super_packet(false, 5_000, 1_448), ms(0))
        .expect("an answer");
    let ip = IpPacket::<Ipv4>::parse(answer.bytes()).expect("IPv4");
    assert_eq!(
        (ip.src().octets(), ip.dst().octets()),
        ([10, 77, 0, 2], [10, 77, 0, 1])
    );
    // Fragmentation needed, next-hop MTU 1280; it quotes the first segment.
    assert_eq!(ip.payload()[..2], [3, 4]);
    assert_eq!(ip.payload()[6..8], 1_280_u16.to_be_bytes());
    assert_eq!(ip.payload()[8..12], [0x45, 0, 5, 220]);
    assert!(verify(ip.payload()));

    let answer = link
        .push(super_packet(true, 5_000, 1_448), ms(0))
        .expect("an answer");
    let ip = IpPacket::<Ipv6>::parse(answer.bytes()).expect("IPv6");
    assert_eq!(ip.payload()[..2], [2, 0]);
    assert_eq!(ip.payload()[4..8], 1_280_u32.to_be_bytes());
    assert!(answer.bytes().len() <= 1_280);
    assert_eq!((link.stats().too_big, link.stats().delivered), (8, 0));

    let mut hole = wire("mtu=1280,too-big=silent");
    assert!(hole.push(packet(1_281, 0), ms(0)).is_none());
    assert!(hole.push(packet(1_280, 0), ms(0)).is_none());
    assert_eq!((hole.stats().too_big, drain(&mut hole).len()), (1, 1));
}

#[test]
fn an_ipv4_packet_that_may_be_cut_is() {
    let mut bytes = packet(4_000, 0).into_bytes();
    bytes[6] = 0;
    for (at, byte) in bytes[20..].iter_mut().enumerate() {
        *byte = at as u8;
    }
    let mut wire = wire("mtu=1000");
    assert!(wire.push(Frame::bare(bytes.clone()), ms(0)).is_none());
    let mut whole = Vec::new();
    let fragments = drain(&mut wire);
    for (index, (_, fragment)) in fragments.iter().enumerate() {
        let part = fragment.bytes();
        assert!(part.len() <= 1_000 && verify(&part[..20]));
        let field = u16::from_be_bytes([part[6], part[7]]);
        assert_eq!(usize::from(field & 0x1fff) * 8, whole.len());
        assert_eq!(field & 0x2000 != 0, index + 1 < fragments.len());
        whole.extend_from_slice(&part[20..]);
    }
    assert_eq!(whole, bytes[20..]);
    assert_eq!(wire.stats().fragmented, 1);
}

#[test]
fn errors_and_groups_are_not_answered() {
    let mut wire = wire("mtu=100");
    let mut error = packet(500, 0).into_bytes();
    // An ICMP error.
    (error[9], error[20]) = (1, 3);
    assert!(wire.push(Frame::bare(error), ms(0)).is_none());
    let mut group = packet(500, 0).into_bytes();
    group[16] = 224;
    assert!(wire.push(Frame::bare(group), ms(0)).is_none());
    assert_eq!(wire.stats().too_big, 2);
}

#[test]
fn a_change_concerns_what_comes_and_what_waits() {
    let mut wire = wire("rate=8kbit,delay=50ms");
    for _ in 0..3 {
        wire.push(packet(1_000, 0), ms(0));
    }
    assert_eq!(wire.next(), Some(ms(1_000)));
    wire.set("delay=10ms".parse().expect("known"), ms(500));
    let times: Vec<Duration> = drain(&mut wire).iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [ms(510); 3], "without a rate nothing waits");
}

#[test]
fn what_is_on_the_way_is_bounded() {
    let mut wire = wire("delay=10m");
    for _ in 0..6_000 {
        wire.push(super_packet(false, 60_000, 1_448), ms(0));
    }
    let stats = wire.stats();
    assert!(
        stats.overflowed > 0 && stats.in_flight < 250_000,
        "{stats:?}"
    );
}

#[test]
fn no_bytes_are_a_reason_to_panic() {
    let mut state = SEED;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize
    };
    let mut wire = wire(
        "rate=1gbit,loss=10%,corrupt=30%,duplicate=10%,reorder=10%,mark=1p,mtu=200,queue=50p,drop=head",
    );
    for round in 0..20_000 {
        let len = random() % 600;
        let mut bytes: Vec<u8> = (0..len).map(|_| random() as u8).collect();
        if let Some(first) = bytes.first_mut() {
            *first = if random() % 2 == 0 { 0x45 } else { 0x60 };
        }
        if len > 20 && random() % 2 == 0 {
            bytes[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            bytes[9] = if random() % 2 == 0 { 6 } else { 17 };
            bytes[6] = 0;
        }
        let checksum = match random() % 3 {
            0 => Checksum::Complete,
            1 => Checksum::Vouched,
            _ => Checksum::Partial {
                start: random() as u16,
                offset: random() as u16,
            },
        };
        let gso = (random() % 300) as u16;
        wire.push(Frame::new(bytes, checksum, gso), us(round * 10));
        while wire.pop(us(round * 10)).is_some() {}
    }
    let stats = wire.stats();
    assert!(stats.delivered > 1_000, "{stats:?}");
}
