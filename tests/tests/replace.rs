//! A device is replaced under a living stack: connections go on, over packet channels and over TUN devices.

use std::io::{Read as _, Write as _};
use std::net::TcpStream as KernelStream;
use std::time::Duration;

use netstack::base::counters::DropReason;
use netstack::device::channel::{ChannelConfig, PacketPipe, channel};
use netstack::device::{Device, ReplaceError, TunConfig, open, replaceable};
use netstack::net::{EndReason, Stack, TcpListener, TcpStream};
use tests::pair::bounded_as as bounded;
use tests::pipes;
use tests::world::{in_namespace, ip};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};

const LIMIT: Duration = Duration::from_secs(20);

fn carrier() -> (Vec<Box<dyn Device>>, PacketPipe) {
    let (device, pipe) = channel(ChannelConfig::default());
    (vec![Box::new(device)], pipe)
}

/// Starts a stack at 10.77.0.1 whose device can be replaced, as threads or as a driver on this runtime.
fn start(devices: Vec<Box<dyn Device>>, drive: bool) -> Stack {
    let builder = Stack::builder().address("10.77.0.1".parse().expect("an address"), 24);
    if drive {
        let (stack, drivers) = builder.drive(devices).expect("a stack");
        for driver in drivers {
            tokio::spawn(driver);
        }
        stack
    } else {
        builder.start(devices).expect("a stack")
    }
}

async fn connections_outlive_their_carriers(drive: bool) {
    const LEN: usize = 200_000;
    const CARRIERS: usize = 4;
    let (server, server_pipe) = pipes::stack(&["10.77.0.2/24"], ChannelConfig::default());
    let (mut from_server, mut to_server) = server_pipe.into_split();
    let (devices, mut pipe) = carrier();
    let (devices, replacer) = replaceable(devices);
    let client = start(devices, drive);
    let listener = TcpListener::bind_now(&server, "10.77.0.2:7").expect("bind");
    let echo = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accept");
        while let Ok(Some(payload)) = stream.recv_payload().await {
            stream.send_payload(payload).await.expect("no reset");
        }
    });
    let stack = client.clone();
    let exchange = tokio::spawn(async move {
        let stream = TcpStream::connect(&stack, "10.77.0.2:7").await;
        let (mut read, mut write) = stream.expect("connect").into_split();
        let data: Vec<u8> = (0..LEN).map(|n| (n / 7) as u8).collect();
        let sent = data.clone();
        let writing = tokio::spawn(async move {
            write.write_all(&sent).await.expect("no reset");
            write.shutdown().await.expect("no reset");
        });
        let mut echoed = Vec::new();
        read.read_to_end(&mut echoed).await.expect("no reset");
        writing.await.expect("no panic");
        assert!(echoed == data, "{} bytes differ", echoed.len());
    });
    // Each carrier carries some packets and breaks; while there is none, packets are lost.
    let mut carried_by = Vec::new();
    for number in 1..=CARRIERS {
        let most = if number == CARRIERS { usize::MAX } else { 40 };
        let mut carried = 0;
        while carried < most && !exchange.is_finished() {
            tokio::select! {
                packet = pipe.recv() => match packet {
                    Some(packet) => { let _ = to_server.try_send(packet); carried += 1; }
                    None => break,
                },
                packet = from_server.recv() => match packet {
                    Some(packet) => { let _ = pipe.try_send(packet); carried += 1; }
                    None => break,
                },
                () = sleep(Duration::from_millis(10)) => {}
            }
        }
        carried_by.push(carried);
        if number == CARRIERS {
            break;
        }
        drop(pipe);
        bounded("the end of a carrier", async {
            while replacer.is_attached() {
                sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        sleep(Duration::from_millis(20)).await;
        let (devices, next) = carrier();
        pipe = next;
        replacer.replace(devices).expect("the same kind");
        assert!(replacer.is_attached());
    }
    bounded("the exchange", exchange).await.expect("no panic");
    assert_eq!(carried_by[..CARRIERS - 1], [40; CARRIERS - 1]);
    bounded("the echo", echo).await.expect("no panic");
    // Without the replacer, the next end of a device is that of the stack.
    drop((replacer, pipe));
    let reason = bounded("the end", client.closed()).await;
    assert!(matches!(reason, EndReason::DeviceFailed { .. }), "{reason}");
}

#[tokio::test]
async fn connections_outlive_their_carriers_with_threads() {
    connections_outlive_their_carriers(false).await;
}

#[tokio::test]
async fn connections_outlive_their_carriers_with_a_driver() {
    connections_outlive_their_carriers(true).await;
}

#[tokio::test]
async fn what_is_sent_without_a_device_is_counted() {
    let (devices, pipe) = carrier();
    let (devices, replacer) = replaceable(devices);
    let stack = start(devices, false);
    drop(pipe);
    let connect = TcpStream::connect(&stack, "10.77.0.2:7");
    timeout(Duration::from_millis(300), connect)
        .await
        .expect_err("nobody answers");
    assert!(stack.counters().dropped(DropReason::TransmitFailed) >= 1);
    assert!(!replacer.is_attached());
    drop(replacer);
    bounded("the end", stack.closed()).await;
}

#[tokio::test]
async fn devices_that_do_not_fit_are_refused() {
    let (devices, _pipe) = carrier();
    let (devices, replacer) = replaceable(devices);
    let _stack = start(devices, false);
    let (small, _small_pipe) = channel(ChannelConfig {
        mtu: 576,
        ..ChannelConfig::default()
    });
    let refused = replacer.replace(vec![Box::new(small)]);
    assert!(
        matches!(refused, Err(ReplaceError::Mtu { .. })),
        "{refused:?}"
    );
    let refused = replacer.replace(Vec::new());
    assert!(
        matches!(refused, Err(ReplaceError::Queues { .. })),
        "{refused:?}"
    );
    assert!(replacer.is_attached());
}

/// The interface is deleted and made again: a connection of the kernel goes on.
#[test]
fn a_tun_device_that_is_deleted_and_made_again_keeps_its_connections() {
    in_namespace(|| {
        let mut config = TunConfig::new("t0");
        config.host_v4 = Some(([10, 77, 0, 2].into(), 24));
        let (devices, replacer) = replaceable(open(&config).expect("a device"));
        let stack = start(devices, false);
        let listener = TcpListener::bind_now(&stack, "10.77.0.1:7").expect("bind");
        listener
            .serve(|mut stream, _| async move {
                while let Ok(Some(payload)) = stream.recv_payload().await {
                    if stream.send_payload(payload).await.is_err() {
                        return;
                    }
                }
            })
            .expect("serve");
        let mut peer = KernelStream::connect("10.77.0.1:7").expect("connect");
        peer.set_read_timeout(Some(LIMIT)).expect("a limit");
        for round in 0..3_u8 {
            let sent = [round; 10_000];
            peer.write_all(&sent).expect("write");
            let mut echoed = [0; 10_000];
            peer.read_exact(&mut echoed).expect("an echo");
            assert!(echoed == sent);
            ip("link del t0");
            let start = netstackd::probe::now();
            while replacer.is_attached() {
                assert!(netstackd::probe::now() - start < LIMIT, "it is gone");
                std::thread::sleep(Duration::from_millis(1));
            }
            replacer
                .replace(open(&config).expect("again"))
                .expect("the same kind");
        }
        assert_eq!(stack.connections(), 1);
    });
}
