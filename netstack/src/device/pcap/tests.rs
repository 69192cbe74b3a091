//! Captures hold the packets they should, and the stack never waits for the writer.

use std::sync::mpsc;

use bytes::Bytes;
use packet::frame::TxPacket;
use packet::{Buffers, Payload};
use pcap_file::pcap::PcapReader;

use super::*;
use crate::base::{Counters, Instant};
use crate::device::memory::{LinkConfig, LinkDevice, pair};

/// A file that sends its content when it is closed.
struct Handed(Vec<u8>, mpsc::Sender<Vec<u8>>);

impl Write for Handed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        let _ = self.1.send(std::mem::take(&mut self.0));
    }
}

fn file() -> (Handed, mpsc::Receiver<Vec<u8>>) {
    let (sender, receiver) = mpsc::channel();
    (Handed(Vec::new(), sender), receiver)
}

/// Returns the packets in a file: time, length on the wire, bytes.
fn read(file: &[u8]) -> Vec<(Duration, u32, Vec<u8>)> {
    let mut reader = PcapReader::new(file).expect("a pcap file");
    assert_eq!(reader.header().datalink, DataLink::RAW);
    assert_eq!(reader.header().ts_resolution, TsResolution::NanoSecond);
    let mut packets = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let packet = packet.expect("a packet");
        packets.push((packet.timestamp, packet.orig_len, packet.data.into_owned()));
    }
    packets
}

fn send(device: &mut impl Device, bytes: &'static [u8], counters: &Counters) {
    let packet = TxPacket {
        payload: Payload::from(Bytes::from_static(bytes)).into(),
        ..TxPacket::default()
    };
    device
        .send_batch(&mut vec![packet], counters)
        .expect("send");
}

fn receive(device: &mut impl Device, now: Instant, counters: &Counters) -> usize {
    let buffers = Buffers::new(2048, 4, 16);
    device
        .recv_batch(&mut Vec::new(), 16, &buffers, now, counters)
        .expect("receive")
}

fn link() -> (LinkDevice, LinkDevice) {
    pair(&LinkConfig::default())
}

#[test]
fn both_directions_are_written_with_their_times() {
    let (out, written) = file();
    let config = CaptureConfig {
        origin: Duration::from_secs(1_700_000_000),
        snaplen: 4,
        ..CaptureConfig::default()
    };
    let capture = Capture::start(out, config).expect("start");
    let (a, mut b) = link();
    let mut a = capture.tap(a);
    let counters = Counters::new();
    assert_eq!(receive(&mut a, Instant::from_nanos(5), &counters), 0);
    send(&mut a, b"hello", &counters);
    send(&mut b, b"hi", &counters);
    assert_eq!(
        receive(&mut a, Instant::from_nanos(1_000_000_007), &counters),
        1
    );
    assert_eq!(
        receive(&mut b, Instant::ZERO, &counters),
        1,
        "tapped, and sent"
    );
    let report = capture.finish().expect("written");
    let file = written.recv().expect("closed");
    let origin = config.origin;
    let expected = [
        (origin + Duration::from_nanos(5), 5, b"hell".to_vec()),
        (
            origin + Duration::from_nanos(1_000_000_007),
            2,
            b"hi".to_vec(),
        ),
    ];
    assert_eq!(read(&file), expected);
    let counted = CaptureReport {
        packets: 2,
        bytes: file.len() as u64,
        missed: 0,
    };
    assert_eq!(report, counted);
    // The tap outlives the capture and stays a device.
    send(&mut a, b"uncaptured", &counters);
    assert_eq!(receive(&mut b, Instant::ZERO, &counters), 1);
}

#[test]
fn the_limit_holds_to_the_byte() {
    let (out, written) = file();
    let config = CaptureConfig {
        max_bytes: Some(24 + 2 * (16 + 4) + 19),
        ..CaptureConfig::default()
    };
    let capture = Capture::start(out, config).expect("start");
    let (a, _b) = link();
    let mut a = capture.tap(a);
    let counters = Counters::new();
    for _ in 0..5 {
        send(&mut a, b"four", &counters);
    }
    let report = capture.finish().expect("written");
    let file = written.recv().expect("closed");
    assert_eq!((file.len(), read(&file).len()), (24 + 2 * 20, 2));
    assert_eq!(report.packets + report.missed, 5);
}

#[test]
fn a_writer_that_fails_is_told_once_and_stops_nothing() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let capture = Capture::start(Full, CaptureConfig::default()).expect("start");
    let (a, mut b) = link();
    let mut a = capture.tap(a);
    let counters = Counters::new();
    for _ in 0..3 {
        send(&mut a, &[0; 1400], &counters);
    }
    assert_eq!(receive(&mut b, Instant::ZERO, &counters), 3);
    let error = capture.finish().expect_err("said so");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn a_writer_that_hangs_costs_packets_of_the_capture_only() {
    struct Hangs(mpsc::Receiver<()>);
    impl Write for Hangs {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Until the other side is dropped.
            let _ = self.0.recv();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let few_packets = CaptureConfig {
        queue_packets: 4,
        ..CaptureConfig::default()
    };
    let few_bytes = CaptureConfig {
        queue_bytes: 10_000,
        ..CaptureConfig::default()
    };
    for config in [few_packets, few_bytes] {
        let (release, held) = mpsc::channel();
        let capture = Capture::start(Hangs(held), config).expect("start");
        let (a, mut b) = link();
        let mut a = capture.tap(a);
        let counters = Counters::new();
        for _ in 0..50 {
            // More than the file's own buffer holds.
            send(&mut a, &[0; 1400], &counters);
            assert_eq!(receive(&mut b, Instant::ZERO, &counters), 1);
        }
        drop(release);
        let report = capture.finish().expect("written");
        assert_eq!(report.packets + report.missed, 50);
        // What the file's own buffer takes (8 KiB), what the writer has in hand, and what waits.
        assert!(report.missed >= 50 - 6 - 1 - 7, "{report:?}");
    }
}

#[test]
fn a_captured_device_is_waited_for_as_the_device_itself() {
    use crate::device::channel::{ChannelConfig, channel};
    use std::task::{Context, Poll, Waker};

    let (device, mut pipe) = channel(ChannelConfig::default());
    let (out, _written) = file();
    let capture = Capture::start(out, CaptureConfig::default()).expect("start");
    let mut tap = capture.tap(device);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(tap.poll_park(&mut cx), Poll::Pending));
    pipe.try_send(vec![0x45; 20]).expect("room");
    assert!(matches!(tap.poll_park(&mut cx), Poll::Ready(Ok(()))));

    let (mut a, b) = pair(&LinkConfig::default());
    send(&mut a, b"any bytes", &Counters::new());
    let tap = capture.tap(b);
    assert_eq!(Device::next_delivery(&tap), Some(Instant::ZERO));
}
