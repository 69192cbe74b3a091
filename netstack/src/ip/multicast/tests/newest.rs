//! IGMPv3 and MLDv2: changes, and the rules of answers.

use super::*;

#[test]
fn a_change_is_reported_at_once_and_once_more_within_a_second() {
    for (family, group, _, _) in FAMILIES {
        let mut rig = Rig::new(family);
        for (change, kind) in [
            (Rig::join as fn(&mut Rig, &str), RecordKind::ToExclude),
            (Rig::leave, RecordKind::ToInclude),
        ] {
            change(&mut rig, group);
            let sent = rig.pass(5_000);
            let expected = [record(kind, group, &[])];
            assert_eq!(sent.len(), 2, "{sent:?}");
            assert!(sent.iter().all(|(_, report)| records(report) == expected));
            assert_eq!(sent[0].0, 0);
            assert!((0..=1_000).contains(&sent[1].0), "{sent:?}");
            assert_eq!(rig.reporter.poll_timeout(), None);
        }
    }
}

#[test]
fn a_later_change_takes_the_place_of_the_earlier_one_in_the_repetitions() {
    let mut rig = Rig::new(IpVersion::V4);
    rig.join("239.0.0.1");
    assert_eq!(rig.due().len(), 1);
    rig.leave("239.0.0.1");
    let sent = rig.pass(5_000);
    assert_eq!(
        sent.len(),
        2,
        "the robustness variable counts from the last change"
    );
    for (_, report) in sent {
        let expected = [record(RecordKind::ToInclude, "239.0.0.1", &[])];
        assert_eq!(records(&report), expected);
    }
}

#[test]
fn the_queriers_robustness_says_how_often_a_change_is_reported() {
    for (robustness, times) in [(0, 2), (1, 2), (3, 3), (7, 7)] {
        let mut rig = Rig::new(IpVersion::V4);
        rig.hear(&igmp(0x11, 10, "0.0.0.0", &tail(robustness, 125, &[])));
        rig.join("239.0.0.1");
        assert_eq!(rig.pass(20_000).len(), times, "{robustness}");
    }
}

#[test]
fn groups_of_every_host_and_of_no_scope_are_never_reported() {
    for (family, groups) in [
        (IpVersion::V4, &["224.0.0.1"][..]),
        (IpVersion::V6, &["ff02::1", "ff01::5", "ff00::5"]),
    ] {
        let mut rig = Rig::new(family);
        groups.iter().for_each(|group| rig.join(group));
        rig.hear(&query(
            family,
            1_000,
            FAMILIES[usize::from(family == IpVersion::V6)].2,
            &[],
        ));
        groups.iter().for_each(|group| rig.leave(group));
        assert_eq!(rig.pass(20_000), []);
    }
}

#[test]
fn a_general_query_is_answered_for_every_group_at_a_random_time() {
    for (family, group, unspecified, _) in FAMILIES {
        let mut times = Vec::new();
        for seed in 0..20 {
            let mut rig = Rig::member(family, &[group]);
            rig.rng = Rng::from_u64(seed);
            rig.hear(&query(family, 10_000, unspecified, &[]));
            assert_eq!(rig.due(), [], "never at once");
            let sent = rig.pass(10_001);
            assert_eq!(sent.len(), 1);
            assert_eq!(
                records(&sent[0].1),
                [record(RecordKind::IsExclude, group, &[])]
            );
            times.push(sent[0].0);
        }
        times.sort_unstable();
        assert!(times[0] < 3_000 && times[19] > 7_000, "{times:?}");
    }
}

#[test]
fn a_host_without_groups_and_a_query_about_another_group_cause_no_answer() {
    let mut rig = Rig::new(IpVersion::V4);
    rig.hear(&query4(100, "0.0.0.0", &[]));
    assert_eq!(rig.pass(20_000), []);
    let mut rig = Rig::member(IpVersion::V4, &["239.0.0.1"]);
    rig.hear(&query4(100, "239.0.0.2", &[]));
    assert_eq!(rig.pass(20_000), []);
}

#[test]
fn rule_1_an_earlier_answer_to_a_general_query_answers_this_one_too() {
    let mut rig = Rig::member(IpVersion::V4, &["239.0.0.1", "239.0.0.2"]);
    rig.hear(&query4(1, "0.0.0.0", &[]));
    rig.hear(&query4(250, "239.0.0.1", &[]));
    let sent = rig.pass(60_000);
    // The second delay may be shorter by chance, which the seed excludes.
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(records(&sent[0].1).len(), 2);
}

#[test]
fn rule_2_a_later_general_query_takes_the_place_of_the_earlier() {
    let mut rig = Rig::member(IpVersion::V4, &["239.0.0.1"]);
    rig.hear(&query4(250, "0.0.0.0", &[]));
    rig.hear(&query4(1, "0.0.0.0", &[]));
    let sent = rig.pass(60_000);
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(sent[0].0 <= 100, "{sent:?}");
}

#[test]
fn rule_3_a_query_about_a_group_or_its_sources_is_answered_for_them_alone() {
    for (family, group, _, source) in FAMILIES {
        let other = if family == IpVersion::V4 {
            "239.9.9.9"
        } else {
            "ff05::999"
        };
        let mut rig = Rig::member(family, &[group, other]);
        rig.hear(&query(family, 1_000, group, &[]));
        let sent = rig.pass(1_001);
        assert_eq!(sent.len(), 1);
        assert_eq!(
            records(&sent[0].1),
            [record(RecordKind::IsExclude, group, &[])]
        );
        rig.hear(&query(family, 1_000, group, &[source]));
        let sent = rig.pass(1_001);
        // Table 5: a member that excludes nothing wants each source that is asked about.
        assert_eq!(
            records(&sent[0].1),
            [record(RecordKind::IsInclude, group, &[source])]
        );
        rig.hear(&query(family, 1_000, group, &[]));
        let sent = rig.pass(1_001);
        assert_eq!(
            records(&sent[0].1),
            [record(RecordKind::IsExclude, group, &[])]
        );
    }
}

#[test]
fn rule_4_a_query_about_the_whole_group_covers_its_sources() {
    let group = "239.0.0.1";
    for (first, second) in [(&["192.0.2.1"][..], &[][..]), (&[], &["192.0.2.1"])] {
        let mut rig = Rig::member(IpVersion::V4, &[group]);
        rig.hear(&query4(100, group, first));
        rig.hear(&query4(2, group, second));
        let sent = rig.pass(60_000);
        assert_eq!(sent.len(), 1, "one answer: {sent:?}");
        assert!(sent[0].0 <= 200, "the earlier of both times: {sent:?}");
        assert_eq!(
            records(&sent[0].1),
            [record(RecordKind::IsExclude, group, &[])]
        );
    }
}

#[test]
fn rule_5_sources_of_several_queries_are_collected_up_to_a_limit() {
    let group = "239.0.0.1";
    let mut rig = Rig::member(IpVersion::V4, &[group]);
    rig.hear(&query4(10, group, &["192.0.2.1", "192.0.2.2"]));
    rig.hear(&query4(100, group, &["192.0.2.2", "192.0.2.3"]));
    let sent = rig.pass(60_000);
    let all = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
    assert_eq!(sent.len(), 1);
    assert_eq!(
        records(&sent[0].1),
        [record(RecordKind::IsInclude, group, &all)]
    );
    assert!(sent[0].0 <= 1_000, "{sent:?}");

    // A flood of sources takes no more memory: the answer covers all of them.
    let many: Vec<String> = (0..=MAX_SOURCES).map(|n| format!("192.0.2.{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for chunk in many.chunks(10) {
        rig.hear(&query4(10, group, chunk));
    }
    let sent = rig.pass(60_000);
    assert_eq!(
        records(&sent[0].1),
        [record(RecordKind::IsExclude, group, &[])]
    );
}

#[test]
fn a_group_that_is_left_is_no_longer_in_an_answer() {
    let mut rig = Rig::member(IpVersion::V4, &["239.0.0.1"]);
    rig.hear(&query4(100, "0.0.0.0", &[]));
    rig.hear(&query4(100, "239.0.0.1", &[]));
    rig.leave("239.0.0.1");
    let sent = rig.pass(60_000);
    assert_eq!(sent.len(), 2);
    for (_, report) in sent {
        let expected = [record(RecordKind::ToInclude, "239.0.0.1", &[])];
        assert_eq!(records(&report), expected);
    }
}

#[test]
fn many_groups_take_several_reports() {
    let groups: Vec<String> = (0..200).map(|n| format!("239.0.1.{n}")).collect();
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let mut rig = Rig::member(IpVersion::V4, &groups);
    rig.hear(&query4(10, "0.0.0.0", &[]));
    let sent = rig.pass(2_000);
    let lens: Vec<usize> = sent
        .iter()
        .map(|(_, report)| records(report).len())
        .collect();
    assert_eq!(lens, [MAX_BYTES / 8, 200 - MAX_BYTES / 8]);
}

#[test]
fn leaving_groups_is_bounded() {
    let mut rig = Rig::new(IpVersion::V4);
    for n in 0..1_000 {
        let group = format!("239.0.{}.{}", n / 250, n % 250);
        rig.join(&group);
        rig.leave(&group);
    }
    let reported: usize = rig.due().iter().map(|report| records(report).len()).sum();
    assert!(reported <= 256, "{reported}");
}

#[test]
fn groups_are_reported_again_once_there_is_a_link_local_address() {
    let mut rig = Rig::member(IpVersion::V6, &["ff05::1", "ff05::2"]);
    rig.reporter.report_all(rig.now, &mut rig.rng);
    let sent = rig.due();
    let expected = ["ff05::1", "ff05::2"].map(|group| record(RecordKind::ToExclude, group, &[]));
    assert_eq!(records(&sent[0]), expected);
}
