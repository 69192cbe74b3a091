//! After idle time the first call of an application is not mistaken for one of long ago.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use netstack::device::channel::{ChannelConfig, PacketPipe, channel};
use netstack::net::{Stack, TcpListener, TcpStream};
use tokio::time::sleep;

fn stack(address: &str) -> (Stack, PacketPipe) {
    let (device, pipe) = channel(ChannelConfig::default());
    let stack = Stack::builder()
        .address(address.parse().expect("an address"), 24)
        .start(vec![Box::new(device)])
        .expect("a stack");
    (stack, pipe)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_after_idle_time_measures_the_path_and_not_the_idle_time() {
    let ((client, a), (host, b)) = (stack("10.77.0.1"), stack("10.77.0.2"));
    let ((mut from_a, mut to_a), (mut from_b, mut to_b)) = (a.into_split(), b.into_split());
    let syns = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&syns);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                Some(packet) = from_a.recv() => {
                    // TCP after an IPv4 header of 20 bytes, SYN without ACK.
                    if packet[9] == 6 && packet[33] & 0x12 == 2 {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    let _ = to_b.send(packet).await;
                }
                Some(packet) = from_b.recv() => { let _ = to_a.send(packet).await; }
                else => return,
            }
        }
    });
    let at = "10.77.0.2:7".parse().expect("an address");
    let listener = TcpListener::bind_now(&host, at).expect("bind");
    sleep(Duration::from_millis(1_500)).await;
    let stream = TcpStream::connect(&client, at).await.expect("connect");
    let _peer = listener.accept().await.expect("accept");
    sleep(Duration::from_millis(50)).await;
    let info = stream.info();
    assert!(info.srtt < Duration::from_millis(100), "{info:?}");
    assert!(info.rto < Duration::from_secs(1), "{info:?}");
    assert!(info.cwnd >= 2 * u32::from(info.mss), "{info:?}");
    assert_eq!(syns.load(Ordering::Relaxed), 1, "SYNs sent");
}
