//! Tests of what is learnt of a path, and of when it is forgotten.

use super::*;
use crate::base::Rng;
use core::net::Ipv4Addr;

const AGE: Duration = Duration::from_secs(600);
const NOW: Instant = Instant::from_millis(1_000_000);

fn cache(entries: usize) -> PathMtu {
    PathMtu::new(entries, Some(AGE), HashKey::random(&mut Rng::from_u64(5)))
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

#[test]
fn reports() {
    // (destination, reported, quoted length, device MTU) → (MTU, don't fragment)
    let cases = [
        ("10.0.0.1", 1400, 1500, 1500, (1400, true)),
        // Never raised, never above the device.
        ("10.0.0.1", 1500, 1500, 1500, (1500, true)),
        ("10.0.0.1", 9000, 9001, 1500, (1500, true)),
        // Would have fitted.
        ("10.0.0.1", 1400, 1400, 1500, (1500, true)),
        ("10.0.0.1", 1400, 40, 1500, (1500, true)),
        // No MTU in the report: the next plateau below what was sent.
        ("10.0.0.1", 0, 1500, 1500, (1492, true)),
        ("10.0.0.1", 0, 1492, 1500, (1006, true)),
        ("10.0.0.1", 0, 65_535, 65_535, (32_000, true)),
        ("10.0.0.1", 0, 68, 1500, (1500, true)),
        // Below the floor: held there, fragments allowed.
        ("10.0.0.1", 575, 1500, 1500, (576, false)),
        ("10.0.0.1", 1, 1500, 1500, (576, false)),
        ("10.0.0.1", 576, 1500, 1500, (576, true)),
        ("fd77::1", 1400, 1500, 1500, (1400, true)),
        ("fd77::1", 1280, 1500, 1500, (1280, true)),
        ("fd77::1", 1279, 1500, 1500, (1500, true)),
        ("fd77::1", 0, 1500, 1500, (1500, true)),
        ("fd77::1", u32::MAX, 1500, 1500, (1500, true)),
    ];
    for (dst, reported, quoted, device, (mtu, dont_fragment)) in cases {
        let mut c = cache(16);
        let told = c.on_packet_too_big(ip(dst), reported, quoted, device, NOW);
        let known = mtu != device || !dont_fragment;
        let expected = Path {
            mtu,
            dont_fragment,
            ceiling: known.then_some(mtu),
            link_mtu: device,
        };
        let label = format!("{dst} {reported} {quoted} {device}");
        assert_eq!(c.path(ip(dst), device, NOW), expected, "{label}");
        assert_eq!(told.is_some(), known, "{label}");
        assert_eq!(
            c.get(ip("10.9.9.9"), device, NOW),
            device,
            "others: {label}"
        );
    }
}

#[test]
fn estimates_age_and_only_fall() {
    let mut c = cache(16);
    let dst = ip("10.0.0.1");
    assert_eq!(c.on_packet_too_big(dst, 1400, 1500, 1500, NOW), Some(1400));
    assert_eq!(c.on_packet_too_big(dst, 1450, 1500, 1500, NOW), None);
    let later = NOW + Duration::from_secs(300);
    assert_eq!(
        c.on_packet_too_big(dst, 1300, 1400, 1500, later),
        Some(1300)
    );
    assert_eq!(c.get(dst, 1500, later), 1300);
    let before = later + AGE - Instant::from_nanos(1);
    assert_eq!(c.get(dst, 1500, Instant::ZERO + before), 1300);
    assert_eq!(c.get(dst, 1500, later + AGE), 1500);
    c.clear();
    assert_eq!(c.get(dst, 1500, later), 1500);
}

#[test]
fn the_age_of_estimates_can_be_any_and_none() {
    let dst = ip("10.0.0.1");
    for (age, later, expected) in [
        (Some(AGE * 2), AGE * 2 - Duration::from_nanos(1), 1400),
        (Some(AGE * 2), AGE * 2, 1500),
        (None, AGE * 1_000, 1400),
    ] {
        let key = HashKey::random(&mut Rng::from_u64(5));
        let mut c = PathMtu::new(16, age, key);
        c.on_packet_too_big(dst, 1400, 1500, 1500, NOW);
        assert_eq!(c.get(dst, 1500, NOW + later), expected, "{age:?}");
    }
}

#[test]
fn rfc4821_5_2_what_probes_found_is_kept_and_larger_packets_are_tried_again_after_a_while() {
    let mut c = cache(16);
    let dst = ip("10.0.0.1");
    c.on_search(dst, 1_064, None, 1_500, NOW);
    let searching = Path {
        mtu: 1_064,
        ceiling: Some(1_500),
        dont_fragment: true,
        link_mtu: 1_500,
    };
    let within = searching.within(1_200);
    assert_eq!((within.mtu, within.ceiling), (1_064, Some(1_200)));
    assert_eq!(
        within.within(900),
        Path {
            ceiling: Some(900),
            ..Path::unknown(900)
        }
    );
    assert_eq!(c.path(dst, 1_500, NOW), searching);
    assert_eq!(c.get(dst, 1_500, NOW + AGE), 1_500, "no proof");
    c.on_search(dst, 1_290, Some(1_295), 1_500, NOW);
    let at = |secs| NOW + Duration::from_secs(secs);
    for (secs, mtu, ceiling) in [
        (0, 1_290, Some(1_295)),
        (599, 1_290, Some(1_295)),
        (600, 1_290, Some(1_500)),
        (3_599, 1_290, Some(1_500)),
        (3_600, 1_500, None),
    ] {
        let path = c.path(dst, 1_500, at(secs));
        assert_eq!((path.mtu, path.ceiling), (mtu, ceiling), "after {secs} s");
    }
    // A probe that arrives raises the estimate; the device bounds both.
    c.on_search(dst, 1_480, Some(1_499), 1_500, NOW);
    assert_eq!(c.get(dst, 1_500, NOW), 1_480);
    assert_eq!(c.path(dst, 1_400, NOW).ceiling, Some(1_400));
}

#[test]
fn rfc4821_7_6_2_a_report_about_a_probe_bounds_the_search_and_not_what_is_sent() {
    let mut c = cache(16);
    let dst = ip("10.0.0.1");
    c.on_search(dst, 1_064, None, 1_500, NOW);
    assert_eq!(c.on_packet_too_big(dst, 1_300, 1_500, 1_500, NOW), None);
    let path = c.path(dst, 1_500, NOW);
    assert_eq!((path.mtu, path.ceiling), (1_064, Some(1_300)));
    assert_eq!(
        c.on_packet_too_big(dst, 1_400, 1_500, 1_500, NOW),
        None,
        "no router raises it"
    );
    assert_eq!(c.path(dst, 1_500, NOW).ceiling, Some(1_300));
    assert_eq!(
        c.on_packet_too_big(dst, 1_000, 1_064, 1_500, NOW),
        Some(1_000)
    );
    assert_eq!(c.path(dst, 1_500, NOW).ceiling, Some(1_000));
}

#[test]
fn a_search_never_shrinks_a_path_below_the_minimum_of_its_family() {
    let mut c = cache(16);
    for (dst, least) in [("10.0.0.1", SEARCH_FLOOR_V4), ("fd77::1", IPV6_MIN_MTU)] {
        c.on_search(ip(dst), 128, Some(200), 1_500, NOW);
        let path = c.path(ip(dst), 1_500, NOW);
        assert_eq!((path.mtu, path.ceiling), (least, Some(least)), "{dst}");
    }
}

#[test]
fn one_ipv6_network_has_a_share_of_the_cache() {
    let mut c = cache(4_096);
    let others: Vec<IpAddr> = (0..200)
        .map(|n| ip(&format!("2001:db8:0:{n:x}::1")))
        .collect();
    for dst in &others {
        assert_eq!(c.on_packet_too_big(*dst, 1400, 1500, 1500, NOW), Some(1400));
    }
    for n in 0..20_000 {
        let dst = ip(&format!("fd77::{n:x}"));
        let later = NOW + Duration::from_secs(1);
        assert_eq!(
            c.on_packet_too_big(dst, 1300, 1500, 1500, later),
            Some(1300)
        );
    }
    let own = c.entries.iter().flatten().filter(|e| e.mtu == 1300).count();
    assert!(own <= WAYS * PEER_SETS as usize, "{own}");
    let kept = others.iter().filter(|dst| c.get(**dst, 1500, NOW) == 1400);
    assert!(kept.count() >= 190);
}

#[test]
fn a_flood_of_reports_stays_within_the_cache() {
    let mut c = cache(64);
    for n in 0..10_000u32 {
        let dst = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n));
        let at = NOW + Duration::from_micros(u64::from(n));
        assert_eq!(c.on_packet_too_big(dst, 1400, 1500, 1500, at), Some(1400));
        assert_eq!(c.get(dst, 1500, at), 1400, "the newest is there");
    }
    assert_eq!(c.entries.len(), 64);
    assert!(c.entries.iter().all(Option::is_some));
}
