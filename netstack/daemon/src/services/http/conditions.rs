//! The conditions and ranges of a request (RFC 9110 sections 13 and 14).

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use http_range_header::parse_range_header_with_max_ranges;
use hyper::header::{
    HeaderMap, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, RANGE,
};

/// Most ranges of a request; with more it gets everything.
const RANGES_MAX: NonZeroUsize = NonZeroUsize::new(16).unwrap();

/// The version of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) len: u64,
    /// When it was changed, since the beginning of 1970.
    pub(super) modified: Duration,
}

impl Version {
    /// Returns the entity tag: another time or length is another version.
    pub(super) fn tag(&self) -> String {
        format!("\"{:x}-{:x}\"", self.modified.as_nanos(), self.len)
    }

    /// Returns when it was changed, in the seconds that HTTP counts in.
    pub(super) fn time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.modified.as_secs())
    }

    /// Returns whether a list of tags has this version's.
    fn is_in(&self, list: &str, is_weak_enough: bool) -> bool {
        let tag = self.tag();
        let same = |one: &str| {
            let strong = one.strip_prefix("W/").filter(|_| is_weak_enough);
            one == "*" || strong.unwrap_or(one) == tag
        };
        list.split(',').map(str::trim).any(same)
    }
}

/// The answer that the headers of a request call for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it.
    Whole,
    /// These bytes of it: at least one range, in the order of the request.
    Ranges(Vec<RangeInclusive<u64>>),
    /// A 304 without the file: the client has this version.
    NotModified,
    /// A 412: the client wants another version.
    PreconditionFailed,
    /// A 416: the file has none of the ranges.
    Unsatisfiable,
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Returns the time of a header; one that is no time counts as not there.
fn time(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(text(headers, name)?).ok()
}

/// Judges the headers of a GET or HEAD.
pub(super) fn judge(headers: &HeaderMap, version: &Version) -> Wanted {
    if let Some(tags) = text(headers, &IF_MATCH) {
        if !version.is_in(tags, false) {
            return Wanted::PreconditionFailed;
        }
    } else if time(headers, &IF_UNMODIFIED_SINCE).is_some_and(|since| version.time() > since) {
        return Wanted::PreconditionFailed;
    }
    if let Some(tags) = text(headers, &IF_NONE_MATCH) {
        if version.is_in(tags, true) {
            return Wanted::NotModified;
        }
    } else if time(headers, &IF_MODIFIED_SINCE).is_some_and(|since| version.time() <= since) {
        return Wanted::NotModified;
    }
    ranges(headers, version)
}

fn ranges(headers: &HeaderMap, version: &Version) -> Wanted {
    let Some(range) = text(headers, &RANGE) else {
        return Wanted::Whole;
    };
    let is_same = text(headers, &IF_RANGE).is_none_or(|condition| {
        // A date is no strong validator, unless it is exactly the one that was sent.
        condition == version.tag() || time(headers, &IF_RANGE) == Some(version.time())
    });
    let parsed = parse_range_header_with_max_ranges(range, RANGES_MAX);
    let Some(parsed) = parsed.ok().filter(|_| is_same && version.len > 0) else {
        return Wanted::Whole;
    };
    match parsed.validate(version.len) {
        Ok(ranges) if ranges.is_empty() => Wanted::Whole,
        Ok(ranges) => Wanted::Ranges(ranges),
        Err(_) => Wanted::Unsatisfiable,
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    const VERSION: Version = Version {
        len: 100,
        modified: Duration::from_millis(784_111_777_500),
    };
    /// The second in which it was changed, and those beside it.
    const DATES: [&str; 3] = [
        "Sun, 06 Nov 1994 08:49:36 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:38 GMT",
    ];

    fn wanted(pairs: &[(&HeaderName, &str)]) -> Wanted {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let value = HeaderValue::from_str(value).expect("a value");
            headers.insert((*name).clone(), value);
        }
        judge(&headers, &VERSION)
    }

    #[test]
    fn conditions_are_judged_in_the_order_of_the_rfc() {
        use Wanted::{NotModified, PreconditionFailed, Whole};
        let tag = VERSION.tag();
        let weak = format!("W/{tag}");
        let [before, same, after] = DATES;
        for (pairs, answer) in [
            (&[][..], Whole),
            (&[(&IF_NONE_MATCH, &*tag)], NotModified),
            (&[(&IF_NONE_MATCH, "\"other\", *")], NotModified),
            (&[(&IF_NONE_MATCH, &weak)], NotModified),
            (&[(&IF_NONE_MATCH, "\"other\"")], Whole),
            // The tag decides, whatever the time says.
            (
                &[(&IF_NONE_MATCH, "\"other\""), (&IF_MODIFIED_SINCE, after)],
                Whole,
            ),
            (&[(&IF_MODIFIED_SINCE, before)], Whole),
            (&[(&IF_MODIFIED_SINCE, same)], NotModified),
            (&[(&IF_MODIFIED_SINCE, after)], NotModified),
            (&[(&IF_MODIFIED_SINCE, "yesterday")], Whole),
            (&[(&IF_MATCH, &tag)], Whole),
            (&[(&IF_MATCH, "*")], Whole),
            (&[(&IF_MATCH, &weak)], PreconditionFailed),
            (&[(&IF_MATCH, "\"other\"")], PreconditionFailed),
            (&[(&IF_UNMODIFIED_SINCE, before)], PreconditionFailed),
            (&[(&IF_UNMODIFIED_SINCE, same)], Whole),
            (&[(&IF_MATCH, &tag), (&IF_UNMODIFIED_SINCE, before)], Whole),
            (&[(&IF_MATCH, &tag), (&IF_NONE_MATCH, &tag)], NotModified),
        ] {
            assert_eq!(wanted(pairs), answer, "{pairs:?}");
        }
    }

    #[test]
    fn ranges_are_those_that_are_there() {
        use Wanted::{Ranges, Unsatisfiable, Whole};
        for (range, answer) in [
            ("bytes=0-0", Ranges(vec![0..=0])),
            ("bytes=10-19", Ranges(vec![10..=19])),
            ("bytes=90-", Ranges(vec![90..=99])),
            ("bytes=90-4000", Ranges(vec![90..=99])),
            ("bytes=-5", Ranges(vec![95..=99])),
            ("bytes=-500", Ranges(vec![0..=99])),
            ("bytes=0-4,50-54", Ranges(vec![0..=4, 50..=54])),
            ("bytes=100-", Unsatisfiable),
            ("bytes=5-4", Whole),
            ("bytes=x-4", Whole),
            ("lines=0-4", Whole),
            ("", Whole),
        ] {
            assert_eq!(wanted(&[(&RANGE, range)]), answer, "{range}");
        }
        let many = format!("bytes={}", "0-0,".repeat(17));
        assert_eq!(wanted(&[(&RANGE, &many)]), Whole);
        let [before, same, _] = DATES;
        let tag = VERSION.tag();
        for (condition, is_same) in [
            (&*tag, true),
            ("\"other\"", false),
            (same, true),
            (before, false),
        ] {
            let answer = wanted(&[(&RANGE, "bytes=0-1"), (&IF_RANGE, condition)]);
            assert_eq!(answer == Ranges(vec![0..=1]), is_same, "{condition}");
            assert_eq!(answer == Whole, !is_same, "{condition}");
        }
    }
}
