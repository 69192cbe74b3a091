//! Tests of the queue, its memory, the peer and the error.

use super::*;

fn addr(text: &str) -> SocketAddr {
    text.parse().expect(text)
}

fn received(buffers: &Buffers, len: usize) -> Payload {
    let slab = buffers.large().take().expect("slab");
    slab.freeze(0..len)
}

const TO: SocketAddr = SocketAddr::new(
    core::net::IpAddr::V4(core::net::Ipv4Addr::new(10, 0, 0, 1)),
    53,
);

fn socket(max_datagrams: usize, max_bytes: usize) -> Socket {
    Socket::new(addr("10.0.0.1:53"), max_datagrams, max_bytes)
}

#[test]
fn short_payloads_let_go_of_the_slab() {
    let buffers = Buffers::new(65_600, 4, 2);
    let mut s = socket(16, 1 << 20);
    let cases = [
        (0, 0),
        (1, 2_048),
        (2_048, 2_048),
        // The small slabs are used up, or too short: memory of its own.
        (100, 100),
        (9_000, 9_000),
        (KEEP_SLAB_BYTES - 1, KEEP_SLAB_BYTES - 1),
        (KEEP_SLAB_BYTES, 65_600),
        (65_507, 65_600),
    ];
    for (len, pinned) in cases {
        let before = s.queued_bytes();
        s.deliver(addr("10.0.0.9:7"), TO, received(&buffers, len), &buffers)
            .expect("room");
        let cost = s.queued_bytes() - before - size_of::<Queued>();
        assert_eq!(cost, pinned, "{len}");
    }
    assert_eq!(buffers.large().in_use(), 2);
    for (len, _) in cases {
        assert_eq!(s.recv().map(|d| d.payload.len()), Some(len));
    }
    assert_eq!((s.queued_bytes(), s.queued()), (0, 0));
    assert_eq!(buffers.large().in_use() + buffers.small().in_use(), 0);
}

#[test]
fn a_burst_that_came_in_one_piece_is_received_in_one() {
    let buffers = Buffers::new(65_600, 4, 8);
    let mut s = socket(512, 1 << 20);
    let (from, other) = (addr("10.0.0.9:7"), addr("10.0.0.8:7"));
    let take = |s: &mut Socket| {
        let burst = s.recv_segments().expect("a burst");
        (burst.from, burst.payload.len(), burst.segment)
    };
    // The last one is shorter, and what follows is another piece of memory.
    for _ in 0..2 {
        let payload = received(&buffers, 20_500);
        let outcome = s.deliver_segmented(from, TO, payload, 1_000, &buffers);
        assert_eq!(outcome.delivered, 21);
    }
    let payload = received(&buffers, 40_000);
    s.deliver_segmented(other, TO, payload, 1_000, &buffers);
    assert_eq!(s.queued(), 82);
    for burst in [
        (from, 20_500, 1_000),
        (from, 20_500, 1_000),
        (other, 40_000, 1_000),
    ] {
        assert_eq!(take(&mut s), burst);
    }
    assert_eq!((s.queued(), s.queued_bytes()), (0, 0));
    // Short ones were copied out of the slab; no more than one call sends; one datagram alone, with bytes or without.
    s.deliver_segmented(from, TO, received(&buffers, 30), 10, &buffers);
    s.deliver_segmented(from, TO, received(&buffers, 20_000), 100, &buffers);
    s.deliver(from, TO, received(&buffers, 65_000), &buffers)
        .expect("room");
    s.deliver(from, TO, Payload::default(), &buffers)
        .expect("room");
    for burst in [
        (from, 10, 10),
        (from, 10, 10),
        (from, 10, 10),
        (from, 12_800, 100),
        (from, 7_200, 100),
        (from, 65_000, 65_000),
        (from, 0, 0),
    ] {
        assert_eq!(take(&mut s), burst);
    }
    // What was taken one by one is not given again.
    s.deliver_segmented(from, TO, received(&buffers, 20_000), 1_000, &buffers);
    assert_eq!(s.recv().map(|one| one.payload.len()), Some(1_000));
    assert_eq!(take(&mut s), (from, 19_000, 1_000));
    assert!(s.recv_segments().is_none());
    assert_eq!(buffers.large().in_use() + buffers.small().in_use(), 0);
}

#[test]
fn a_datagram_keeps_its_sender_and_destination() {
    let buffers = Buffers::new(65_600, 4, 8);
    let mut s = socket(16, 1 << 20);
    let from = addr("10.0.0.9:7");
    let broadcast = SocketAddr::from(([10, 0, 0, 255], 53));
    for to in [TO, broadcast] {
        s.deliver(from, to, received(&buffers, 10), &buffers)
            .expect("room");
        let datagram = s.recv().expect("queued");
        assert_eq!((datagram.from, datagram.to), (from, to));
    }
}

#[test]
fn the_queue_is_bounded_by_datagrams_and_by_memory() {
    let buffers = Buffers::new(65_600, 64, 64);
    let from = addr("10.0.0.9:7");
    let mut s = socket(3, 1 << 20);
    for n in 0..5 {
        let result = s.deliver(from, TO, received(&buffers, 10), &buffers);
        assert_eq!(result.is_ok(), n < 3);
    }
    let mut s = socket(1_000, 3 * (2_048 + size_of::<Queued>()));
    for n in 0..5 {
        let result = s.deliver(from, TO, received(&buffers, 10), &buffers);
        let expected = if n < 3 {
            Ok(())
        } else {
            Err(DropReason::UdpQueueFull)
        };
        assert_eq!(result, expected);
    }
    s.recv().expect("one");
    assert_eq!(
        s.deliver(from, TO, received(&buffers, 10), &buffers),
        Ok(())
    );
    // However small the limit, one datagram of any size passes.
    let mut s = socket(0, 0);
    assert_eq!(
        s.deliver(from, TO, received(&buffers, 65_507), &buffers),
        Ok(())
    );
    assert_eq!(
        s.deliver(from, TO, received(&buffers, 0), &buffers),
        Err(DropReason::UdpQueueFull)
    );
}

#[test]
fn segmented_datagrams_share_their_slab() {
    let buffers = Buffers::new(65_600, 4, 64);
    let (from, overhead) = (addr("10.0.0.9:7"), size_of::<Queued>());
    let mut s = socket(100, 1 << 20);
    let bytes: Vec<u8> = (0..60_100u32).map(|n| (n / 1_400) as u8).collect();
    let mut slab = buffers.large().take().expect("slab");
    slab.as_mut_slice()[..bytes.len()].copy_from_slice(&bytes);
    let payload = slab.freeze(0..bytes.len());
    let outcome = s.deliver_segmented(from, TO, payload, 1_400, &buffers);
    assert_eq!((outcome.delivered, outcome.dropped), (43, 0));
    assert_eq!((buffers.large().in_use(), buffers.small().in_use()), (1, 0));
    assert!(
        s.queued_bytes() >= 65_600 + 43 * overhead,
        "all of the slab is counted"
    );
    for n in 0..43 {
        let datagram = s.recv().expect("queued");
        assert_eq!(datagram.payload.len(), if n < 42 { 1_400 } else { 1_300 });
        assert!(datagram.payload.iter().all(|b| *b == n));
    }
    assert_eq!((s.queued_bytes(), buffers.large().in_use()), (0, 0));
    // A short payload is copied out like single datagrams.
    let payload = received(&buffers, 3_000);
    assert_eq!(
        s.deliver_segmented(from, TO, payload, 1_000, &buffers)
            .delivered,
        3
    );
    assert_eq!((buffers.large().in_use(), buffers.small().in_use()), (0, 3));
    // What does not fit is dropped, counted one by one.
    let mut s = socket(2, 1 << 20);
    let outcome = s.deliver_segmented(from, TO, received(&buffers, 60_000), 1_000, &buffers);
    let expected = SegmentedDelivery {
        delivered: 2,
        dropped: 58,
        reason: DropReason::UdpQueueFull,
    };
    assert_eq!(outcome, expected);
    let mut s = socket(100, 1 << 20);
    s.connect(addr("10.0.0.1:53"), addr("10.0.0.8:1"));
    let outcome = s.deliver_segmented(from, TO, received(&buffers, 60_000), 1_000, &buffers);
    let expected = SegmentedDelivery {
        delivered: 0,
        dropped: 60,
        reason: DropReason::UdpNoSocket,
    };
    assert_eq!(outcome, expected);
    // A size of zero ends, too.
    let mut s = socket(10, 1 << 20);
    assert_eq!(
        s.deliver_segmented(from, TO, received(&buffers, 3), 0, &buffers)
            .delivered,
        3
    );
    assert_eq!(
        s.deliver_segmented(from, TO, Payload::default(), 9, &buffers)
            .delivered,
        1
    );
}

#[test]
fn a_connected_socket_hears_only_its_peer() {
    let buffers = Buffers::new(65_600, 4, 8);
    let (peer, other) = (addr("10.0.0.9:7"), addr("10.0.0.8:7"));
    let mut s = socket(16, 1 << 20);
    for from in [peer, other, peer] {
        s.deliver(from, TO, received(&buffers, 10), &buffers)
            .expect("room");
    }
    assert!(!s.on_error(peer, SocketError::Refused), "not connected");
    assert_eq!(s.connect(addr("10.0.0.1:53"), peer), 1);
    assert_eq!(s.queued(), 2);
    assert_eq!(s.queued_bytes(), 2 * (2_048 + size_of::<Queued>()));
    assert_eq!(
        s.deliver(other, TO, received(&buffers, 1), &buffers),
        Err(DropReason::UdpNoSocket)
    );
    assert!(!s.on_error(other, SocketError::Refused));
    assert!(s.on_error(peer, SocketError::Refused));
    assert!(s.is_readable());
    assert_eq!(s.take_error(), Some(SocketError::Refused));
    assert_eq!(s.take_error(), None, "told once");
    s.disconnect(addr("0.0.0.0:53"));
    assert_eq!(s.remote(), None);
    assert!(
        s.deliver(other, TO, received(&buffers, 1), &buffers)
            .is_ok()
    );
}

#[test]
fn a_displaced_socket_accepts_nothing_and_reports_it_each_time() {
    let buffers = Buffers::new(2048, 8, 8);
    let mut s = socket(8, 1 << 20);
    let peer = addr("10.0.0.9:1000");
    s.connect(addr("10.0.0.1:53"), peer);
    for _ in 0..3 {
        let delivered = s.deliver(peer, TO, received(&buffers, 1), &buffers);
        assert_eq!(delivered, Ok(()));
    }
    assert_eq!(s.displace(), 3);
    assert_eq!((s.queued(), s.queued_bytes(), s.pinned()), (0, 0, 0));
    for _ in 0..2 {
        let delivered = s.deliver(peer, TO, received(&buffers, 1), &buffers);
        assert_eq!(delivered, Err(DropReason::UdpNoSocket));
        assert!(s.is_readable());
        assert_eq!(s.take_error(), Some(SocketError::Displaced));
    }
    assert_eq!(s.remote(), None);
}

#[test]
fn a_closed_socket_accepts_nothing() {
    let buffers = Buffers::new(2048, 8, 8);
    let mut s = socket(8, 1 << 20);
    let from = addr("10.0.0.9:1000");
    let deliver = |s: &mut Socket| s.deliver(from, TO, received(&buffers, 1), &buffers);
    assert_eq!(deliver(&mut s), Ok(()));
    assert_eq!(s.close(), 1);
    assert_eq!(deliver(&mut s), Err(DropReason::UdpNoSocket));
    assert_eq!((s.close(), s.take_error()), (0, None));
}

#[test]
fn destinations() {
    let mut s = socket(1, 1);
    let peer = addr("10.0.0.9:7");
    let cases = [
        (None, 0, Err(SendError::NotConnected)),
        (Some(peer), 65_507, Ok(peer)),
        (
            Some(peer),
            65_508,
            Err(SendError::TooLong {
                len: 65_508,
                max: 65_507,
            }),
        ),
        (Some(addr("10.0.0.9:0")), 1, Err(SendError::PortZero)),
        (Some(addr("[fd77::1]:7")), 1, Err(SendError::Family)),
    ];
    for (to, len, expected) in cases {
        assert_eq!(s.destination(to, len), expected);
    }
    s.connect(addr("10.0.0.1:53"), peer);
    assert_eq!(s.destination(None, 1), Ok(peer));
    let other = addr("10.0.0.8:9");
    assert_eq!(s.destination(Some(other), 1), Ok(other));
    let v6 = Socket::new(addr("[fd77::1]:53"), 1, 1);
    assert_eq!(
        v6.destination(Some(addr("[fd77::2]:7")), 65_527),
        Ok(addr("[fd77::2]:7"))
    );
    assert!(v6.destination(Some(addr("[fd77::2]:7")), 65_528).is_err());
    assert_eq!(
        v6.destination(Some(addr("[::ffff:10.0.0.9]:7")), 1),
        Err(SendError::Family),
        "an IPv4 address in IPv6 form is no destination of an IPv6 packet"
    );
}
