//! After idle time the first call of an application is not mistaken for one of long ago.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use netstack::device::channel::ChannelConfig;
use netstack::net::{TcpListener, TcpStream};
use tests::pipes;
use tokio::time::sleep;

/// Half as long again as the first retransmission timeout.
const IDLE: Duration = Duration::from_millis(1_500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_after_idle_time_measures_the_path_and_not_the_idle_time() {
    let stack = |address| pipes::stack(&[address], ChannelConfig::default());
    let ((client, a), (host, b)) = (stack("10.77.0.1/24"), stack("10.77.0.2/24"));
    let syns = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&syns);
    tokio::spawn(pipes::carry_seen(a, b, move |packet| {
        // TCP after an IPv4 header of 20 bytes, SYN without ACK.
        if packet[9] == 6 && packet[33] & 0x12 == 2 {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }));
    let at: std::net::SocketAddr = "10.77.0.2:7".parse().expect("an address");
    let listener = TcpListener::bind_now(&host, at).expect("bind");
    sleep(IDLE).await;
    let stream = TcpStream::connect(&client, at).await.expect("connect");
    let _peer = listener.accept().await.expect("accept");
    sleep(Duration::from_millis(50)).await;
    let info = stream.info();
    // Microseconds on an idle machine; a busy one may take a while to run each thread.
    assert!(info.srtt < IDLE / 3, "{info:?}");
    assert!(info.rto < IDLE, "{info:?}");
    assert!(info.cwnd >= 2 * u32::from(info.mss), "{info:?}");
    assert_eq!(syns.load(Ordering::Relaxed), 1, "SYNs sent");
}
