//! Stacks whose packets the test carries itself, over packet channels.

use netstack::device::channel::{ChannelConfig, PacketPipe, channel};
use netstack::net::{Prefix, Stack};

/// Starts a stack with addresses, such as `10.77.0.1/24`; returns it and the other end of its channel.
pub fn stack(addresses: &[&str], config: ChannelConfig) -> (Stack, PacketPipe) {
    let (device, pipe) = channel(config);
    let mut builder = Stack::builder();
    for text in addresses {
        let prefix: Prefix = text.parse().expect("an address and its prefix length");
        builder = builder.address(prefix.address(), prefix.len());
    }
    let stack = builder.start(vec![Box::new(device)]);
    (stack.expect("a stack"), pipe)
}

/// Carries packets between two stacks until both are gone.
pub async fn carry(a: PacketPipe, b: PacketPipe) {
    carry_seen(a, b, |_| {}).await;
}

/// Carries packets between two stacks until both are gone, and shows each packet of the first to `seen`.
pub async fn carry_seen(a: PacketPipe, b: PacketPipe, mut seen: impl FnMut(&[u8])) {
    let ((mut from_a, mut to_a), (mut from_b, mut to_b)) = (a.into_split(), b.into_split());
    let there = async {
        while let Some(packet) = from_a.recv().await {
            seen(&packet);
            let _ = to_b.send(packet).await;
        }
    };
    let back = async {
        while let Some(packet) = from_b.recv().await {
            let _ = to_a.send(packet).await;
        }
    };
    futures::join!(there, back);
}
