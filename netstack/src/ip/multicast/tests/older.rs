//! Queriers of older versions.

use super::*;

#[test]
fn with_a_querier_of_igmp_v2_the_host_speaks_v2() {
    let mut rig = Rig::new(IpVersion::V4);
    rig.hear(&igmp(0x11, 100, "0.0.0.0", &[]));
    assert_eq!(rig.reporter.version(rig.now), QueryVersion::Two);
    rig.join("239.0.0.1");
    let report = Report::Old(QueryVersion::Two, ip("239.0.0.1"));
    let sent = rig.pass(20_000);
    assert_eq!(
        sent.len(),
        2,
        "at once, and again within ten seconds: {sent:?}"
    );
    assert_eq!((sent[0].0, &sent[0].1, &sent[1].1), (0, &report, &report));
    // A general query, then one about the group.
    for group in ["0.0.0.0", "239.0.0.1"] {
        rig.hear(&igmp(0x11, 10, group, &[]));
        assert_eq!(rig.due(), []);
        let sent = rig.pass(1_001);
        assert_eq!(
            sent.iter().map(|(_, sent)| sent).collect::<Vec<_>>(),
            [&report]
        );
    }
    rig.leave("239.0.0.1");
    assert_eq!(rig.due(), [Report::Leave(ip("239.0.0.1"))]);
    assert_eq!(rig.pass(60_000), []);
}

#[test]
fn in_version_two_a_neighbours_report_answers_for_the_host() {
    let mut rig = Rig::member(IpVersion::V4, &["239.0.0.1"]);
    rig.hear(&igmp(0x11, 100, "0.0.0.0", &[]));
    rig.hear(&igmp(0x16, 0, "239.0.0.1", &[]));
    assert_eq!(rig.pass(20_000), []);
    rig.leave("239.0.0.1");
    assert_eq!(rig.due(), [], "the neighbour is the last reporter");
    // Of the newest version no report is suppressed (RFC 9776 section 7.2.2).
    let mut rig = Rig::member(IpVersion::V4, &["239.0.0.1"]);
    rig.hear(&query4(100, "0.0.0.0", &[]));
    rig.hear(&igmp(0x16, 0, "239.0.0.1", &[]));
    assert_eq!(rig.pass(20_000).len(), 1);
}

#[test]
fn with_a_querier_of_igmp_v1_the_host_speaks_v1_and_answers_within_ten_seconds() {
    let mut rig = Rig::member(IpVersion::V4, &["239.0.0.1"]);
    rig.hear(&igmp(0x11, 0, "0.0.0.0", &[]));
    let sent = rig.pass(10_001);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].1, Report::Old(QueryVersion::One, ip("239.0.0.1")));
    rig.leave("239.0.0.1");
    assert_eq!(rig.pass(20_000), [], "IGMPv1 has no message for that");
}

#[test]
fn older_queriers_are_forgotten_in_turn() {
    let mut rig = Rig::member(IpVersion::V4, &["239.0.0.1"]);
    rig.hear(&igmp(0x11, 0, "0.0.0.0", &[]));
    rig.pass(100_000);
    rig.hear(&igmp(0x11, 100, "0.0.0.0", &[]));
    assert_eq!(rig.reporter.version(rig.now), QueryVersion::One);
    // 2 × 125 s + 10 × 10 s after each query (RFC 9776 section 8.12).
    rig.pass(250_000);
    assert_eq!(rig.reporter.version(rig.now), QueryVersion::Two);
    rig.pass(99_999);
    assert_eq!(rig.reporter.version(rig.now), QueryVersion::Two);
    rig.pass(1);
    assert_eq!(rig.reporter.version(rig.now), QueryVersion::Three);
}

#[test]
fn a_query_about_a_group_does_not_change_the_version() {
    let mut rig = Rig::member(IpVersion::V4, &["239.0.0.1"]);
    rig.hear(&igmp(0x11, 100, "239.0.0.1", &[]));
    assert_eq!(rig.reporter.version(rig.now), QueryVersion::Three);
    let sent = rig.pass(20_000);
    assert_eq!(
        records(&sent[0].1),
        [record(RecordKind::IsExclude, "239.0.0.1", &[])]
    );
}

#[test]
fn a_change_of_the_version_gives_up_what_is_pending() {
    let mut rig = Rig::new(IpVersion::V4);
    rig.join("239.0.0.1");
    assert_eq!(rig.due().len(), 1);
    rig.hear(&igmp(0x11, 100, "0.0.0.0", &[]));
    let sent = rig.pass(20_000);
    let report = Report::Old(QueryVersion::Two, ip("239.0.0.1"));
    assert_eq!(
        sent.iter().map(|(_, sent)| sent).collect::<Vec<_>>(),
        [&report]
    );
}

#[test]
fn with_a_router_of_mld_v1_the_host_speaks_v1() {
    let mut rig = Rig::member(IpVersion::V6, &["ff05::1"]);
    rig.hear(&query6(0xffff, "::", &[]));
    assert_eq!(rig.reporter.version(rig.now), QueryVersion::Two);
    // The response code is linear in this version: 65.535 s, not hours.
    let sent = rig.pass(65_536);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].1, Report::Old(QueryVersion::Two, ip("ff05::1")));
    rig.leave("ff05::1");
    assert_eq!(rig.due(), [Report::Leave(ip("ff05::1"))]);
    rig.pass(250_000);
    assert_eq!(rig.reporter.version(rig.now), QueryVersion::Three);
}
