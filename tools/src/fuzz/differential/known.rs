//! The list of differences that are known, and why each of them is right.

use serde::Deserialize;

use super::pattern::{Patterns, says_something};

/// The list that is used unless another is given.
pub(super) const LIST: &str = include_str!("known.toml");

/// Least length of a reason.
const WHY_MIN: usize = 30;

/// A difference that is known.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// A name for the counts.
    name: String,
    /// The kind of the case, as a pattern.
    #[serde(default = "any")]
    case: String,
    /// A step before it in the same case, as patterns: what the difference comes from.
    after: Option<OneOf>,
    /// The step, as patterns.
    step: OneOf,
    /// The answer of the kernel, as patterns.
    kernel: OneOf,
    /// The answer of this stack, as patterns.
    ours: OneOf,
    /// The words of an RFC, or Linux's choice.
    why: String,
    /// The hosts are in different states afterwards: the rest of the case says nothing.
    #[serde(default)]
    ends: bool,
}

/// One pattern, or a list of them.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOf {
    One(String),
    List(Vec<String>),
}

impl OneOf {
    fn all(&self) -> &[String] {
        match self {
            Self::One(pattern) => std::slice::from_ref(pattern),
            Self::List(patterns) => patterns,
        }
    }
}

impl Entry {
    /// Returns what makes the entry match more than its reason can explain.
    fn too_broad(&self) -> Option<&'static str> {
        let after = self.after.iter().flat_map(OneOf::all);
        let is_after = self.after.is_some() && after.into_iter().all(|after| names(after));
        if !is_after && !self.step.all().iter().all(|step| names(step)) {
            return Some("say in `step` or in `after` what arrives or is called");
        }
        let is_any = |answer: &String| !answer.is_empty() && !says_something(answer);
        let is_any = |answers: &OneOf| answers.all().iter().any(is_any);
        (is_any(&self.kernel) && is_any(&self.ours))
            .then_some("say in `kernel` or in `ours` what the answer is")
    }
}

/// Returns true if a pattern of steps tells some from others, apart from the state in which they come.
fn names(step: &str) -> bool {
    let is_state = |words: &str| words == "no state" || !words.contains(char::is_lowercase);
    let step = match step.rsplit_once(" in ") {
        Some((step, state)) if is_state(state) => step,
        _ => step,
    };
    says_something(step.strip_prefix("call").unwrap_or(step))
}

fn any() -> String {
    "*".to_owned()
}

/// Words of a packet that a host may choose.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Choice {
    /// The packets that it is about, as a pattern.
    packet: String,
    /// The words that are not compared; with "*" at its end, all that follows, too.
    without: String,
    /// As in [`Entry`].
    why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    choice: Vec<Choice>,
    difference: Vec<Entry>,
}

/// A difference that is known, ready to be looked for.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) name: String,
    pub(super) why: String,
    pub(super) ends: bool,
    after: Option<Vec<Patterns>>,
    /// Of the case, the step and both answers: one of them must match.
    patterns: Vec<Patterns>,
}

/// A difference that was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Difference<'a> {
    /// The kind of the case.
    pub(super) case: &'a str,
    /// The steps before it.
    pub(super) before: &'a [String],
    /// The step.
    pub(super) step: &'a str,
    /// The answer of the kernel.
    pub(super) kernel: &'a str,
    /// The answer of this stack.
    pub(super) ours: &'a str,
}

/// The list, ready to be asked.
#[derive(Debug)]
pub(super) struct KnownList {
    choices: Vec<(Patterns, Choice)>,
    differences: Vec<Known>,
}

impl KnownList {
    /// Reads the list.
    ///
    /// # Errors
    /// It cannot be read, or an entry gives no reason or matches anything.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let list: List = toml::from_str(text)
            .map_err(|error| format!("the list of known differences: {error}"))?;
        let reasons = list
            .choice
            .iter()
            .map(|choice| (&choice.without, &choice.why));
        let entries = list.difference.iter();
        let mut reasons = reasons.chain(entries.map(|entry| (&entry.name, &entry.why)));
        if let Some((name, _)) = reasons.find(|(_, why)| why.len() < WHY_MIN) {
            return Err(format!(
                "known difference '{name}': say in `why` what makes it right"
            ));
        }
        for entry in &list.difference {
            if let Some(what) = entry.too_broad() {
                let name = &entry.name;
                return Err(format!("known difference '{name}' is too broad: {what}"));
            }
        }
        let choices = list.choice.into_iter();
        let choices = choices.map(|choice| (Patterns::new(&[&choice.packet]), choice));
        Ok(Self {
            choices: choices.collect(),
            differences: list.difference.into_iter().map(Known::from).collect(),
        })
    }

    /// Returns what a host sent and returned, as one text without what a host may choose.
    pub(super) fn plain(&self, lines: &[String]) -> String {
        let lines = lines.iter().map(|line| {
            let about = self
                .choices
                .iter()
                .filter(|(packet, _)| packet.matches(&[line]));
            about.fold(line.clone(), |line, (_, choice)| {
                match choice.without.strip_suffix('*') {
                    Some(first) => match line.split_once(first) {
                        Some((before, _)) => before.to_owned(),
                        None => line,
                    },
                    None => line.replace(&choice.without, ""),
                }
            })
        });
        lines.collect::<Vec<_>>().join(" | ")
    }

    /// Returns the entry for a difference.
    pub(super) fn find(&self, found: Difference<'_>) -> Option<&Known> {
        self.differences.iter().find(|entry| entry.explains(found))
    }

    /// Returns the names of all entries.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.differences.iter().map(|entry| entry.name.as_str())
    }
}

impl From<Entry> for Known {
    fn from(entry: Entry) -> Self {
        let mut patterns = Vec::new();
        for step in entry.step.all() {
            for kernel in entry.kernel.all() {
                for ours in entry.ours.all() {
                    patterns.push(Patterns::new(&[&entry.case, step, kernel, ours]));
                }
            }
        }
        let after = entry.after.as_ref().map(|after| {
            let patterns = after.all().iter();
            patterns.map(|after| Patterns::new(&[after])).collect()
        });
        Self {
            after,
            patterns,
            name: entry.name,
            why: entry.why,
            ends: entry.ends,
        }
    }
}

impl Known {
    fn explains(&self, found: Difference<'_>) -> bool {
        let texts = [found.case, found.step, found.kernel, found.ours];
        let is_before = |after: &Patterns| found.before.iter().any(|step| after.matches(&[step]));
        self.patterns
            .iter()
            .any(|patterns| patterns.matches(&texts))
            && self
                .after
                .as_ref()
                .is_none_or(|after| after.iter().any(is_before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets and calls of every day, and two answers, of which one is wrong: nothing explains such a difference.
    const WRONG: &[(&str, &str, &str, &str)] = &[
        (
            "connections",
            "handshake S seq Next(0) ack +0 len 0 window 8000 Raw([2, 4, 5, 180]) without ACK in no state",
            "tcp open>3001 S. seq 0 ack 1 <mss 1460> df",
            "",
        ),
        (
            "connections",
            "handshake . seq Next(0) ack +0 len 0 window 8000 in SYN_RCVD",
            "",
            "tcp open>3001 R seq 1",
        ),
        (
            "connections",
            "in order . seq Next(0) ack +0 len 100 window 8000 in ESTABLISHED",
            "tcp open>3001 . seq 1 ack 101 df",
            "",
        ),
        (
            "connections",
            "in order . seq Next(0) ack +0 len 100 window 8000 in ESTABLISHED",
            "tcp open>3001 . seq 1 ack 101 df",
            "tcp open>3001 . seq 1 ack 1 df",
        ),
        (
            "connections",
            "in order . seq Next(0) ack +0 len 100 window 8000 in ESTABLISHED",
            "tcp open>3001 . seq 1 ack 101 df",
            "tcp open>3001 R. seq 1 ack 101 df",
        ),
        (
            "connections",
            "in order . seq Next(0) ack +0 len 100 window 8000 Stamps(0, 0) in ESTABLISHED",
            "tcp open>3001 . seq 1 ack 101 <stamps> df",
            "tcp open>3001 . seq 1 ack 101 <stamps ecr 4> df",
        ),
        (
            "connections",
            "segment . seq Next(50) ack +0 len 100 window 8000 in ESTABLISHED",
            "tcp open>3001 . seq 1 ack 1 <sack 51:151> df",
            "tcp open>3001 . seq 1 ack 1 df",
        ),
        (
            "connections",
            "segment R seq Next(0) ack +0 len 0 window 8000 with RST without ACK in ESTABLISHED",
            "",
            "tcp open>3001 . seq 1 ack 1 df",
        ),
        (
            "connections",
            "segment F. seq Next(0) ack +0 len 0 window 8000 in ESTABLISHED",
            "tcp open>3001 . seq 1 ack 2 df",
            "",
        ),
        (
            "connections",
            "call Write(100)  in ESTABLISHED",
            "100 | tcp open>3001 . seq 1 ack 1 100 bytes #00000001 df",
            "100",
        ),
        (
            "connections",
            "call Write(100)  in ESTABLISHED",
            "100 | tcp open>3001 . seq 1 ack 1 100 bytes #00000001 df",
            "100 | tcp open>3001 . seq 1 ack 1 100 bytes #00000002 df",
        ),
        (
            "connections",
            "call Read(100)  in ESTABLISHED",
            "100 bytes #00000001",
            "100 bytes #00000002",
        ),
        (
            "connections",
            "call Read(100)  in ESTABLISHED",
            "EAGAIN",
            "0",
        ),
        (
            "connections",
            "call Close  in ESTABLISHED",
            "0 | tcp open>3001 F. seq 1 ack 1 df",
            "0",
        ),
        (
            "active opens",
            "call Connect  in no state",
            "EINPROGRESS | tcp own>443 S seq 0 <mss 1460,sackOK,scale,stamps ecr 0> df",
            "EINPROGRESS",
        ),
        (
            "UDP",
            "udp open, from 2000, 33 bytes, right",
            "",
            "icmp 3/3 [00, 00, 00, 00] quotes 61",
        ),
        (
            "UDP",
            "call UdpRead after udp open, from 2000, 33 bytes, right",
            "33 bytes #00000001",
            "EAGAIN",
        ),
        (
            "UDP",
            "udp closed, from 2000, 33 bytes, right",
            "icmp 3/3 [00, 00, 00, 00] quotes 61",
            "",
        ),
        (
            "ICMP",
            "echo, 64 bytes",
            "icmp 0/0 [00, 03, 00, 01] 56 bytes #00000001",
            "",
        ),
        (
            "fragments",
            "echo 100 in fragments, 0..104",
            "icmp 0/0 [00, 09, 00, 01] 92 bytes #00000001",
            "",
        ),
        (
            "headers",
            "echo, right",
            "icmp 0/0 [00, 07, 00, 01] 9 bytes #00000001",
            "icmp 0/0 [00, 07, 00, 01] 9 bytes #00000002",
        ),
        (
            "headers",
            "tcp syn, ttl 1",
            "tcp open>3001 S. seq 0 ack 1 <mss 1460> df",
            "",
        ),
    ];

    /// Steps that explain nothing.
    const BEFORE: [&str; 3] = [
        "handshake . seq Next(0) ack +0 len 0 window 8000 in SYN_RCVD",
        "call Accept  in ESTABLISHED",
        "in order P. seq Next(0) ack +0 len 100 window 8000 in ESTABLISHED",
    ];

    #[test]
    fn every_entry_has_a_name_of_its_own_and_a_reason() {
        let list = KnownList::new(LIST).expect("the list");
        for (at, entry) in list.differences.iter().enumerate() {
            let before = &list.differences[..at];
            assert!(before.iter().all(|other| other.name != entry.name));
        }
        let without_reason = LIST.replace("RFC", "").replace("why = \"", "why = \"\" # ");
        assert!(KnownList::new(&without_reason).is_err());
    }

    #[test]
    fn no_entry_explains_what_is_wrong_with_everyday_packets_and_calls() {
        let list = KnownList::new(LIST).expect("the list");
        let before = BEFORE.map(str::to_owned);
        for &(case, step, kernel, ours) in WRONG {
            for (kernel, ours) in [(kernel, ours), (ours, kernel)] {
                let entry = list.find(Difference {
                    case,
                    before: &before,
                    step,
                    kernel,
                    ours,
                });
                let name = entry.map(|entry| entry.name.as_str());
                assert_eq!(name, None, "{step}: {kernel:?} and {ours:?}");
            }
        }
    }

    #[test]
    fn an_entry_that_matches_anything_is_refused() {
        let list = |step: &str, kernel: &str, more: &str| {
            let why = "RFC 9293 has words for what happens here";
            let text = format!(
                "choice = []\n[[difference]]\nname = 'n'\nstep = '{step}'\nkernel = {kernel}\nours = '*'\nwhy = '{why}'\n{more}"
            );
            KnownList::new(&text).map(drop)
        };
        for step in [
            "*",
            "* in *",
            "* in ESTABLISHED",
            "call *",
            "call * in SYN_*",
        ] {
            let error = list(step, "'E*'", "").expect_err(step);
            assert!(error.starts_with("known difference 'n' is too broad: say in `step`"));
            assert_eq!(list(step, "'E*'", "after = '*icmp error*'"), Ok(()));
        }
        for kernel in ["'*'", "['E*', '* | *']"] {
            let error = list("*echo*", kernel, "").expect_err(kernel);
            assert!(error.ends_with("say in `kernel` or in `ours` what the answer is"));
        }
        assert_eq!(list("*echo*", "['E*', '']", ""), Ok(()));
        assert_eq!(list("* in fragments, *", "'E*'", ""), Ok(()));
    }
}
