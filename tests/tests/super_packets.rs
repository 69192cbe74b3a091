//! Packet channels whose carrier takes super-packets: virtio-net headers in front of packets, both ways.

use std::net::{Ipv4Addr, SocketAddr, TcpStream as KernelStream, UdpSocket as KernelUdp};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use netstack::Stack;
use netstack::device::channel::{ChannelConfig, Framing, PacketPipe, channel};
use netstack::net::{TcpListener, TcpStream, UdpSocket};
use rustix::io::Errno;
use tests::pipes;
use tests::transfer::hashed_echo;
use tests::world::{in_namespace, ip};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tun_rs::{DeviceBuilder, SyncDevice};

/// Longest packet on the link, in bytes.
const MTU: u16 = 1_500;
/// Bytes that are transferred each way.
const BYTES: usize = 8 << 20;

fn config() -> ChannelConfig {
    ChannelConfig {
        mtu: MTU,
        framing: Framing::VirtioNet,
        ..ChannelConfig::default()
    }
}

/// Serves echo over TCP and UDP on port 7 of every address.
async fn serve_echo(stack: &Stack, address: &str) {
    let listener = TcpListener::bind(stack, (address, 7)).await.expect("bind");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.into_split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
                let _ = writer.shutdown().await;
            });
        }
    });
    let socket = UdpSocket::bind(stack, (address, 7)).await.expect("bind");
    tokio::spawn(async move {
        let mut room = [0; 2_048];
        while let Ok((len, from)) = socket.recv_from(&mut room).await {
            let _ = socket.send_to(&room[..len], from).await;
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stacks_exchange_super_packets() {
    for (server, client, to) in [
        ("10.77.0.1/24", "10.77.0.2/24", "10.77.0.1"),
        ("fd77::1/64", "fd77::2/64", "fd77::1"),
    ] {
        let (server, a) = pipes::stack(&[server], config());
        let (client, b) = pipes::stack(&[client], config());
        let longest = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&longest);
        tokio::spawn(pipes::carry_seen(a, b, move |packet| {
            seen.fetch_max(packet.len(), Ordering::Relaxed);
        }));
        serve_echo(&server, to).await;
        let stream = TcpStream::connect(&client, (to, 7)).await.expect("connect");
        let sent: Vec<u8> = (0..BYTES).map(|i| (i ^ (i >> 9)) as u8).collect();
        let (mut reader, mut writer) = stream.into_split();
        let expected = sent.clone();
        let write = tokio::spawn(async move {
            writer.write_all(&sent).await.expect("write");
            writer.shutdown().await.expect("shutdown");
        });
        let mut received = Vec::new();
        reader.read_to_end(&mut received).await.expect("read");
        write.await.expect("written");
        assert!(received == expected, "{} bytes", received.len());
        let longest = longest.load(Ordering::Relaxed);
        assert!(longest > 4 * usize::from(MTU), "{longest} bytes at most");
    }
}

/// Creates a TUN device that takes super-packets, in the calling thread's namespace.
fn tun() -> SyncDevice {
    let device = DeviceBuilder::new().name("t0").offload(true);
    let device = device.build_sync().expect("a TUN device");
    ip("address add 10.77.0.1/24 dev t0");
    ip("link set t0 mtu 1500 up");
    device
}

/// Carries packets between the device and a stack, as they are, until the stack is gone.
#[allow(
    clippy::needless_pass_by_value,
    reason = "it moves to the thread that carries"
)]
fn carry(device: &SyncDevice, pipe: PacketPipe, stop: mpsc::Receiver<()>) {
    let (mut from_stack, mut to_stack) = pipe.into_split();
    let mut room = vec![0; 65_545];
    device.set_nonblocking(true).expect("non-blocking");
    while stop.try_recv().is_err() {
        let mut is_idle = true;
        while let Some(packet) = from_stack.try_recv() {
            is_idle = false;
            // As on any link, what the kernel does not take is lost.
            let _ = rustix::io::write(device.as_fd(), &packet);
        }
        match rustix::io::read(device.as_fd(), &mut room[..]) {
            Ok(len) => {
                is_idle = false;
                let _ = to_stack.try_send(Bytes::copy_from_slice(&room[..len]));
            }
            Err(Errno::AGAIN) => {}
            Err(error) => panic!("read from the device: {error}"),
        }
        if is_idle {
            thread::sleep(Duration::from_micros(50));
        }
    }
}

#[test]
fn a_carrier_passes_the_kernel_s_super_packets_on() {
    in_namespace(|| {
        let device = tun();
        let (channel, pipe) = channel(config());
        let stack = Stack::builder().address(Ipv4Addr::new(10, 77, 0, 2).into(), 24);
        let stack = stack.start(vec![Box::new(channel)]).expect("a stack");
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        runtime.block_on(serve_echo(&stack, "10.77.0.2"));
        let (stop, stopped) = mpsc::channel();
        thread::scope(|scope| {
            let device = &device;
            scope.spawn(move || carry(device, pipe, stopped));
            let target: SocketAddr = "10.77.0.2:7".parse().expect("an address");
            let transfer = hashed_echo(target, BYTES as u64);
            // UDP, and a refusal.
            let socket = KernelUdp::bind("10.77.0.1:0").expect("bind");
            let limit = Some(Duration::from_secs(20));
            socket.set_read_timeout(limit).expect("timeout");
            socket.send_to(b"question", target).expect("send");
            let mut answer = [0; 100];
            let answered = socket.recv_from(&mut answer);
            let refused = KernelStream::connect("10.77.0.2:9");
            stop.send(()).expect("it still carries");
            let (sent, received, _) = transfer.expect("a transfer");
            assert_eq!(sent, received);
            assert_eq!(answered.expect("an answer"), (8, target));
            let refused = refused.expect_err("nobody listens");
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        });
    });
}
