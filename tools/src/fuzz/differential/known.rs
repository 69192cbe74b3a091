//! The list of differences that are known, and why each of them is right.

use serde::Deserialize;
use wildmatch::WildMatch;

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
    /// The step, as a pattern.
    step: String,
    /// The answer of the kernel, as a pattern.
    kernel: String,
    /// The answer of this stack, as a pattern.
    ours: String,
    /// The words of an RFC, or Linux's choice.
    why: String,
    /// The hosts are in different states afterwards: the rest of the case says nothing.
    #[serde(default)]
    ends: bool,
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
    case: WildMatch,
    step: WildMatch,
    kernel: WildMatch,
    ours: WildMatch,
}

/// The list, ready to be asked.
#[derive(Debug)]
pub(super) struct KnownList {
    choices: Vec<(WildMatch, Choice)>,
    differences: Vec<Known>,
}

impl KnownList {
    /// Reads the list.
    ///
    /// # Errors
    /// It cannot be read, or an entry gives no reason.
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
        let choices = list.choice.into_iter();
        let differences = list.difference.into_iter().map(|entry| Known {
            case: WildMatch::new(&entry.case),
            step: WildMatch::new(&entry.step),
            kernel: WildMatch::new(&entry.kernel),
            ours: WildMatch::new(&entry.ours),
            name: entry.name,
            why: entry.why,
            ends: entry.ends,
        });
        Ok(Self {
            choices: choices
                .map(|choice| (WildMatch::new(&choice.packet), choice))
                .collect(),
            differences: differences.collect(),
        })
    }

    /// Returns what a host sent and returned, as one text without what a host may choose.
    pub(super) fn plain(&self, lines: &[String]) -> String {
        let lines = lines.iter().map(|line| {
            let about = self
                .choices
                .iter()
                .filter(|(packet, _)| packet.matches(line));
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
    pub(super) fn find(&self, case: &str, step: &str, kernel: &str, ours: &str) -> Option<&Known> {
        self.differences.iter().find(|entry| {
            entry.case.matches(case)
                && entry.step.matches(step)
                && entry.kernel.matches(kernel)
                && entry.ours.matches(ours)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_has_a_name_of_its_own_and_a_reason() {
        let list = KnownList::new(LIST).expect("the list");
        for (at, entry) in list.differences.iter().enumerate() {
            let before = &list.differences[..at];
            assert!(before.iter().all(|other| other.name != entry.name));
        }
        let without_reason = LIST.replace("RFC", "").replace("why = \"", "why = \"\" # ");
        assert!(KnownList::new(&without_reason).is_err());
        let found = list.find("no case", "no such step", "nothing", "something");
        assert!(found.is_none());
    }
}
