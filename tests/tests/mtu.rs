//! The MTU changes under a living stack, in both directions: in memory, over a packet channel, over TUN devices with the
//! kernel as the peer.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream as KernelStream;
use std::net::UdpSocket as KernelUdp;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use netstack::base::{Config, Counters, Instant, LinkCaps};
use netstack::device::channel::{ChannelConfig, PacketPipe, channel};
use netstack::device::memory::{self, LinkConfig};
use netstack::device::{Device, OffloadMode, TunConfig, Unpark, open};
use netstack::engine::sim::Simulation;
use netstack::net::{Stack, TcpListener, TcpStream, UdpSocket};
use netstack::stack::Host;
use packet::Buffers;
use packet::frame::{RxPacket, TxPacket};
use tests::pair::bounded_as as bounded;
use tests::world::{in_namespace, ip};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const LIMIT: Duration = Duration::from_secs(20);

/// A link whose MTU is a number that the test changes. Drops what is longer, as a device must, and notes the longest
/// packet since the number changed last.
struct Changing {
    link: memory::LinkDevice,
    mtu: Arc<AtomicU16>,
    longest: Arc<AtomicUsize>,
}

impl Device for Changing {
    fn caps(&self) -> LinkCaps {
        LinkCaps {
            mtu: self.mtu.load(Ordering::Relaxed),
            ..self.link.caps()
        }
    }

    fn recv_batch(
        &mut self,
        out: &mut Vec<RxPacket>,
        max: usize,
        buffers: &Buffers,
        now: Instant,
        counters: &Counters,
    ) -> io::Result<usize> {
        self.link.recv_batch(out, max, buffers, now, counters)
    }

    fn send_batch(&mut self, batch: &mut Vec<TxPacket>, counters: &Counters) -> io::Result<()> {
        let mtu = usize::from(self.mtu.load(Ordering::Relaxed));
        batch.retain(|packet| packet.len() <= mtu);
        let longest = batch.iter().map(TxPacket::len).max().unwrap_or(0);
        self.longest.fetch_max(longest, Ordering::Relaxed);
        self.link.send_batch(batch, counters)
    }

    fn park(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.link.park(timeout)
    }

    fn poll_park(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.link.poll_park(cx)
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        self.link.unparker()
    }

    fn next_delivery(&self) -> Option<Instant> {
        self.link.next_delivery()
    }
}

/// Two stacks on virtual time; the client's link changes its MTU between `sizes` while it sends. Returns the longest
/// packet of each part of the transfer, and the number of retransmission timeouts.
fn transfer_in_memory(sizes: &[u16], delay: Duration) -> (Vec<usize>, u64) {
    const PART: usize = 400_000;
    let impairment = memory::Impairment {
        delay,
        ..memory::Impairment::default()
    };
    let (a, b) = memory::pair(&LinkConfig {
        mtu: 9_000,
        a_to_b: impairment.clone(),
        b_to_a: impairment,
        ..LinkConfig::default()
    });
    let mtu = Arc::new(AtomicU16::new(sizes[0]));
    let longest = Arc::new(AtomicUsize::new(0));
    let device = Changing {
        link: a,
        mtu: Arc::clone(&mtu),
        longest: Arc::clone(&longest),
    };
    let mut sim = Simulation::new(Instant::from_millis(1_000));
    let host = |number: u8, caps| {
        let address = ([10, 77, 0, number].into(), 24);
        Host::new(Config::default(), &[address], caps, 1, [number; 32]).expect("a host")
    };
    let client_host = host(1, device.caps());
    let server_host = host(2, b.caps());
    let client_place = sim.add(&client_host, 0, device);
    let server_place = sim.add(&server_host, 0, b);
    let (client, server) = (Stack::from_host(client_host), Stack::from_host(server_host));
    let listener = TcpListener::bind_now(&server, "10.77.0.2:80").expect("bind");
    let received = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&received);
    sim.spawn(
        server_place,
        Box::pin(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut at = 0_usize;
            while let Some(payload) = stream.recv_payload().await.expect("no reset") {
                for byte in payload.iter() {
                    assert_eq!(usize::from(*byte), at % 251);
                    at += 1;
                }
                count.store(at, Ordering::Relaxed);
            }
        }),
    );
    let stack = client.clone();
    sim.spawn(
        client_place,
        Box::pin(async move {
            let stream = TcpStream::connect(&stack, "10.77.0.2:80").await;
            let mut stream = stream.expect("connect");
            // As long as the test turns the stacks.
            let data: Vec<u8> = (0..251 * 16).map(|at| (at % 251) as u8).collect();
            while stream.write_all(&data).await.is_ok() {}
        }),
    );
    let limit = Instant::from_millis(600_000);
    let mut found = Vec::new();
    for (part, size) in sizes.iter().enumerate() {
        mtu.store(*size, Ordering::Relaxed);
        longest.store(0, Ordering::Relaxed);
        let before = received.load(Ordering::Relaxed);
        let so_far = || received.load(Ordering::Relaxed) - before;
        for _ in 0..1_000_000 {
            // What was in flight before is not of this part.
            let has_full = longest.load(Ordering::Relaxed) >= usize::from(*size);
            if so_far() >= PART && has_full {
                break;
            }
            sim.step(limit).expect("the link works");
        }
        assert!(so_far() >= PART, "part {part}");
        found.push(longest.load(Ordering::Relaxed));
        assert_eq!(client.mtu(), *size);
    }
    (
        found,
        client
            .counters()
            .count(netstack::base::counters::Counter::TcpTimeouts),
    )
}

#[test]
fn segments_follow_the_mtu_of_a_link_in_memory() {
    let sizes = [1_500, 700, 4_000, 576, 9_000];
    for delay in [Duration::from_micros(100), Duration::from_millis(10)] {
        let (found, timeouts) = transfer_in_memory(&sizes, delay);
        assert_eq!(found, sizes.map(usize::from), "the longest packets");
        assert_eq!(timeouts, 0, "what was lost is sent again at once");
    }
}

fn join(mut client: PacketPipe, server: PacketPipe, longest: Arc<AtomicUsize>) -> Arc<AtomicU16> {
    // The path carries what the test says, in both directions: a router that drops what is longer and says nothing.
    let carried = Arc::new(AtomicU16::new(u16::MAX));
    let limit = Arc::clone(&carried);
    let (mut from_server, mut to_server) = server.into_split();
    tokio::spawn(async move {
        let mut current = u16::MAX;
        loop {
            let wanted = limit.load(Ordering::Acquire);
            if wanted != current && wanted != u16::MAX {
                client.set_mtu(wanted).expect("enough");
                longest.store(0, Ordering::Release);
                current = wanted;
            }
            tokio::select! {
                packet = client.recv() => {
                    let Some(packet) = packet else { return };
                    longest.fetch_max(packet.len(), Ordering::AcqRel);
                    let _ = to_server.try_send(packet);
                }
                packet = from_server.recv() => {
                    let Some(packet) = packet else { return };
                    let _ = client.try_send(packet);
                }
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
        }
    });
    carried
}

/// Drives a stack at `address` on this runtime.
fn driven(address: &str, mtu: u16) -> (Stack, PacketPipe) {
    let (device, pipe) = channel(ChannelConfig {
        mtu,
        ..ChannelConfig::default()
    });
    let builder = Stack::builder()
        .address(address.parse().expect("an address"), 24)
        .address(
            format!("fd00::{}", &address[8..])
                .parse()
                .expect("an address"),
            64,
        );
    let (stack, drivers) = builder.drive(vec![Box::new(device)]).expect("a stack");
    for driver in drivers {
        tokio::spawn(driver);
    }
    (stack, pipe)
}

async fn follows(stack: &Stack, mtu: u16) {
    bounded("the change", async {
        while stack.mtu() != mtu {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn connections_outlive_changes_of_a_channels_mtu() {
    let (client, client_pipe) = driven("10.77.0.1", 1_420);
    let (server, server_pipe) = driven("10.77.0.2", 9_000);
    let longest = Arc::new(AtomicUsize::new(0));
    let carried = join(client_pipe, server_pipe, Arc::clone(&longest));
    let listener = TcpListener::bind_now(&server, "[::]:7").expect("bind");
    let v4 = TcpListener::bind_now(&server, "10.77.0.2:7").expect("bind");
    for listener in [listener, v4] {
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    while let Ok(Some(payload)) = stream.recv_payload().await {
                        stream.send_payload(payload).await.expect("no reset");
                    }
                });
            }
        });
    }
    let echo = UdpSocket::bind(&server, "10.77.0.2:7").await.expect("bind");
    tokio::spawn(async move {
        while let Ok((payload, from)) = echo.recv_payload_from().await {
            // The length and the sum: the path back carries less than the server's link.
            let sum: usize = payload.iter().map(|byte| usize::from(*byte)).sum();
            let answer = format!("{} {sum}", payload.len());
            let _ = echo.send_to(answer.as_bytes(), from).await;
        }
    });
    let mut streams = Vec::new();
    for to in ["10.77.0.2:7", "[fd00::2]:7"] {
        streams.push(TcpStream::connect(&client, to).await.expect("connect"));
    }
    // One connection rests while the MTU changes.
    let mut resting = TcpStream::connect(&client, "10.77.0.2:7")
        .await
        .expect("connect");
    let udp = UdpSocket::bind(&client, "10.77.0.1:0").await.expect("bind");
    let (largest_v4, largest_v6) = (1_420 - 40 - 12, 1_420 - 60 - 12);
    for (mtu, v4, v6) in [
        (1_420, largest_v4, largest_v6),
        (1_280, 1_280 - 52, 1_280 - 72),
        (4_000, 4_000 - 52, 4_000 - 72),
        (1_300, 1_300 - 52, 1_300 - 72),
        (9_000, 9_000 - 52, 9_000 - 72),
    ] {
        carried.store(mtu, Ordering::Release);
        follows(&client, mtu).await;
        for (stream, segment) in streams.iter_mut().zip([v4, v6]) {
            let data: Vec<u8> = (0..300_000_usize).map(|at| (at / 3) as u8).collect();
            let mut echoed = vec![0; data.len()];
            let (mut read, mut write) = stream.split();
            let (sent, received) = tokio::join!(
                bounded("writing", write.write_all(&data)),
                bounded("reading", read.read_exact(&mut echoed)),
            );
            sent.expect("no reset");
            received.expect("no reset");
            assert!(echoed == data, "at {mtu}");
            assert_eq!(stream.info().mss, segment, "the segment at {mtu}");
        }
        // Longer than the MTU: fragments, each of which fits.
        let datagram = vec![7; 10_000];
        udp.send_to(&datagram, "10.77.0.2:7").await.expect("sent");
        let mut answer = [0; 100];
        let len = bounded("an answer", udp.recv(&mut answer))
            .await
            .expect("received");
        assert_eq!(&answer[..len], b"10000 70000", "at {mtu}");
        let longest = longest.load(Ordering::Acquire);
        assert!(longest <= usize::from(mtu), "{longest} bytes at {mtu}");
        assert!(longest > usize::from(mtu) - 8, "{longest} bytes at {mtu}");
    }
    resting.write_all(b"still here").await.expect("no reset");
    let mut echoed = [0; 10];
    bounded("the resting one", resting.read_exact(&mut echoed))
        .await
        .expect("an echo");
    assert_eq!(
        client
            .counters()
            .count(netstack::base::counters::Counter::TcpTimeouts),
        0
    );
}

#[tokio::test]
async fn what_waits_when_the_mtu_is_lowered_is_dropped_and_an_mtu_of_nothing_is_refused() {
    let (client, mut pipe) = driven("10.77.0.1", 1_420);
    let udp = UdpSocket::bind(&client, "10.77.0.1:0").await.expect("bind");
    for len in [1_392, 1_392, 100] {
        udp.send_to(&vec![1; len], "10.77.0.2:7")
            .await
            .expect("sent");
    }
    bounded("the stack's turn", async {
        while client
            .counters()
            .count(netstack::base::counters::Counter::PacketsOut)
            < 3
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let error = pipe.set_mtu(67).expect_err("too small");
    assert!(error.to_string().contains("68"), "{error}");
    pipe.set_mtu(1_280).expect("enough");
    let left: Bytes = pipe.recv().await.expect("the short one");
    assert_eq!(left.len(), 128);
    assert_eq!(pipe.try_recv(), None);
    let (receiver, mut sender) = pipe.into_split();
    assert_eq!(receiver.dropped(), 2);
    // The peers may still send what was agreed upon, and no more.
    sender.try_send(vec![0x45; 1_420]).expect("as before");
    sender
        .try_send(vec![0x45; 1_421])
        .expect_err("more than ever");
}

/// The kernel's MTU of the interface is changed while connections and datagrams of the kernel go through it.
#[test]
fn a_tun_devices_mtu_follows_the_kernels() {
    for (offload, queues) in [
        (OffloadMode::On, 1),
        (OffloadMode::Off, 1),
        (OffloadMode::Off, 2),
    ] {
        in_namespace(move || {
            let mut config = TunConfig::new("t0");
            config.host_v4 = Some(([10, 77, 0, 1].into(), 24));
            (config.offload, config.queues) = (offload, queues);
            let devices = open(&config).expect("a device");
            let address = "10.77.0.2".parse().expect("an address");
            let stack = Stack::builder().address(address, 24).start(devices);
            let stack = stack.expect("a stack");
            let listener = TcpListener::bind_now(&stack, "10.77.0.2:7").expect("bind");
            listener
                .serve(|mut stream, _| async move {
                    while let Ok(Some(payload)) = stream.recv_payload().await {
                        if stream.send_payload(payload).await.is_err() {
                            return;
                        }
                    }
                })
                .expect("serve");
            for socket in
                UdpSocket::bind_per_worker(&stack, "10.77.0.2:7".parse().expect("an address"))
                    .expect("bind")
            {
                stack.spawn_on(0, async move {
                    while let Ok((payload, from)) = socket.recv_payload_from().await {
                        let _ = socket.send_payload_to(payload, from).await;
                    }
                });
            }
            let mut peer = KernelStream::connect("10.77.0.2:7").expect("connect");
            peer.set_read_timeout(Some(LIMIT)).expect("a limit");
            let udp = KernelUdp::bind("10.77.0.1:0").expect("bind");
            udp.set_read_timeout(Some(LIMIT)).expect("a limit");
            // The kernel offered segments of 1,460 bytes when it connected: no more than that, whatever the link carries.
            for (mtu, segment) in [(1_400, 1_348), (9_000, 1_448), (1_000, 948), (1_500, 1_448)] {
                ip(&format!("link set t0 mtu {mtu}"));
                let data = vec![mtu as u8; 100_000];
                let mut echoed = vec![0; data.len()];
                for (sent, received) in data.chunks(10_000).zip(echoed.chunks_mut(10_000)) {
                    std::thread::sleep(Duration::from_millis(15));
                    peer.write_all(sent).expect("write");
                    peer.read_exact(received).expect("an echo");
                }
                assert!(echoed == data, "at {mtu}");
                assert_eq!(stack.mtu(), mtu, "the stack follows");
                let (_, _, info) = stack.tcp_info()[0];
                assert_eq!(info.mss, segment, "at {mtu}");
                // A datagram of the kernel as long as its MTU, and one in fragments.
                for len in [usize::from(mtu) - 28, 20_000] {
                    udp.send_to(&vec![9; len], "10.77.0.2:7").expect("sent");
                    let mut room = vec![0; 20_001];
                    let (echoed, _) = udp.recv_from(&mut room).expect("an echo");
                    assert_eq!(echoed, len, "at {mtu}");
                }
            }
            // New connections offer what the link carries now.
            ip("link set t0 mtu 9000");
            std::thread::sleep(Duration::from_millis(120));
            let mut second = KernelStream::connect("10.77.0.2:7").expect("connect");
            second.set_read_timeout(Some(LIMIT)).expect("a limit");
            second.write_all(&[1; 100]).expect("write");
            second.read_exact(&mut [0; 100]).expect("an echo");
            let infos = stack.tcp_info();
            assert!(
                infos.iter().any(|(.., info)| info.mss == 8_948),
                "{infos:?}"
            );
        });
    }
}
