//! Packets pass in both directions, queues are bounded, and dropping one end ends every wait.

use futures::{SinkExt, StreamExt as _};
use packet::Payload;
use packet::checksum::RxChecksum;
use packet::frame::ChecksumOffload;

use super::*;

fn small(queue: usize) -> (ChannelDevice, PacketPipe, Buffers, Counters) {
    let config = ChannelConfig {
        mtu: 1280,
        to_stack: queue,
        from_stack: queue,
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
            mtu: 1280
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
    let buffers = Buffers::new(16_384, 0, 1);
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
