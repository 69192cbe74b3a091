//! Packets pass in both directions, queues are bounded, and dropping one end ends every wait.

use futures::{SinkExt, StreamExt as _};
use packet::Payload;
use packet::checksum::RxChecksum;
use packet::frame::ChecksumOffload;

use super::super::udp_runs::tests::datagram;
use bytes::Bytes;

use super::super::cut;
use super::*;

fn small(queue: usize) -> (ChannelDevice, PacketPipe, Buffers, Counters) {
    let config = ChannelConfig {
        mtu: 1280,
        to_stack: queue,
        from_stack: queue,
        ..ChannelConfig::default()
    };
    let (device, pipe) = channel(config);
    (device, pipe, Buffers::new(2048, 8, 64), Counters::new())
}

fn packet(bytes: &'static [u8]) -> TxPacket {
    TxPacket {
        payload: Payload::from(Bytes::from_static(bytes)).into(),
        ..TxPacket::default()
    }
}

#[tokio::test]
async fn packets_get_through_both_ways() {
    let (mut device, mut pipe, buffers, counters) = small(4);
    pipe.send("to the stack").await.expect("room");
    let mut out = Vec::new();
    let now = Instant::from_millis(3);
    let count = device
        .recv_batch(&mut out, 8, &buffers, now, &counters)
        .expect("receive");
    assert_eq!((count, &out[0].data[..]), (1, &b"to the stack"[..]));
    assert_eq!(out[0].checksum, RxChecksum::Unknown);
    assert_eq!(out[0].arrived_nanos, now.as_nanos());

    let mut finished = packet(b"from\0\0the stack");
    finished.offload.checksum = Some(ChecksumOffload {
        start: 0,
        offset: 4,
    });
    device
        .send_batch(&mut vec![finished, packet(b"second")], &counters)
        .expect("send");
    let first = pipe.recv().await.expect("first");
    assert!(packet::checksum::verify(&first), "finished on the way");
    assert_eq!(pipe.recv().await.expect("second"), "second");
    assert_eq!(pipe.try_recv(), None);
    assert_eq!(counters.count(Counter::PacketsOut), 2);
    assert_eq!(counters.count(Counter::BytesIn), 12);
}

#[test]
fn equal_datagrams_are_one_packet_for_a_carrier_of_super_packets() {
    let framed = |from_stack| {
        channel(ChannelConfig {
            framing: Framing::VirtioNet,
            from_stack,
            ..ChannelConfig::default()
        })
    };
    let (here, peer, other) = ("10.0.0.1:7", "10.0.0.2:4000", "10.0.0.2:4001");
    let burst = || {
        let mut batch = vec![datagram(here, peer, &[7; 64]); 5];
        batch.push(datagram(here, peer, &[8; 65]));
        batch.push(datagram(here, other, &[9; 65]));
        batch
    };
    let counters = Counters::new();
    let (mut device, mut pipe) = framed(8);
    device.send_batch(&mut burst(), &counters).expect("sent");
    let bytes: usize = burst().iter().map(TxPacket::len).sum();
    assert_eq!(counters.count(Counter::PacketsOut), 7);
    assert_eq!(counters.count(Counter::BytesOut), bytes as u64);

    // Another stack takes them for what they stand for.
    let (mut device, mut into) = framed(8);
    while let Some(packet) = pipe.try_recv() {
        into.try_send(packet).expect("room");
    }
    let buffers = Buffers::new(65_600, 8, 8);
    let mut got = Vec::new();
    device
        .recv_batch(&mut got, 8, &buffers, Instant::ZERO, &counters)
        .expect("received");
    let got: Vec<_> = got.iter().map(|p| (p.data.len(), p.gso_size)).collect();
    assert_eq!(got, [(28 + 5 * 64, 64), (28 + 65, 0), (28 + 65, 0)]);

    // Without room each of them is lost, and counted.
    let counters = Counters::new();
    let (mut device, pipe) = framed(1);
    device
        .send_batch(&mut vec![datagram(here, other, b"first")], &counters)
        .expect("sent");
    device.send_batch(&mut burst(), &counters).expect("sent");
    assert_eq!(counters.count(Counter::PacketsOut), 1);
    assert_eq!(counters.dropped(DropReason::TransmitFailed), 7);
    assert_eq!(pipe.into_split().0.dropped(), 7);
}

#[tokio::test]
async fn full_queues_drop_one_way_and_wait_the_other() {
    let (mut device, pipe, buffers, counters) = small(2);
    let (mut receiver, mut sender) = pipe.into_split();
    let mut batch = vec![packet(b"1"), packet(b"2"), packet(b"3")];
    device.send_batch(&mut batch, &counters).expect("send");
    assert_eq!(receiver.dropped(), 1);
    assert_eq!(counters.dropped(DropReason::TransmitFailed), 1);
    assert_eq!(receiver.recv().await.expect("first"), "1");

    sender.try_send("1").expect("room");
    sender.try_send("2").expect("room");
    let full = sender.try_send("3").expect_err("full");
    assert_eq!(full, SendError::Full("3".into()));
    let mut waiting = Box::pin(sender.send("3"));
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    let mut out = Vec::new();
    device
        .recv_batch(&mut out, 1, &buffers, Instant::ZERO, &counters)
        .expect("receive");
    waiting.await.expect("there is room now");
    device
        .recv_batch(&mut out, 8, &buffers, Instant::ZERO, &counters)
        .expect("receive");
    let seen: Vec<_> = out.iter().map(|packet| packet.data.to_vec()).collect();
    assert_eq!(seen, [b"1", b"2", b"3"]);
}

#[tokio::test]
async fn what_does_not_fit_the_mtu_goes_neither_way() {
    let (mut device, mut pipe, _, counters) = small(2);
    let error = pipe.try_send(vec![0; 1281]).expect_err("too big");
    assert_eq!(
        error,
        SendError::TooBig {
            len: 1281,
            max: 1280
        }
    );
    assert!(error.to_string().contains("1280"));
    device
        .send_batch(&mut vec![packet(&[0; 1281])], &counters)
        .expect("send");
    assert_eq!(counters.dropped(DropReason::TooBig), 1);
    assert_eq!(pipe.try_recv(), None);
}

#[tokio::test]
async fn the_end_of_the_stack_ends_the_pipe() {
    let (mut device, pipe, _, counters) = small(1);
    let (mut receiver, mut sender) = pipe.into_split();
    device
        .send_batch(&mut vec![packet(b"last")], &counters)
        .expect("send");
    sender.try_send("fills the queue").expect("room");
    let waiting = tokio::spawn(async move { sender.send("never").await });
    let receiving = tokio::spawn(async move { (receiver.recv().await, receiver.recv().await) });
    tokio::task::yield_now().await;
    drop(device);
    assert_eq!(waiting.await.expect("task"), Err(SendError::Closed));
    assert_eq!(receiving.await.expect("task"), (Some("last".into()), None));
}

#[test]
fn the_end_of_the_pipe_ends_the_device_after_the_last_packet() {
    let (mut device, mut pipe, buffers, counters) = small(4);
    pipe.try_send("last").expect("room");
    drop(pipe);
    let mut out = Vec::new();
    let mut receive =
        |out: &mut Vec<RxPacket>| device.recv_batch(out, 8, &buffers, Instant::ZERO, &counters);
    assert_eq!(receive(&mut out).expect("still there"), 1);
    let error = receive(&mut out).expect_err("gone");
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    let mut batch = vec![packet(b"nobody")];
    device.send_batch(&mut batch, &counters).expect_err("gone");
    assert!(batch.is_empty());
    assert_eq!(counters.dropped(DropReason::TransmitFailed), 1);
}

#[test]
fn every_packet_needs_memory_of_the_stack() {
    let (mut device, mut pipe) = channel(ChannelConfig {
        mtu: 9000,
        ..ChannelConfig::default()
    });
    let buffers = Buffers::with_limit(16_384, 2_300, 0);
    let counters = Counters::new();
    for len in [100, 9000, 100] {
        pipe.try_send(vec![0; len]).expect("room");
    }
    let mut out = Vec::new();
    device
        .recv_batch(&mut out, 8, &buffers, Instant::ZERO, &counters)
        .expect("receive");
    assert_eq!(out.len(), 1);
    assert_eq!(counters.dropped(DropReason::NoReceiveBuffer), 2);
}

/// A stack on a thread of its own echoes what a task sends through the `Sink` and reads from the
/// `Stream`; a lost wake-up on either side would hang.
#[test]
fn streams_and_sinks_work_across_threads() {
    const PACKETS: u32 = 20_000;
    let (mut device, pipe, buffers, counters) = small(16);
    let stack = std::thread::spawn(move || {
        let mut received = Vec::new();
        loop {
            let end = device
                .recv_batch(&mut received, 8, &buffers, Instant::ZERO, &counters)
                .is_err();
            let full = received.len() == 8;
            let mut batch: Vec<_> = received
                .drain(..)
                .map(|packet| TxPacket {
                    payload: packet.data.into(),
                    ..TxPacket::default()
                })
                .collect();
            if end || device.send_batch(&mut batch, &counters).is_err() {
                return counters;
            }
            // A full batch says nothing of what is still queued: park only after a batch that was not.
            if !full {
                device.park(Some(Duration::from_secs(60))).expect("park");
            }
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("runtime");
    runtime.block_on(async {
        let (mut receiver, mut sender) = pipe.into_split();
        let mut expected = 0_u32;
        for number in 0..PACKETS {
            let bytes = Bytes::copy_from_slice(&number.to_be_bytes());
            SinkExt::send(&mut sender, bytes)
                .await
                .expect("the stack is there");
            // Fewer under way than the queues hold: none is dropped, each must come back.
            while number + 1 - expected > 8 || (number + 1 == PACKETS && expected < PACKETS) {
                let bytes = receiver.next().await.expect("the stack is there");
                assert_eq!(bytes[..], expected.to_be_bytes());
                expected += 1;
            }
        }
    });
    let counters = stack.join().expect("stack");
    assert_eq!(counters.count(Counter::PacketsIn), u64::from(PACKETS));
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(std::sync::atomic::AtomicUsize);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn batches_go_in_as_far_as_there_is_room_and_come_out_together() {
    let config = ChannelConfig {
        to_stack: 4,
        ..ChannelConfig::default()
    };
    let (mut device, pipe) = channel(config);
    let (mut receiver, mut sender) = pipe.into_split();
    let packet = |n: u8| Bytes::from(vec![n; 20]);
    let mut batch: Vec<Bytes> = (0..6).map(packet).collect();
    assert_eq!(sender.try_send_many(&mut batch), Ok(4));
    assert_eq!(batch, [packet(4), packet(5)]);
    assert_eq!(sender.try_send_many(&mut batch), Ok(0), "full");
    // A packet that is too long is taken out alone.
    let mut long = vec![Bytes::from(vec![0; 1_421]), packet(9)];
    assert!(matches!(
        sender.try_send_many(&mut long),
        Err(SendError::TooBig { len: 1_421, .. })
    ));
    assert_eq!(long, [packet(9)]);
    // Behind others it waits for the next call.
    let mut long = vec![packet(1), Bytes::from(vec![0; 1_421]), packet(9)];
    let (_device, other) = channel(config);
    let (_, mut other) = other.into_split();
    assert_eq!(other.try_send_many(&mut long), Ok(1));
    assert_eq!(long.len(), 2);
    assert!(matches!(
        other.try_send_many(&mut long),
        Err(SendError::TooBig { len: 1_421, .. })
    ));
    assert_eq!(other.try_send_many(&mut long), Ok(1));

    let (buffers, counters) = (Buffers::new(2048, 16, 16), Counters::new());
    let mut received = Vec::new();
    device
        .recv_batch(&mut received, 32, &buffers, Instant::ZERO, &counters)
        .expect("open");
    assert_eq!(received.len(), 4);

    let mut out: Vec<TxPacket> = (0..5)
        .map(|n| TxPacket {
            payload: Payload::from(packet(n)).into(),
            ..TxPacket::default()
        })
        .collect();
    device.send_batch(&mut out, &counters).expect("open");
    let mut got = Vec::new();
    let cx = &mut Context::from_waker(std::task::Waker::noop());
    let many = std::pin::pin!(receiver.recv_many(&mut got, 3)).poll(cx);
    assert_eq!(many, Poll::Ready(3));
    assert_eq!(got, [packet(0), packet(1), packet(2)]);
    drop(device);
    let rest = std::pin::pin!(receiver.recv_many(&mut got, 9)).poll(cx);
    assert_eq!(rest, Poll::Ready(2));
    let end = std::pin::pin!(receiver.recv_many(&mut got, 9)).poll(cx);
    assert_eq!(end, Poll::Ready(0));
}

#[test]
fn each_clone_of_a_sender_is_woken_and_the_last_one_closes() {
    let config = ChannelConfig {
        to_stack: 1,
        ..ChannelConfig::default()
    };
    let (mut device, pipe) = channel(config);
    let (receiver, mut sender) = pipe.into_split();
    let mut clones = [sender.clone(), sender.clone()];
    sender.try_send(vec![0; 20]).expect("room");
    let woken: [Arc<Woken>; 2] = Default::default();
    for (clone, woken) in clones.iter_mut().zip(&woken) {
        let waker = std::task::Waker::from(Arc::clone(woken));
        // Polled twice, it waits once.
        for _ in 0..2 {
            assert!(
                clone
                    .poll_ready(&mut Context::from_waker(&waker))
                    .is_pending()
            );
        }
    }
    let (buffers, counters) = (Buffers::new(2048, 16, 16), Counters::new());
    let receive = |device: &mut ChannelDevice| {
        device.recv_batch(&mut Vec::new(), 32, &buffers, Instant::ZERO, &counters)
    };
    assert_eq!(receive(&mut device).expect("open"), 1);
    for woken in &woken {
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    }
    drop((sender, receiver));
    assert!(receive(&mut device).is_ok(), "a sender is left");
    drop(clones);
    assert!(receive(&mut device).is_err(), "none is left");
}

#[test]
fn a_super_segment_comes_out_as_one_run() {
    let (mut stack, pipe) = channel(ChannelConfig::default());
    let (mut receiver, _sender) = pipe.into_split();
    let flags = packet::tcp::TcpFlags::ACK;
    let packet = cut::tests::super_segment(false, &[4_500], 1_000, flags);
    let payload = packet.payload.to_vec();
    let counters = Counters::new();
    stack
        .send_batch(&mut vec![packet.clone(), packet], &counters)
        .expect("open");
    let cx = &mut Context::from_waker(std::task::Waker::noop());
    let Poll::Ready(Some(run)) = receiver.poll_recv_run(cx) else {
        panic!("no run");
    };
    let header = run.packet_len() - 1_000;
    assert_eq!((run.packets(), run.bytes().len()), (5, 5 * header + 4_500));
    let joined: Vec<u8> = run.flat_map(|packet| packet[header..].to_vec()).collect();
    assert!(joined == payload);
    // The same packets, one by one: what is left of a run comes as a run.
    assert_eq!(
        receiver.try_recv().expect("the first").len(),
        header + 1_000
    );
    let Poll::Ready(Some(rest)) = receiver.poll_recv_run(cx) else {
        panic!("no rest");
    };
    assert_eq!(rest.packets(), 4);
    assert_eq!(counters.count(Counter::PacketsOut), 10);
}

#[test]
fn a_flow_keeps_its_queue_in_both_directions_and_fragments_keep_theirs() {
    let (devices, sender, receivers) = channel_queues(ChannelConfig::default(), 4);
    assert_eq!((devices.len(), receivers.len()), (4, 4));
    let packet = |src: [u8; 4], dst: [u8; 4], ports: [u16; 2], fragment: [u8; 2]| {
        let mut bytes = vec![0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0];
        bytes[6..8].copy_from_slice(&fragment);
        bytes.extend(src);
        bytes.extend(dst);
        bytes.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
        bytes.resize(40, 0);
        bytes
    };
    let (a, b) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    let mut used = [0; 4];
    for port in 1_000..1_400 {
        let there = sender.queue_of(&packet(a, b, [port, 80], [0, 0]));
        assert_eq!(there, sender.queue_of(&packet(b, a, [80, port], [0, 0])));
        used[there] += 1;
    }
    assert!(used.iter().all(|flows| *flows > 40), "{used:?}");
    let first = sender.queue_of(&packet(a, b, [7, 80], [0x20, 0]));
    let later = sender.queue_of(&packet(a, b, [0x1234, 0x5678], [0, 64]));
    assert_eq!(first, later);
    assert_eq!(sender.queue_of(b"no packet"), 0);
}

/// A sender that fills the queue and waits again whenever it is woken, before the device goes on.
struct Eager {
    /// The sender, while it is not in use.
    sender: SegQueue<PacketSender>,
    woken: AtomicUsize,
}

impl std::task::Wake for Eager {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_add(1, Ordering::Relaxed);
        assert!(self.woken.load(Ordering::Relaxed) < 100, "woken for ever");
        let waker = Arc::clone(&self).into();
        let Some(mut sender) = self.sender.pop() else {
            return;
        };
        while sender.try_send("more").is_ok() {}
        assert!(
            sender
                .poll_ready(&mut Context::from_waker(&waker))
                .is_pending()
        );
        self.sender.push(sender);
    }
}

#[test]
fn a_sender_that_waits_again_at_once_is_woken_once_for_each_batch() {
    let (mut device, pipe, buffers, counters) = small(2);
    let (_receiver, sender) = pipe.into_split();
    let eager = Arc::new(Eager {
        sender: SegQueue::new(),
        woken: AtomicUsize::new(0),
    });
    eager.sender.push(sender);
    std::task::Wake::wake(Arc::clone(&eager));
    for batch in 1..=3 {
        let taken = device
            .recv_batch(&mut Vec::new(), 8, &buffers, Instant::ZERO, &counters)
            .expect("open");
        assert_eq!((taken, eager.woken.load(Ordering::Relaxed)), (2, 1 + batch));
    }
    drop(eager.sender.pop());
}

#[test]
fn packets_for_which_there_is_no_room_stay_in_their_list() {
    let (_device, pipe, _, _) = small(2);
    let (_receiver, mut sender) = pipe.into_split();
    let mut packets: Vec<Bytes> = ["1", "2", "3", "4"].map(Bytes::from).to_vec();
    assert_eq!(sender.try_send_many(&mut packets), Ok(2));
    assert_eq!(packets, ["3", "4"]);
    assert_eq!(sender.try_send_many(&mut packets), Ok(0));
    assert_eq!(packets, ["3", "4"]);
}

#[test]
fn a_turn_that_read_a_packet_is_not_due_again_for_it() {
    let (mut device, pipe, buffers, counters) = small(4);
    let (_receiver, mut sender) = pipe.into_split();
    let cx = &mut Context::from_waker(std::task::Waker::noop());
    let read = |device: &mut ChannelDevice, max| {
        device
            .recv_batch(&mut Vec::new(), max, &buffers, Instant::ZERO, &counters)
            .expect("open")
    };
    assert!(device.poll_park(cx).is_pending());
    sender.try_send(&b"1"[..]).expect("room");
    sender.try_send(&b"2"[..]).expect("room");
    assert_eq!(read(&mut device, 1), 1);
    assert!(device.poll_park(cx).is_ready(), "one is left");
    assert_eq!(read(&mut device, 8), 1);
    assert!(device.poll_park(cx).is_pending(), "none is left");
    sender.try_send(&b"3"[..]).expect("room");
    assert!(device.poll_park(cx).is_ready());
    assert_eq!(read(&mut device, 8), 1);
    // Whoever drops both ends is heard, though the turn that saw it found packets.
    sender.try_send(&b"4"[..]).expect("room");
    drop((sender, _receiver));
    assert_eq!(read(&mut device, 8), 1);
    assert!(device.poll_park(cx).is_ready(), "the program is gone");
}
