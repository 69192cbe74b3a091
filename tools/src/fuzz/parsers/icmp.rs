//! The harness of ICMP messages of both versions.

use std::net::IpAddr;

use packet::build::{self, Head};
use packet::checksum::RxChecksum;
use packet::icmp::{IcmpMessage, Icmpv4, Icmpv4View, Icmpv6, Icmpv6View, Quote};

use super::naive;
use crate::fuzz::optional;

/// Fuzzes an ICMP message, parsed as either version's.
pub fn fuzz_icmp(data: &[u8]) {
    if let Ok(view) = Icmpv4View::parse(data, RxChecksum::Vouched) {
        let message = view.message();
        rebuild_icmp(message, [10, 0, 0, 1].into(), view.body());
        assert_eq!(Icmpv4::from_bytes(&message.to_bytes()), message);
        assert!(view.quote().is_none() || message.is_error());
        quote(view.quote(), view.body());
    }
    let addr = [0xfd; 16].into();
    if let Ok(view) = Icmpv6View::parse(addr, addr, data, RxChecksum::Vouched) {
        let message = view.message();
        rebuild_icmp(message, addr.into(), view.body());
        assert_eq!(Icmpv6::from_bytes(&message.to_bytes()), message);
        assert!(view.quote().is_none() || message.is_error());
        quote(view.quote(), view.body());
        optional::mld(&view);
    }
    optional::igmp(data);
    assert_eq!(
        Icmpv4View::parse(data, RxChecksum::Unknown).is_ok(),
        data.len() >= 8 && naive(data) == 0
    );
}

fn quote(quote: Option<Quote<'_>>, body: &[u8]) {
    let Some(quote) = quote else {
        return;
    };
    assert!(body.starts_with(quote.original));
    if let Some(extensions) = quote.extensions {
        let behind = &body[quote.original.len()..];
        assert_eq!(extensions.bytes(), behind);
        let objects: usize = extensions
            .objects()
            .map(|object| 4 + object.payload.len())
            .sum();
        assert!(objects > 0 && objects + 4 == behind.len());
        assert!(behind[2..4] == [0, 0] || naive(behind) == 0);
    }
    if let Some(packet) = quote.packet() {
        assert!(packet.transport.len() <= quote.original.len());
        let _ = (packet.ports(), packet.tcp_seq());
    }
}

/// Builds the message again and checks that it parses to the same values, with the right checksum.
fn rebuild_icmp(message: impl Into<IcmpMessage>, addr: IpAddr, body: &[u8]) {
    let message = message.into();
    let mut head = Head::new();
    if body.len() > 60_000 {
        return;
    }
    build::prepend_icmp(
        &mut head,
        message,
        addr,
        addr,
        [body].into_iter(),
        body.len(),
    )
    .expect("fits");
    let built = [head.as_slice(), body].concat();
    match (message, addr) {
        (IcmpMessage::V6(message), IpAddr::V6(addr)) => {
            let view = Icmpv6View::parse(addr, addr, &built, RxChecksum::Unknown);
            let view = view.expect("built right");
            assert_eq!((view.message(), view.body()), (message, body));
        }
        (IcmpMessage::V4(message), _) => {
            let view = Icmpv4View::parse(&built, RxChecksum::Unknown).expect("built right");
            assert_eq!((view.message(), view.body()), (message, body));
        }
        _ => unreachable!("the address is of the message's version"),
    }
}
