//! A device that cannot be opened says what is wrong, where, and what to do, and leaves nothing behind.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use netstack::base::{Counters, DropReason, Instant};
use netstack::device::{DeviceError, OffloadMode, TunConfig, kernel_drops, open};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use crate::host::{Meddling, PAIRS, TUN_PATH, Tun, config, in_namespace, kinds, meddle};
use crate::prepared::open as open_when_free;
use crate::wire::{self, Seen};

/// Returns the error of [`open`], after a check of its message.
fn refused(config: &TunConfig) -> DeviceError {
    let error = open(config).err().expect("refused");
    let sentence = error.to_string();
    assert!(sentence.contains(&config.name), "says where: {sentence}");
    assert!(sentence.contains(": "), "says what to do: {sentence}");
    assert!(!sentence.contains('\n'), "one sentence: {sentence}");
    error
}

/// Takes capabilities away from this thread.
pub(crate) fn drop_capabilities(dropped: CapabilitySet) {
    let mut sets = capabilities(None).expect("capabilities");
    sets.effective.remove(dropped);
    sets.permitted.remove(dropped);
    set_capabilities(None, sets).expect("drop capabilities");
}

#[test]
fn a_device_in_use_is_busy_whatever_its_kind() {
    for first in kinds() {
        for second in kinds() {
            let first = first.clone();
            in_namespace(move || {
                let held = open(&first).expect("first");
                let error = refused(&second);
                assert!(
                    matches!(error, DeviceError::Busy { .. }),
                    "{first:?} {second:?}: {error}"
                );
                drop(held);
                open_when_free(&second).expect("free again");
            });
        }
    }
}

#[test]
fn another_interface_is_left_alone() {
    in_namespace(|| {
        let _tap = tun_rs::DeviceBuilder::new()
            .name("tap0")
            .layer(tun_rs::Layer::L2)
            .build_sync()
            .expect("a TAP device");
        for (name, kind) in [("lo", "built-in"), ("tap0", "tap")] {
            let mut config = config(OffloadMode::Auto, 1);
            config.name = name.to_owned();
            let error = refused(&config);
            assert!(matches!(error, DeviceError::NotATun { .. }), "{error}");
            assert!(error.to_string().contains(kind), "{error}");
        }
    });
}

#[test]
fn an_address_is_given_once() {
    in_namespace(|| {
        let _held = open(&config(OffloadMode::Auto, 1)).expect("first");
        for family in [4, 6] {
            let mut second = config(OffloadMode::Auto, 1);
            second.name = "t1".to_owned();
            match family {
                4 => second.host_v6 = None,
                _ => second.host_v4 = None,
            }
            let error = open(&second).err().expect("refused");
            let DeviceError::AddressInUse { address, interface } = &error else {
                panic!("{error}");
            };
            assert_eq!((address.is_ipv4(), interface.as_str()), (family == 4, "t0"));
            kernel_drops("t1").expect_err("nothing is left behind");
        }
    });
}

#[test]
fn without_the_capability_nothing_is_made() {
    for config in kinds() {
        in_namespace(move || {
            drop_capabilities(CapabilitySet::NET_ADMIN);
            let error = refused(&config);
            assert!(matches!(error, DeviceError::NotPermitted { .. }), "{error}");
        });
    }
}

#[test]
fn what_the_kernel_would_refuse_is_refused_before() {
    in_namespace(|| {
        for name in ["", "sixteen-letters-", "a/b", "tun%d"] {
            let error = refused(&TunConfig::new(name));
            assert!(matches!(error, DeviceError::BadName { .. }), "{error}");
        }
        let mut small = config(OffloadMode::Auto, 1);
        small.mtu = 1279;
        assert!(matches!(
            refused(&small),
            DeviceError::Mtu { min: 1280, .. }
        ));
        let mut many = config(OffloadMode::Auto, 257);
        assert!(matches!(
            refused(&many),
            DeviceError::Queues { max: 256, .. }
        ));
        many.queues = 0;
        assert!(matches!(refused(&many), DeviceError::Queues { .. }));
    });
}

#[test]
fn the_largest_and_smallest_mtu_work() {
    for offload in [OffloadMode::On, OffloadMode::Off] {
        for mtu in [1280, 2047, 2048, 9000, 65_535] {
            in_namespace(move || {
                let mut config = config(offload, 1);
                config.mtu = mtu;
                let mut tun = Tun::open(&config);
                assert_eq!(tun.devices[0].caps().mtu, mtu);
                let (host, ours) = crate::host::PAIRS[0];
                let socket = std::net::UdpSocket::bind((host, 0)).expect("bind");
                let sent = vec![7; usize::from(mtu) - 28];
                socket.send_to(&sent, (ours, 7)).expect("send");
                tun.wait(|packet| (packet.data.len() == usize::from(mtu)).then_some(()));
            });
        }
    }
}

#[test]
fn an_interface_that_is_down_costs_packets_and_comes_back() {
    for config in kinds() {
        in_namespace(move || {
            let mut tun = Tun::open(&config);
            let (host, ours) = PAIRS[0];
            let echo = || wire::echo(ours, host, b"anybody there?");
            meddle("t0", Meddling::Down);
            tun.send(echo());
            assert_eq!(tun.counters.dropped(DropReason::TransmitFailed), 1);
            tun.poll();
            meddle("t0", Meddling::Up);
            tun.send(echo());
            tun.wait(|packet| {
                let seen = Seen::of(&packet.data);
                (seen.proto == wire::ICMP).then_some(())
            });
            assert_eq!(tun.counters.dropped(DropReason::TransmitFailed), 1);
        });
    }
}

#[test]
fn an_interface_that_is_deleted_ends_the_device() {
    for config in kinds() {
        in_namespace(move || {
            let mut tun = Tun::open(&config);
            for _ in 0..5 {
                tun.poll();
            }
            // One of the devices is parked when the interface is deleted, which must end the park.
            let mut sleeper = tun.devices.remove(0);
            std::thread::scope(|scope| {
                let asleep = scope.spawn(|| {
                    let buffers = tun.buffers.clone();
                    let counters = Counters::new();
                    loop {
                        let got = sleeper.recv_batch(
                            &mut Vec::new(),
                            64,
                            &buffers,
                            Instant::ZERO,
                            &counters,
                        );
                        if let Err(error) = got {
                            return error;
                        }
                        sleeper.park(None).expect("park");
                    }
                });
                meddle("t0", Meddling::Delete);
                let error = asleep.join().expect("asleep");
                assert!(error.raw_os_error().is_some(), "{error}");
            });
            let (host, ours) = PAIRS[0];
            let mut batch = vec![wire::echo(ours, host, b"1"), wire::echo(ours, host, b"2")];
            sleeper
                .send_batch(&mut batch, &tun.counters)
                .expect_err("gone");
            assert!(batch.is_empty());
            assert_eq!(tun.counters.dropped(DropReason::TransmitFailed), 2);
        });
    }
}

#[test]
fn a_device_that_waits_for_us_is_taken_as_it_is() {
    // A device made for one queue cannot be opened with two; one made for several can be opened with one.
    for (made, asked, fits) in [(1, 1, true), (1, 2, false), (2, 1, true), (2, 2, true)] {
        for offload in [OffloadMode::On, OffloadMode::Off] {
            in_namespace(move || {
                let maker = tun_rs::DeviceBuilder::new()
                    .name("t0")
                    .multi_queue(made > 1)
                    .build_sync()
                    .expect("made beforehand");
                maker.persist().expect("kept");
                drop(maker);
                let config = config(offload, asked);
                if !fits {
                    let error = refused(&config);
                    assert!(matches!(error, DeviceError::Mismatch { .. }), "{error}");
                    return;
                }
                let mut tun = Tun::open(&config);
                let (host, ours) = PAIRS[1];
                tun.send(wire::echo(ours, host, b"anybody there?"));
                tun.wait(|packet| {
                    let seen = Seen::of(&packet.data);
                    (seen.proto == wire::ICMPV6 && seen.transport[0] == 129).then_some(())
                });
                drop(tun);
                kernel_drops("t0").expect("it was there before us, and stays");
                Tun::open(&config);
            });
        }
    }
}

#[test]
fn without_ipv6_an_ipv6_address_is_refused_and_nothing_else() {
    in_namespace(|| {
        std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").expect("switch off");
        let mut config = config(OffloadMode::Auto, 1);
        let error = refused(&config);
        assert!(matches!(error, DeviceError::Ipv6Off { .. }), "{error}");
        kernel_drops("t0").expect_err("nothing is left behind");
        config.host_v6 = None;
        open(&config).expect("IPv4 alone");
    });
}

#[test]
fn a_missing_and_a_forbidden_tun_are_told_apart() {
    in_namespace(|| {
        // Mounts and capabilities of this thread alone.
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private");
        mount(none, "/dev/net", Some("tmpfs"), MsFlags::empty(), none).expect("hide it");
        let error = open(&config(OffloadMode::Auto, 1)).err().expect("refused");
        assert!(matches!(error, DeviceError::NoTun { .. }), "{error}");
        assert!(error.to_string().contains("modprobe tun"), "{error}");
        assert!(!std::fs::exists(TUN_PATH).expect("look"), "not made by us");

        // A file that not even its owner may open, and no capability that overrides this.
        std::fs::write(TUN_PATH, "").expect("a file");
        std::fs::set_permissions(TUN_PATH, Permissions::from_mode(0o000)).expect("no access");
        drop_capabilities(CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH);
        let error = open(&config(OffloadMode::Auto, 1)).err().expect("refused");
        assert!(
            matches!(error, DeviceError::TunNotAccessible { .. }),
            "{error}"
        );
        assert!(error.to_string().contains("run as root"), "{error}");
    });
}
