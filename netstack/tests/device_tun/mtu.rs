//! Changes of the MTU that an administrator makes while the device is open.

use netstack::base::Instant;

use crate::host::{Meddling, Tun, in_namespace, kinds, meddle};

/// Receives at a time after which the device looks for news again, and returns its MTU.
fn mtu_after(tun: &mut Tun, looks: &mut u64) -> u16 {
    *looks += 1;
    let now = Instant::from_millis(1_000 * *looks);
    for device in &mut tun.devices {
        device
            .recv_batch(&mut Vec::new(), 64, &tun.buffers, now, &tun.counters)
            .expect("receive");
    }
    tun.devices[0].caps().mtu
}

#[test]
fn the_last_of_many_changes_counts() {
    for config in kinds() {
        in_namespace(move || {
            let mut tun = Tun::open(&config);
            let mut looks = 0;
            meddle(&config.name, Meddling::Mtu(1_400));
            assert_eq!(mtu_after(&mut tun, &mut looks), 1_400);
            // More than the socket for announcements has room for: the last ones are lost.
            for change in 0..1_000 {
                meddle(&config.name, Meddling::Mtu(1_000 + change % 2));
            }
            meddle(&config.name, Meddling::Mtu(1_300));
            let found = (0..100).any(|_| mtu_after(&mut tun, &mut looks) == 1_300);
            assert!(found, "{config:?}: {}", tun.devices[0].caps().mtu);
            assert_eq!(mtu_after(&mut tun, &mut looks), 1_300, "it stays");
        });
    }
}
