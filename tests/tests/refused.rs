//! Values that cannot work are refused with a sentence that names them, before anything starts.

use std::time::Duration;

use netstack::base::Config;
use netstack::device::Device;
use netstack::device::channel::{ChannelConfig, channel};
use netstack::net::{Prefix, Stack, StackBuilder};

fn device(mtu: u16) -> Box<dyn Device> {
    let config = ChannelConfig {
        mtu,
        ..ChannelConfig::default()
    };
    Box::new(channel(config).0)
}

fn builder(address: &str) -> StackBuilder {
    let prefix: Prefix = address.parse().expect(address);
    Stack::builder().address(prefix.address(), prefix.len())
}

/// Returns the sentence with which a start is refused, after a check that it names `part`.
fn refusal(builder: StackBuilder, devices: Vec<Box<dyn Device>>, part: &str) -> String {
    let error = builder.start(devices).err();
    let sentence = error
        .unwrap_or_else(|| panic!("{part}: started"))
        .to_string();
    assert!(sentence.contains(part), "{part}: {sentence}");
    assert!(!sentence.contains('\n'), "one sentence: {sentence}");
    sentence
}

#[test]
fn an_mtu_that_cannot_carry_a_family_is_refused() {
    for (address, mtu) in [
        ("10.77.0.2/24", 0),
        ("10.77.0.2/24", 10),
        ("10.77.0.2/24", 67),
        ("fd77::2/64", 60),
        ("fd77::2/64", 1_279),
    ] {
        refusal(builder(address), vec![device(mtu)], &mtu.to_string());
    }
    for (address, mtu) in [("10.77.0.2/24", 68), ("fd77::2/64", 1_280)] {
        let stack = builder(address).start(vec![device(mtu)]).expect(address);
        drop(stack);
    }
}

#[test]
fn queues_of_different_devices_are_refused() {
    let sentence = refusal(
        builder("10.77.0.2/24"),
        vec![device(1_500), device(1_400)],
        "1400",
    );
    assert!(sentence.contains("1500"), "{sentence}");
    refusal(builder("10.77.0.2/24"), Vec::new(), "no device queue");
}

#[test]
fn timers_and_tables_that_cannot_work_are_refused() {
    type Change = fn(&mut Config);
    let changes: [(&str, Change); 5] = [
        ("rto_min", |config| config.tcp.rto_min = Duration::ZERO),
        ("rto_max", |config| {
            config.tcp.rto_max = Duration::from_millis(1)
        }),
        ("max_connections", |config| config.max_connections = 0),
        ("send_buffer", |config| config.tcp.send_buffer = 0),
        ("memory_bytes", |config| config.memory_bytes = Some(1)),
    ];
    for (key, change) in changes {
        let mut config = Config::default();
        change(&mut config);
        let builder = builder("10.77.0.2/24").config(config);
        refusal(builder, vec![device(1_500)], key);
    }
}
