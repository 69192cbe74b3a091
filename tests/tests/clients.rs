//! Tests of the kernel-side clients against the kernel: they accept a right peer, and notice a single
//! wrong byte.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, UdpSocket};
use std::thread;

use netstackd::probe::ping::{MAX_PING_BYTES, Pinger};
use netstackd::probe::{datagram, stream};
use tests::transfer::hashed_echo;
use tests::world::in_namespace;

/// Serves echo for one connection, with one bit flipped in the byte at `wrong`, if any.
fn echo_once(wrong: Option<usize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        let (mut peer, _) = listener.accept().expect("a client");
        let (mut buffer, mut at) = (vec![0; 50_000], 0);
        while let Ok(got @ 1..) = peer.read(&mut buffer) {
            if let Some(wrong) = wrong.filter(|wrong| (at..at + got).contains(wrong)) {
                buffer[wrong - at] ^= 0x10;
            }
            at += got;
            if peer.write_all(&buffer[..got]).is_err() {
                break;
            }
        }
        // The client may be gone already.
        let _ = peer.shutdown(Shutdown::Write);
    });
    address
}

#[test]
fn streams_are_compared_to_the_byte() {
    in_namespace(|| {
        const TOTAL: u64 = 3_000_001;
        stream::echo(echo_once(None), TOTAL).expect("a right peer");
        for wrong in [0, 1_048_572, 1_048_573, TOTAL as usize - 1] {
            let why = stream::echo(echo_once(Some(wrong)), TOTAL).expect_err("a wrong peer");
            assert!(why.contains("wrong bytes"), "{why}");
        }
        let (sent, received, _) = hashed_echo(echo_once(None), TOTAL).expect("a right peer");
        assert_eq!(sent, received);
        let (sent, received, _) = hashed_echo(echo_once(Some(77)), TOTAL).expect("an echo");
        assert_ne!(sent, received);
    });
}

#[test]
fn datagrams_are_compared_to_the_byte() {
    in_namespace(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("its address");
        thread::spawn(move || {
            let mut buffer = vec![0; 1 << 17];
            while let Ok((got, peer)) = socket.recv_from(&mut buffer) {
                if got == 666 {
                    buffer[665] ^= 1;
                }
                socket.send_to(&buffer[..got], peer).expect("sent");
            }
        });
        let sizes = [0, 1, 1_472, 65_507];
        assert_eq!(datagram::echo(address, sizes.into_iter()), Ok(4));
        let why = datagram::echo(address, [10, 666].into_iter()).expect_err("a wrong byte");
        assert!(why.contains("666 bytes"), "{why}");
    });
}

#[test]
fn pings_are_answered_by_the_kernel() {
    in_namespace(|| {
        for target in [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ] {
            let mut pinger = Pinger::new(target, 77).expect("a raw socket");
            for size in [0, 1, 56, 1_473, MAX_PING_BYTES] {
                pinger.ping(size).expect("an answer");
            }
        }
    });
}
