//! Tests of the route table.

use super::*;
use crate::base::Rng;
use core::net::Ipv4Addr;

fn prefix(text: &str) -> Prefix {
    text.parse().expect(text)
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

fn route(text: &str) -> Route {
    Route::new(prefix(text))
}

#[test]
fn the_longest_prefix_wins_whatever_the_order() {
    let networks = [
        ("0.0.0.0/0", RouteKind::Link),
        ("10.0.0.0/8", RouteKind::Unreachable),
        ("10.1.0.0/16", RouteKind::Link),
        ("10.1.2.3/32", RouteKind::Prohibit),
        ("fd77::/64", RouteKind::Link),
        ("::/0", RouteKind::Blackhole),
    ];
    for start in 0..networks.len() {
        let mut t = RouteTable::new();
        for n in 0..networks.len() {
            let (network, kind) = networks[(start + n) % networks.len()];
            let route = Route {
                kind,
                ..route(network)
            };
            t.add(route).expect("added");
        }
        let found = |dst: &str| match t.lookup(ip(dst)) {
            Ok(route) => (route.prefix.to_string(), route.kind),
            Err(NoRoute::Refused { route, .. }) => (route.prefix.to_string(), route.kind),
            Err(NoRoute::Missing(_)) => panic!("no route to {dst}"),
        };
        for (dst, at) in [
            ("8.8.8.8", 0),
            ("10.9.9.9", 1),
            ("10.1.9.9", 2),
            ("10.1.2.3", 3),
            ("fd77::9", 4),
            ("2001:db8::1", 5),
        ] {
            assert_eq!(found(dst), (networks[at].0.to_owned(), networks[at].1));
        }
        for many in ["255.255.255.255", "224.0.0.1", "ff02::1"] {
            assert!(t.lookup(ip(many)).is_ok(), "{many}");
        }
    }
}

#[test]
fn no_route_is_an_answer() {
    let mut t = RouteTable::new();
    let missing = Err(NoRoute::Missing(ip("10.0.0.1")));
    assert_eq!(t.lookup(ip("10.0.0.1")), missing);
    t.add(route("10.0.0.7/24")).expect("added");
    assert!(t.lookup(ip("10.0.0.1")).is_ok());
    assert!(t.lookup(ip("10.0.1.1")).is_err());
    assert!(t.lookup(ip("fd77::1")).is_err());
    assert!(t.remove(prefix("10.0.0.0/24")));
    assert!(!t.remove(prefix("10.0.0.0/24")));
    assert_eq!(t.lookup(ip("10.0.0.1")), missing);
}

#[test]
fn refused_and_replaced_routes() {
    let mut t = RouteTable::new();
    for source in [
        "fd77::1",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "127.0.0.1",
    ] {
        let from = Route {
            source: Some(ip(source)),
            ..route("0.0.0.0/0")
        };
        assert!(
            matches!(t.add(from), Err(RouteError::Source(..))),
            "{source}"
        );
    }
    for (network, least) in [("0.0.0.0/0", 68), ("::/0", 1280)] {
        let small = Route {
            mtu: Some(least - 1),
            ..route(network)
        };
        assert_eq!(
            t.add(small),
            Err(RouteError::Mtu {
                mtu: least - 1,
                least
            })
        );
        let enough = Route {
            mtu: Some(least),
            ..route(network)
        };
        assert_eq!(t.add(enough), Ok(()));
    }
    t.add(route("10.0.0.1/24")).expect("added");
    let again = Route {
        source: Some(ip("10.0.0.1")),
        ..route("10.0.0.2/24")
    };
    assert_eq!(
        t.add(again),
        Err(RouteError::Duplicate(prefix("10.0.0.0/24")))
    );
    t.replace(again).expect("replaced");
    assert_eq!(t.iter().count(), 3);
    assert_eq!(t.lookup(ip("10.0.0.9")).map(|r| r.source), Ok(again.source));
    t.forget_source(ip("10.0.0.1"));
    assert_eq!(t.lookup(ip("10.0.0.9")).map(|r| r.source), Ok(None));
}

#[test]
fn a_family_reaches_all_with_a_default_route_and_none_that_refuses() {
    let mut t = RouteTable::new();
    t.add(route("10.0.0.0/24")).expect("added");
    assert!(!t.reaches_all(false));
    t.add(route("0.0.0.0/0")).expect("added");
    assert!(t.reaches_all(false) && !t.reaches_all(true));
    let prohibit = Route {
        kind: RouteKind::Prohibit,
        ..route("10.9.0.0/16")
    };
    t.add(prohibit).expect("added");
    assert!(!t.reaches_all(false));
    assert!(t.remove(prohibit.prefix) && t.reaches_all(false));
}

#[test]
fn bounded_and_equal_to_a_full_scan() {
    let seed = 7;
    let mut rng = Rng::from_u64(seed);
    let mut t = RouteTable::new();
    let mut added = Vec::new();
    while added.len() < MAX_ROUTES {
        let address = IpAddr::V4(Ipv4Addr::from_bits(rng.u32() & 0x0fff_ffff | 0x0a00_0000));
        let p = Prefix::new(address, 4 + rng.below(29) as u8).expect("length");
        if t.add(Route::new(p)).is_ok() {
            added.push(p.network());
        }
    }
    assert_eq!(t.add(route("fd77::/64")), Err(RouteError::TooMany));
    for _ in 0..2_000 {
        let dst = IpAddr::V4(Ipv4Addr::from_bits(rng.u32() & 0x0fff_ffff | 0x0a00_0000));
        let longest = added
            .iter()
            .filter(|p| p.contains(dst))
            .map(Prefix::len)
            .max();
        assert_eq!(
            t.lookup(dst).ok().map(|r| r.prefix.len()),
            longest,
            "seed {seed}, {dst}"
        );
    }
}
