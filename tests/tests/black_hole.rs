//! Paths that drop large packets silently: a download from the daemon comes through, with the kernel as the receiver
//! (RFC 4821 section 7.7).

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use netstackd::probe::now;
use tests::program;
use tests::world::{V4, V6, in_namespace, nft, port, serve};

/// Without progress for so long, the path is a black hole.
const HANG: Duration = Duration::from_secs(60);

/// Drops what is longer than `most` bytes on its way from the daemon, and reports nothing.
fn drop_large(most: u16) {
    nft(&format!(
        "table inet hole {{ chain input {{ type filter hook input priority 0; \
         iifname t0 meta length > {most} counter drop; }}; }}"
    ));
}

/// Reads `bytes` from the daemon; returns the times until the first and until the last.
fn download(target: SocketAddr, bytes: usize) -> (Duration, Duration) {
    let mut stream = TcpStream::connect(target).expect("connected");
    stream.set_read_timeout(Some(HANG)).expect("a timeout");
    let began = now();
    let mut buffer = vec![0; 64 << 10];
    let (mut first, mut read) = (None, 0);
    while read < bytes {
        let count = stream.read(&mut buffer).expect("the path carries data");
        assert!(count > 0, "{target} ended after {read} bytes");
        first.get_or_insert_with(|| now().saturating_sub(began));
        read += count;
    }
    (first.expect("a byte"), now().saturating_sub(began))
}

fn hole(address: impl Into<std::net::IpAddr>, most: u16) {
    let address = address.into();
    in_namespace(|| {
        // The kernel sees super-segments whole: without them, a packet is a segment.
        let daemon = serve(program!(), &["--offload", "off", "--queues", "1"]);
        drop_large(most);
        let target = SocketAddr::new(address, port::CHARGEN);
        let (first, last) = download(target, 4 << 20);
        println!(
            "{address}, packets of {most} bytes: first byte after {first:?}, 4 MiB after {last:?}"
        );
        let timeouts = daemon.counters().expect("counters").get("tcp_timeouts");
        assert!(timeouts > 0, "no packet was too large");
        // The next connection to the same host begins with what the first one found.
        let (first, last) = download(target, 1 << 20);
        println!(
            "{address}, the next connection: first byte after {first:?}, 1 MiB after {last:?}"
        );
        let after = daemon.counters().expect("counters").get("tcp_timeouts");
        assert_eq!(after, timeouts, "it did not know");
    });
}

#[test]
fn ipv4_packets_of_1200_bytes() {
    hole(V4, 1_200);
}

#[test]
fn ipv4_packets_of_575_bytes() {
    hole(V4, 575);
}

#[test]
fn ipv6_packets_of_1280_bytes() {
    hole(V6, 1_280);
}
