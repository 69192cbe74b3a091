//! Filters of sources in reports of the newest version, and what older ones say of them.

use super::FilterMode::{Exclude, Include};
use super::*;

/// The filter of these sources, by the last number of their addresses.
fn filter(family: IpVersion, mode: FilterMode, sources: &[u8]) -> SourceFilter {
    SourceFilter::new(mode, sources.iter().map(|number| source(family, *number)))
}

fn source(family: IpVersion, number: u8) -> IpAddr {
    match family {
        IpVersion::V4 => IpAddr::from([192, 0, 2, number]),
        IpVersion::V6 => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, number.into()]),
    }
}

fn of(family: IpVersion, group: &str, kind: RecordKind, sources: &[u8]) -> Record {
    Record {
        kind,
        group: ip(group),
        sources: sources
            .iter()
            .map(|number| source(family, *number))
            .collect(),
    }
}

/// A host that wants these sources of `group`, which was reported to the end.
fn wanting(family: IpVersion, group: &str, mode: FilterMode, sources: &[u8]) -> Rig {
    let mut rig = Rig::new(family);
    rig.want(group, &filter(family, mode, sources));
    rig.pass(20_000);
    rig
}

#[test]
fn a_change_of_sources_is_reported_by_table_3() {
    use RecordKind::{Allow, Block, ToExclude, ToInclude};
    type Records<'a> = &'a [(RecordKind, &'a [u8])];
    let cases: [(_, _, Records<'_>); 10] = [
        (
            (Include, &[][..]),
            (Include, &[1, 2][..]),
            &[(Allow, &[1, 2])],
        ),
        (
            (Include, &[1, 2]),
            (Include, &[2, 3]),
            &[(Allow, &[3]), (Block, &[1])],
        ),
        ((Include, &[1]), (Include, &[]), &[(Block, &[1])]),
        (
            (Exclude, &[1, 2]),
            (Exclude, &[2, 3]),
            &[(Allow, &[1]), (Block, &[3])],
        ),
        ((Exclude, &[]), (Exclude, &[1]), &[(Block, &[1])]),
        ((Include, &[1]), (Exclude, &[2]), &[(ToExclude, &[2])]),
        ((Include, &[]), (Exclude, &[]), &[(ToExclude, &[])]),
        ((Exclude, &[1]), (Include, &[2]), &[(ToInclude, &[2])]),
        ((Exclude, &[]), (Include, &[]), &[(ToInclude, &[])]),
        ((Include, &[1]), (Include, &[1]), &[]),
    ];
    for (family, group, _, _) in FAMILIES {
        for (before, after, expected) in cases {
            let mut rig = wanting(family, group, before.0, before.1);
            rig.want(group, &filter(family, after.0, after.1));
            let sent = rig.pass(20_000);
            let expected: Vec<_> = expected
                .iter()
                .map(|(kind, sources)| of(family, group, *kind, sources))
                .collect();
            assert_eq!(sent.len(), if expected.is_empty() { 0 } else { 2 });
            assert!(sent.iter().all(|(_, report)| records(report) == expected));
        }
    }
}

#[test]
fn a_source_that_changes_is_reported_as_often_as_the_one_before() {
    let (v4, group) = (IpVersion::V4, "232.0.0.1");
    let of = |kind, sources: &[u8]| of(v4, group, kind, sources);
    let mut rig = Rig::new(v4);
    rig.want(group, &filter(v4, Include, &[1]));
    assert_eq!(records(&rig.due()[0]), [of(RecordKind::Allow, &[1])]);
    rig.want(group, &filter(v4, Include, &[1, 2]));
    assert_eq!(records(&rig.due()[0]), [of(RecordKind::Allow, &[1, 2])]);
    let sent = rig.pass(20_000);
    assert_eq!(sent.len(), 1, "twice each: {sent:?}");
    assert_eq!(records(&sent[0].1), [of(RecordKind::Allow, &[2])]);
    // One that is unwanted again before it was reported twice.
    rig.want(group, &filter(v4, Include, &[1, 2, 3]));
    assert_eq!(rig.due().len(), 1);
    rig.want(group, &filter(v4, Include, &[1, 2]));
    let sent = rig.pass(20_000);
    assert_eq!(sent.len(), 2);
    for (_, report) in &sent {
        assert_eq!(records(report), [of(RecordKind::Block, &[3])]);
    }
}

#[test]
fn a_change_of_the_mode_is_reported_first_and_sources_that_changed_since_after_it() {
    let (v4, group) = (IpVersion::V4, "239.0.0.1");
    let mut rig = wanting(v4, group, Include, &[1]);
    rig.want(group, &filter(v4, Exclude, &[2]));
    let of = |kind, sources: &[u8]| of(v4, group, kind, sources);
    assert_eq!(records(&rig.due()[0]), [of(RecordKind::ToExclude, &[2])]);
    rig.want(group, &filter(v4, Exclude, &[2, 3]));
    let sent = rig.pass(20_000);
    let sent: Vec<_> = sent.iter().map(|(_, report)| records(report)).collect();
    assert_eq!(
        sent,
        [
            [of(RecordKind::ToExclude, &[2, 3])],
            [of(RecordKind::Block, &[3])]
        ]
    );
}

#[test]
fn queries_are_answered_with_the_mode_and_the_sources_by_table_5() {
    use RecordKind::{IsExclude, IsInclude};
    for (family, group, unspecified, _) in FAMILIES {
        for (mode, kind) in [(Include, IsInclude), (Exclude, IsExclude)] {
            let mut rig = wanting(family, group, mode, &[1, 2]);
            for asked in [unspecified, group] {
                rig.hear(&query(family, 1_000, asked, &[]));
                let sent = rig.pass(1_001);
                assert_eq!(sent.len(), 1);
                assert_eq!(records(&sent[0].1), [of(family, group, kind, &[1, 2])]);
            }
            // INCLUDE (A) about B: A * B; EXCLUDE (A) about B: B - A; no answer for nothing.
            let wanted: [&[u8]; 3] = match mode {
                Include => [&[2], &[1, 2], &[]],
                Exclude => [&[3], &[], &[3]],
            };
            for (asked, wanted) in [&[2, 3][..], &[1, 2], &[3]].into_iter().zip(wanted) {
                let sources: Vec<String> = asked
                    .iter()
                    .map(|number| source(family, *number).to_string())
                    .collect();
                let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
                rig.hear(&query(family, 1_000, group, &sources));
                let sent = rig.pass(1_001);
                let expected = [of(family, group, IsInclude, wanted)];
                let expected = if wanted.is_empty() {
                    &[][..]
                } else {
                    &expected
                };
                let answers: Vec<_> = sent.iter().flat_map(|(_, sent)| records(sent)).collect();
                assert!(answers.into_iter().eq(expected), "{mode:?} {asked:?}");
            }
        }
    }
}

#[test]
fn sources_that_do_not_fit_one_report_are_divided_and_excluded_ones_cut() {
    let all: Vec<u8> = (1..=100).collect();
    for (family, group, unspecified, _) in FAMILIES {
        let each = if family == IpVersion::V4 { 4 } else { 16 };
        // A record's header, its group, and forty sources.
        let max_bytes = 4 + each * 41;
        for (mode, expected) in [(Include, &[40, 40, 20][..]), (Exclude, &[40])] {
            let mut rig = wanting(family, group, mode, &all);
            rig.hear(&query(family, 1_000, unspecified, &[]));
            rig.now = rig.now + Duration::from_secs(2);
            let (reporter, rng) = (&mut rig.reporter, &mut rig.rng);
            let next = || reporter.poll_transmit(rig.now, max_bytes, rng);
            let reports: Vec<Report> = std::iter::from_fn(next).collect();
            let lens: Vec<usize> = reports
                .iter()
                .map(|report| match records(report) {
                    [record] => record.sources.len(),
                    several => panic!("{several:?}"),
                })
                .collect();
            assert_eq!(lens, expected);
            let said: Vec<IpAddr> = reports
                .iter()
                .flat_map(|report| records(report)[0].sources.clone())
                .collect();
            let wanted = filter(family, mode, &all);
            assert_eq!(said, wanted.sources()[..said.len()]);
        }
    }
}

#[test]
fn in_an_older_version_a_host_that_wants_some_sources_is_a_member() {
    let (v4, group) = (IpVersion::V4, "239.0.0.1");
    let mut rig = Rig::new(v4);
    rig.hear(&igmp(0x11, 100, "0.0.0.0", &[]));
    rig.want(group, &filter(v4, Include, &[1]));
    let report = Report::Old(QueryVersion::Two, ip(group));
    let sent = rig.pass(20_000);
    assert!(sent.len() == 2 && sent.iter().all(|(_, sent)| *sent == report));
    for (mode, sources) in [(Include, &[1, 2][..]), (Exclude, &[1]), (Include, &[2])] {
        rig.want(group, &filter(v4, mode, sources));
        assert_eq!(rig.pass(20_000), [], "it is a member as before");
    }
    rig.leave(group);
    assert_eq!(rig.pass(20_000), [(0, Report::Leave(ip(group)))]);
}

#[test]
fn sources_are_reported_again_once_there_is_a_link_local_address() {
    let (v6, [one, other]) = (IpVersion::V6, ["ff35::1", "ff05::2"]);
    let mut rig = wanting(v6, one, Include, &[1, 2]);
    rig.want(other, &filter(v6, Exclude, &[3]));
    rig.pass(20_000);
    rig.reporter.report_all(rig.now, &mut rig.rng);
    let sent = rig.pass(20_000);
    assert_eq!(sent.len(), 2);
    let expected = [
        of(v6, one, RecordKind::Allow, &[1, 2]),
        of(v6, other, RecordKind::ToExclude, &[3]),
    ];
    assert!(sent.iter().all(|(_, report)| records(report) == expected));
}

/// The knowledge of a router about a group, if this host is the only one on the link.
struct Router(SourceFilter);

impl Router {
    fn hear(&mut self, record: &Record) {
        let whole = |mode| SourceFilter::new(mode, record.sources.iter().copied());
        let inserts = match record.kind {
            RecordKind::IsInclude | RecordKind::ToInclude => {
                self.0 = whole(Include);
                return;
            }
            RecordKind::IsExclude | RecordKind::ToExclude => {
                self.0 = whole(Exclude);
                return;
            }
            RecordKind::Allow => self.0.mode() == Include,
            RecordKind::Block => self.0.mode() == Exclude,
        };
        for source in &record.sources {
            if inserts {
                self.0.insert(*source);
            } else {
                self.0.remove(*source);
            }
        }
    }
}

/// A router knows in the end what the host wants, in whatever order changes follow each other, though one of any two
/// reports is lost.
#[test]
fn a_router_that_misses_one_of_two_reports_knows_the_state() {
    let (v4, group) = (IpVersion::V4, "239.0.0.1");
    for seed in 0..300 {
        let mut random = Rng::from_u64(seed);
        let mut rig = Rig::new(v4);
        rig.rng = Rng::from_u64(seed);
        let (mut router, mut was_lost) = (Router(SourceFilter::nothing()), false);
        let mut wanted = SourceFilter::nothing();
        for step in 0..40 {
            let mode = [Include, Exclude][usize::from(random.chance(300_000))];
            let sources: Vec<u8> = (1..=6).filter(|_| random.below(2) == 1).collect();
            wanted = filter(v4, mode, &sources);
            rig.want(group, &wanted);
            // Often the next change comes before the reports of this one are sent.
            let wait = if step == 39 {
                20_000
            } else {
                random.below(900)
            };
            for (_, report) in rig.pass(wait.into()) {
                was_lost = !was_lost && random.below(2) == 1;
                if !was_lost {
                    records(&report)
                        .iter()
                        .for_each(|record| router.hear(record));
                }
            }
        }
        assert_eq!(router.0, wanted, "seed {seed}");
    }
}

#[test]
fn changes_of_many_sources_are_bounded_and_the_whole_state_said_instead() {
    let group = ip("232.0.0.1");
    let mut rig = Rig::new(IpVersion::V4);
    let mut wanted = SourceFilter::nothing();
    let mut router = Router(SourceFilter::nothing());
    let mut most = 0;
    for number in 0..2_000u32 {
        wanted.insert(IpAddr::from((0xc000_0200 + number).to_be_bytes()));
        rig.reporter.change(group, &wanted, rig.now, &mut rig.rng);
        most = most.max(rig.reporter.changed_sources());
    }
    assert!(most > 100 && most <= 256, "{most}");
    for (_, report) in rig.pass(20_000) {
        // Parts of one record say together what it says.
        for record in records(&report) {
            assert_eq!(record.kind, RecordKind::ToInclude);
            record.sources.iter().for_each(|source| {
                router.0.insert(*source);
            });
        }
    }
    assert_eq!(router.0, wanted);
}
