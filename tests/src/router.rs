//! A router that drops packets at random.
//!
//! It is a namespace between the client and the TUN device: a sender would notice packets that its own host drops.

use std::thread;

use crate::world::{V4, V6, in_namespace, ip, nft};

/// The client's addresses, of the daemon's own subnets.
const CLIENT_V4: &str = "10.77.0.9";
const CLIENT_V6: &str = "fd77::9";

/// Runs `client` in a namespace behind this one, over a link without segmentation offload.
///
/// # Panics
///
/// Panics if `client` does, or if the link cannot be made.
pub fn behind_a_router<T: Send>(client: impl FnOnce() -> T + Send) -> T {
    for setting in ["ipv4/conf/all/forwarding", "ipv6/conf/all/forwarding"] {
        std::fs::write(format!("/proc/sys/net/{setting}"), "1").expect("forwarding");
    }
    ip("link add r0 type veth peer name c0");
    ip("link set r0 up");
    ip("addr add 10.78.0.1/24 dev r0");
    ip("addr add fd78::1/64 dev r0 nodad");
    ip(&format!("route add {CLIENT_V4}/32 dev r0"));
    ip(&format!("route add {CLIENT_V6}/128 dev r0"));
    let router = rustix::thread::gettid().as_raw_nonzero();
    thread::scope(|scope| {
        let (give, take) = std::sync::mpsc::channel();
        let (moved, wait) = std::sync::mpsc::channel();
        let client = scope.spawn(move || {
            in_namespace(move || {
                give.send(rustix::thread::gettid().as_raw_nonzero())
                    .expect("the router listens");
                wait.recv().expect("the link arrives");
                ip("link set c0 up gso_max_segs 1");
                ip(&format!("addr add {CLIENT_V4}/32 dev c0"));
                ip(&format!("addr add {CLIENT_V6}/128 dev c0 nodad"));
                ip("route add 10.78.0.1 dev c0");
                ip(&format!("route add {V4} via 10.78.0.1 src {CLIENT_V4}"));
                ip("route add fd78::1 dev c0");
                ip(&format!("route add {V6} via fd78::1 src {CLIENT_V6}"));
                client()
            })
        });
        let thread_id = take.recv().expect("the client's thread");
        println!("router {router}, client {thread_id}");
        ip(&format!("link set c0 netns {thread_id}"));
        moved.send(()).expect("the client waits");
        client
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Loses packets at random, in both directions, in this namespace, which is that of the router.
///
/// # Panics
///
/// Panics if `nft` fails.
pub fn lose(percent: u32) {
    nft(&format!(
        "table inet loss {{ chain forward {{ type filter hook forward priority 0; \
         numgen random mod 100 < {percent} counter drop; }}; }}"
    ));
}
