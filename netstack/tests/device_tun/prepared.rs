//! Devices that somebody else made: interfaces that are left as they are, and descriptors.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use netstack::base::Counters;
use netstack::device::observe::{Observer, SeenPacket, observe};
use netstack::device::{self, Device, DeviceError, OffloadMode, TunConfig, from_fds, replaceable};
use packet::Buffers;
use rustix::thread::CapabilitySet;
use tun_rs::{DeviceBuilder, Layer};

use crate::faults::drop_capabilities;
use crate::host::{HOST_V4, OURS_V4, PAIRS, Tun, config, in_namespace};
use crate::wire::{self, Seen};

/// Opens a device that this program may have had open a moment ago: a program that another test starts keeps a copy of
/// the descriptor until it is executed.
pub(crate) fn open(config: &TunConfig) -> Result<Vec<Box<dyn Device>>, DeviceError> {
    for _ in 0..100 {
        match device::open(config) {
            Err(DeviceError::Busy { .. }) => std::thread::sleep(Duration::from_millis(10)),
            opened => return opened,
        }
    }
    device::open(config)
}

/// Runs `ip` in this thread's namespace, and returns what it prints.
fn ip(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .expect("ip (iproute2)");
    assert!(output.status.success(), "ip {arguments}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// Makes a persistent device with an MTU of 1400, addresses, a short queue and a route of its owner's.
fn prepare(queues: usize) {
    let maker = DeviceBuilder::new()
        .name("t0")
        .multi_queue(queues > 1)
        .build_sync()
        .expect("made beforehand");
    maker.persist().expect("kept");
    drop(maker);
    ip("link set t0 mtu 1400 txqueuelen 77 up");
    ip("addr add 10.99.0.1/24 dev t0");
    ip("addr add fd99::1/64 dev t0 nodad");
    ip("route add 192.0.2.0/24 dev t0");
}

/// Returns what an administrator sees of the device, except whether a program has it open.
fn state() -> String {
    let link = ip("-o link show t0");
    let words: Vec<&str> = link.split_whitespace().collect();
    let after = |name: &str| {
        words
            .iter()
            .skip_while(|word| **word != name)
            .nth(1)
            .map(|word| word.trim_end_matches('\\'))
    };
    let up = link.contains("UP");
    let (mtu, queue, discipline) = (after("mtu"), after("qlen"), after("qdisc"));
    format!(
        "up {up} mtu {mtu:?} queue {queue:?} {discipline:?}\n{}{}",
        // The kernel's own link-local address becomes usable meanwhile.
        ip("-o addr show dev t0").replace(" tentative", ""),
        ip("route show dev t0").replace(" linkdown", ""),
    )
}

/// Pings the kernel through the devices, over each of the pairs of addresses.
fn ping(devices: Vec<Box<dyn Device>>, pairs: &[(IpAddr, IpAddr)]) {
    let buffers = Buffers::new(devices[0].caps().slab_bytes(), 64, 1024);
    let mut tun = Tun {
        devices,
        buffers,
        counters: Counters::new(),
    };
    for &(host, ours) in pairs {
        tun.send(wire::echo(ours, host, b"anybody there?"));
        tun.wait(|packet| {
            let seen = Seen::of(&packet.data);
            let reply = match seen.proto {
                wire::ICMPV6 => 129,
                _ => 0,
            };
            (seen.transport[0] == reply && packet.data.ends_with(b"anybody there?")).then_some(())
        });
    }
}

#[test]
fn a_prepared_device_stays_as_it_is_and_needs_no_privilege() {
    for queues in [1, 2] {
        for offload in [OffloadMode::On, OffloadMode::Off] {
            in_namespace(move || {
                prepare(queues);
                let before = state();
                assert!(before.contains("192.0.2.0/24"), "{before}");
                drop_capabilities(CapabilitySet::NET_ADMIN);
                let mut config = TunConfig::prepared("t0");
                config.queues = queues;
                config.offload = offload;
                let devices = open(&config).expect("without CAP_NET_ADMIN");
                assert_eq!(devices[0].caps().mtu, 1400);
                assert_eq!(state(), before, "open");
                ping(devices, &PAIRS);
                assert_eq!(state(), before, "closed again");
            });
        }
    }
}

#[test]
fn of_an_existing_device_only_what_differs_is_changed() {
    in_namespace(|| {
        prepare(1);
        let before = state();
        let mut config = config(OffloadMode::Auto, 1);
        config.mtu = 1400;
        ping(open(&config).expect("all is set"), &PAIRS);
        assert_eq!(state(), before, "nothing was missing");
        // One address more, and another MTU: the route and the queue length stay.
        config.host_v4 = Some((Ipv4Addr::new(10, 98, 0, 1), 24));
        config.mtu = 1300;
        open(&config).expect("with a new address");
        let after = state();
        for kept in [
            "192.0.2.0/24",
            "10.99.0.1/24",
            "10.98.0.1/24",
            "\"77\"",
            "\"1300\"",
        ] {
            assert!(after.contains(kept), "{kept}: {after}");
        }
    });
    in_namespace(|| {
        prepare(1);
        drop_capabilities(CapabilitySet::NET_ADMIN);
        let mut config = config(OffloadMode::Auto, 1);
        config.mtu = 1400;
        ping(open(&config).expect("nothing to change"), &PAIRS);
        config.mtu = 1500;
        let error = open(&config).err().expect("a change needs the privilege");
        assert!(matches!(error, DeviceError::NotPermitted { .. }), "{error}");
    });
}

#[test]
fn a_device_that_is_not_there_is_not_made_and_one_that_is_gets_no_address() {
    in_namespace(|| {
        let error = open(&TunConfig::prepared("t0")).err().expect("refused");
        assert!(matches!(error, DeviceError::NotPrepared { .. }), "{error}");
        let mut config = config(OffloadMode::Auto, 1);
        config.prepared = true;
        let error = open(&config).err().expect("refused");
        assert!(error.to_string().contains("used as it is"), "{error}");
    });
}

#[test]
fn a_single_address_has_a_peer() {
    in_namespace(|| {
        let mut config = config(OffloadMode::Auto, 1);
        let peer_v6 = Ipv6Addr::new(0xfd98, 0, 0, 0, 0, 0, 0, 9);
        let peer_v4 = Ipv4Addr::new(172, 16, 0, 9);
        config.host_v4 = config.host_v4.map(|(host, _)| (host, 32));
        config.host_v6 = config.host_v6.map(|(host, _)| (host, 128));
        (config.peer_v4, config.peer_v6) = (Some(peer_v4), Some(peer_v6));
        let pairs = [
            (PAIRS[0].0, IpAddr::from(peer_v4)),
            (PAIRS[1].0, IpAddr::from(peer_v6)),
        ];
        ping(open(&config).expect("with peers"), &pairs);
        config.host_v4 = config.host_v4.map(|(host, _)| (host, 24));
        let error = open(&config).err().expect("refused");
        assert!(matches!(error, DeviceError::BadPeer { .. }), "{error}");
    });
}

/// Makes a device as another program would, and returns a descriptor of it.
fn descriptor(name: &str, build: impl FnOnce(DeviceBuilder) -> DeviceBuilder) -> OwnedFd {
    let made = build(DeviceBuilder::new().name(name)).build_sync();
    let made = made.expect("made by another program");
    made.as_fd().try_clone_to_owned().expect("a descriptor")
}

#[test]
fn a_descriptor_is_taken_over_with_or_without_offload() {
    for offload in [true, false] {
        in_namespace(move || {
            let fd = descriptor("t0", |builder| builder.offload(offload));
            ip("link set t0 mtu 1400");
            ip("addr add 10.99.0.1/24 dev t0");
            let before = state();
            let devices = from_fds(vec![fd], 1400).expect("a TUN queue");
            let caps = devices[0].caps();
            assert_eq!((caps.mtu, caps.offload.tso), (1400, offload));
            ping(devices, &[(HOST_V4, OURS_V4)]);
            drop(before);
        });
    }
}

#[test]
fn wrapped_devices_hand_their_descriptor_on() {
    struct Unseen;
    impl Observer for Unseen {
        fn is_watching(&self) -> bool {
            false
        }
        fn on_packet(&self, _: SeenPacket<'_>) {}
    }
    for offload in [true, false] {
        in_namespace(move || {
            let fd = descriptor("t0", |builder| builder.offload(offload));
            let device = from_fds(vec![fd], 1500).expect("a queue").remove(0);
            let observed = observe(device, Arc::new(Unseen));
            let (devices, replacer) = replaceable(vec![Box::new(observed)]);
            let copies: Result<Vec<OwnedFd>, _> = devices
                .iter()
                .map(|device| device.descriptor().expect("a device with a descriptor"))
                .collect();
            drop((devices, replacer));
            let devices = from_fds(copies.expect("copied"), 1500).expect("the same queue");
            assert_eq!(devices[0].caps().offload.tso, offload);
        });
    }
}

#[test]
fn a_descriptor_works_from_another_namespace() {
    in_namespace(|| {
        let (sender, receiver) = std::sync::mpsc::channel();
        let (done, finished) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                in_namespace(move || {
                    let fd = descriptor("elsewhere", |builder| builder.offload(true));
                    ip("addr add 10.99.0.1/24 dev elsewhere");
                    sender.send(fd).expect("sent");
                    // The namespace lives as long as this thread.
                    let _ = finished.recv();
                });
            });
            let fd = receiver.recv().expect("a descriptor");
            let devices = from_fds(vec![fd], 1500).expect("a TUN queue");
            assert!(devices[0].caps().offload.tso);
            ping(devices, &[(HOST_V4, OURS_V4)]);
            drop(done);
        });
    });
}

#[test]
fn a_descriptor_that_cannot_be_used_is_refused_with_the_reason() {
    in_namespace(|| {
        let refused = |fds: Vec<OwnedFd>, mtu: u16, why: &str| {
            let error = from_fds(fds, mtu).err().expect(why);
            assert!(matches!(error, DeviceError::Descriptor { .. }), "{error}");
            assert!(error.to_string().contains(why), "{why}: {error}");
        };
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        refused(vec![reader.into()], 1500, "not of /dev/net/tun");
        writer.write_all(b"x").expect_err("nobody reads");
        let plain = std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/net/tun")
            .expect("a descriptor without an interface");
        refused(vec![plain.into()], 1500, "no interface yet");
        let tap = descriptor("tap0", |builder| builder.layer(Layer::L2));
        refused(vec![tap], 1500, "TAP device");
        let tun = descriptor("t2", |builder| builder);
        refused(vec![tun], 67, "at least 68");
        let two = vec![
            descriptor("t3", |builder| builder),
            descriptor("t4", |builder| builder),
        ];
        refused(two, 1500, "one device");
    });
}
