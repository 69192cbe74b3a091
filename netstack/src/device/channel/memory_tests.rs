//! Memory of the stack that the program fills, and that packets to it are in.

use bytes::Bytes;

use super::super::udp_runs::tests::datagram;
use super::super::{cut, linear};
use super::*;
use crate::device::cut::Cut;

/// Returns memory for a packet with `bytes` in it.
fn filled(sender: &PacketSender, bytes: &[u8]) -> PacketBuffer {
    let mut buffer = sender.packet_buffer();
    buffer[..bytes.len()].copy_from_slice(bytes);
    buffer.truncate(bytes.len());
    buffer
}

#[test]
fn a_packet_in_memory_of_the_stack_is_taken_as_it_is() {
    let config = ChannelConfig {
        mtu: 9_000,
        ..ChannelConfig::default()
    };
    let (mut device, pipe) = channel(config);
    let (_receiver, mut sender) = pipe.into_split();
    let (buffers, counters) = (Buffers::new(9_100, 8, 8), Counters::new());
    let turn = |device: &mut ChannelDevice| {
        let mut received = Vec::new();
        device
            .recv_batch(&mut received, 32, &buffers, Instant::ZERO, &counters)
            .expect("open");
        received
    };
    // The stack has not turned yet: the memory is the program's, and the packet is copied.
    let early = filled(&sender, &[1; 3_000]);
    assert_eq!(early.len(), 3_000);
    assert_eq!(sender.try_send_buffers(&mut vec![early]), Ok(1));
    assert_eq!(turn(&mut device)[0].data[..], [1; 3_000]);

    let long = filled(&sender, &[2; 3_000]);
    assert_eq!(
        (buffers.large().in_use(), sender.packet_buffer().len()),
        (1, 9_000)
    );
    let at = long.as_ptr();
    let short = filled(&sender, &[3; 30]);
    assert_eq!(sender.try_send_buffers(&mut vec![long, short]), Ok(2));
    let received = turn(&mut device);
    assert_eq!(
        (received[0].data.len(), received[1].data.len()),
        (3_000, 30)
    );
    assert_eq!(received[0].data.as_ptr(), at, "no copy");
    // A short packet does not keep a long slab.
    assert_eq!((buffers.large().in_use(), buffers.small().in_use()), (1, 1));
    drop(received);

    // Those for which there is no room stay in the list, as they are.
    let mut packets: Vec<_> = (0..600).map(|_| filled(&sender, b"packet")).collect();
    assert_eq!(sender.try_send_buffers(&mut packets), Ok(512));
    assert_eq!(packets.len(), 88);
    assert!(packets.iter().all(|packet| **packet == *b"packet"));
}

#[test]
fn memory_of_another_stack_is_copied() {
    let (mut device, pipe) = channel(ChannelConfig::default());
    let (_receiver, mut sender) = pipe.into_split();
    let (first, second) = (Buffers::new(2_048, 4, 4), Buffers::new(2_048, 4, 4));
    let counters = Counters::new();
    let mut received = Vec::new();
    let mut turn = |buffers: &Buffers, received: &mut Vec<_>| {
        device
            .recv_batch(received, 32, buffers, Instant::ZERO, &counters)
            .expect("open");
    };
    turn(&first, &mut received);
    let packet = filled(&sender, b"packet");
    assert_eq!(first.small().in_use(), 1);
    assert_eq!(sender.try_send_buffers(&mut vec![packet]), Ok(1));
    turn(&second, &mut received);
    assert_eq!(received[0].data[..], *b"packet");
    assert_eq!((first.small().in_use(), second.small().in_use()), (0, 1));
}

#[test]
fn a_long_packet_goes_out_in_memory_that_comes_back() {
    let (mut stack, pipe) = channel(ChannelConfig::default());
    let (mut receiver, _sender) = pipe.into_split();
    let (buffers, counters) = (Buffers::new(65_600, 2, 4), Counters::new());
    stack
        .recv_batch(&mut Vec::new(), 32, &buffers, Instant::ZERO, &counters)
        .expect("open");
    let of = |len| cut::tests::super_segment(false, &[len], 1_000, packet::tcp::TcpFlags::ACK);
    // The third long one finds no slab, and goes out all the same. A short one is not worth one.
    let mut batch = vec![of(4_500), of(20_000), of(20_000), of(20_000)];
    stack.send_batch(&mut batch, &counters).expect("open");
    assert_eq!(buffers.large().in_use(), 2);
    let packets: Vec<Bytes> = std::iter::from_fn(|| receiver.try_recv()).collect();
    assert_eq!(packets.len(), 5 + 3 * 20);
    drop(packets);
    assert_eq!(buffers.large().in_use(), 0);
}

#[test]
fn packets_of_one_batch_share_memory_and_keep_their_order() {
    let counters = Counters::new();
    let of = |lens: &[usize]| -> Vec<TxPacket> {
        let one = |len: &usize| datagram("10.0.0.1:1", "10.0.0.2:2", &vec![*len as u8; *len]);
        lens.iter().map(one).collect()
    };
    let super_segment =
        cut::tests::super_segment(false, &[2_500], 1_000, packet::tcp::TcpFlags::ACK);
    for slabs in [0, 8] {
        let (mut stack, pipe) = channel(ChannelConfig::default());
        let (mut receiver, _sender) = pipe.into_split();
        let buffers = Buffers::new(65_600, slabs, 4);
        stack
            .recv_batch(&mut Vec::new(), 32, &buffers, Instant::ZERO, &counters)
            .expect("open");
        let mut batch = of(&[1_200; 12]);
        batch.extend(of(&[40, 1_300, 1_300]));
        batch.push(super_segment.clone());
        // One that is too long, and more than one slab holds.
        batch.extend(of(&[1_400]));
        batch.extend(of(&[1_100; 75]));
        let mut expected = Vec::new();
        for packet in &batch {
            match packet.offload.segment {
                None if packet.len() <= 1_420 => {
                    let mut bytes = vec![0; packet.len()];
                    linear::write_to(packet, &mut bytes).expect("whole");
                    expected.push(Bytes::from(bytes));
                }
                None => {}
                Some(_) => {
                    let lender = Lender::default();
                    let mut cut = Cut::new(packet).expect("cuttable");
                    let run = cut.next_run(&mut OutMemory::new(), &lender);
                    expected.extend(run.expect("a run").expect("cuttable"));
                }
            }
        }
        stack.send_batch(&mut batch, &counters).expect("open");
        assert_eq!(buffers.large().in_use(), slabs.min(3), "slabs in use");
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        let (mut runs, mut packets) = (Vec::new(), Vec::new());
        while let Poll::Ready(Some(run)) = receiver.poll_recv_run(cx) {
            runs.push(run.packets());
            packets.extend(run);
        }
        assert!(packets == expected, "{} packets", packets.len());
        match slabs {
            0 => assert!(runs.iter().all(|&packets| packets == 1 || packets == 3)),
            _ => assert_eq!(runs, [12, 1, 2, 3, 58, 17]),
        }
        drop(packets);
        assert_eq!(buffers.large().in_use(), 0);
        assert_eq!(
            counters.dropped(DropReason::TooBig),
            if slabs == 0 { 1 } else { 2 }
        );
    }
}

#[test]
fn packets_that_wait_hold_little_more_memory_than_they_are() {
    let config = ChannelConfig {
        framing: Framing::VirtioNet,
        ..ChannelConfig::default()
    };
    let (mut device, pipe) = channel(config);
    let (_receiver, mut sender) = pipe.into_split();
    let (buffers, counters) = (Buffers::new(65_600, 600, 600), Counters::new());
    device
        .recv_batch(&mut Vec::new(), 32, &buffers, Instant::ZERO, &counters)
        .expect("open");
    for _ in 0..512 {
        let short = filled(&sender, &[0x45; 60]);
        assert_eq!(sender.try_send_buffers(&mut vec![short]), Ok(1));
    }
    assert_eq!(buffers.large().in_use(), 0, "short packets in long memory");

    // What nobody can make hold less gets no more while memory is short.
    let few = Buffers::with_limit(65_600, 8 * 65_600, 0);
    let (mut device, pipe) = channel(config);
    let (_receiver, sender) = pipe.into_split();
    device
        .recv_batch(&mut Vec::new(), 32, &few, Instant::ZERO, &counters)
        .expect("open");
    let held: Vec<_> = (0..20).map(|_| sender.packet_buffer()).collect();
    let lent = few.large().in_use();
    assert!((1..8).contains(&lent), "{lent} of {}", held.len());
    assert!(
        few.copy(&[7; 60_000]).is_some(),
        "the stack has memory of its own"
    );
}
