//! Patterns of texts, with parts that must be the same in all of them.
//!
//! `*` stands for any text, `?` for one character, and `{name}` for any text that is the same wherever the name is.

/// The end of each text, over which no part of a pattern goes.
const END: char = '\n';

/// A part of a pattern.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    One,
    Any,
    Same(String),
}

/// Patterns of several texts.
#[derive(Debug)]
pub(super) struct Patterns(Vec<Part>);

impl Patterns {
    /// Reads one pattern for each text.
    pub(super) fn new(patterns: &[&str]) -> Self {
        let mut parts = Vec::new();
        for pattern in patterns {
            read(pattern, &mut parts);
            push(&mut parts, END);
        }
        Self(parts)
    }

    /// Returns true if each text matches its pattern, and what has a name is the same everywhere.
    pub(super) fn matches(&self, texts: &[&str]) -> bool {
        let text: String = texts.iter().flat_map(|text| [text, "\n"]).collect();
        matches(&self.0, &text, &mut Vec::new())
    }
}

/// Returns true if the pattern has letters or digits of its own.
pub(super) fn says_something(pattern: &str) -> bool {
    let mut parts = Vec::new();
    read(pattern, &mut parts);
    let is_word =
        |part: &Part| matches!(part, Part::Text(text) if text.contains(char::is_alphanumeric));
    parts.iter().any(is_word)
}

fn push(parts: &mut Vec<Part>, letter: char) {
    match parts.last_mut() {
        Some(Part::Text(text)) => text.push(letter),
        _ => parts.push(Part::Text(letter.to_string())),
    }
}

fn read(pattern: &str, parts: &mut Vec<Part>) {
    let mut rest = pattern;
    while let Some(letter) = rest.chars().next() {
        rest = &rest[letter.len_utf8()..];
        match (letter, name(rest)) {
            ('*', _) => parts.push(Part::Any),
            ('?', _) => parts.push(Part::One),
            ('{', Some(name)) => {
                rest = &rest[name.len() + 1..];
                parts.push(Part::Same(name.to_owned()));
            }
            _ => push(parts, letter),
        }
    }
}

/// Returns the name that a brace opens. Braces of steps have a space behind them.
fn name(rest: &str) -> Option<&str> {
    let (name, _) = rest.split_once('}')?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase());
    is_name.then_some(name)
}

/// Names, and the text that each stands for.
type Bound<'a> = Vec<(&'a str, &'a str)>;

fn matches<'a>(parts: &'a [Part], text: &'a str, bound: &mut Bound<'a>) -> bool {
    let Some((first, parts)) = parts.split_first() else {
        return text.is_empty();
    };
    match first {
        Part::Text(own) => text
            .strip_prefix(own.as_str())
            .is_some_and(|rest| matches(parts, rest, bound)),
        Part::One => {
            let mut letters = text.chars();
            letters.next().is_some_and(|letter| letter != END)
                && matches(parts, letters.as_str(), bound)
        }
        Part::Any => ends(parts, text).any(|at| matches(parts, &text[at..], bound)),
        Part::Same(name) => {
            if let Some((_, known)) = bound.iter().find(|(other, _)| other == name) {
                let rest = text.strip_prefix(known);
                return rest.is_some_and(|rest| matches(parts, rest, bound));
            }
            ends(parts, text).any(|at| {
                bound.push((name, &text[..at]));
                let is_match = matches(parts, &text[at..], bound);
                if !is_match {
                    bound.pop();
                }
                is_match
            })
        }
    }
}

/// Returns where a part that stands for any text may end, if `parts` follow it.
fn ends<'a>(parts: &'a [Part], text: &'a str) -> impl Iterator<Item = usize> + use<'a> {
    let end = text.find(END).unwrap_or(text.len());
    let follows = match parts.first() {
        Some(Part::Text(own)) => own.as_str(),
        _ => "",
    };
    let places = text.char_indices().map(|(at, _)| at);
    places
        .take_while(move |at| *at <= end)
        .filter(move |at| text[*at..].starts_with(follows))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(patterns: &[&str], texts: &[&str]) -> bool {
        Patterns::new(patterns).matches(texts)
    }

    #[test]
    fn stars_stand_for_any_text_and_question_marks_for_a_character() {
        assert!(is(&["a*c?"], &["abbbcd"]) && is(&["*"], &[""]) && is(&["a**b"], &["ab"]));
        assert!(!is(&["a*c?"], &["abbbc"]) && !is(&["a"], &["ab"]) && !is(&[""], &["a"]));
        assert!(is(&["*ab", "b*"], &["aab", "b"]) && !is(&["*ab", "b*"], &["aab", "ab"]));
        // No part goes over the end of its text.
        assert!(!is(&["a?", "b"], &["a", "b"]) && !is(&["*b", ""], &["a", "b"]));
    }

    #[test]
    fn what_has_a_name_is_the_same_everywhere() {
        let patterns = ["seq {seq} ack {ack} <sack *>", "seq {seq} ack {ack}"];
        assert!(is(&patterns, &["seq 1 ack 20 <sack 3:4>", "seq 1 ack 20"]));
        assert!(!is(&patterns, &["seq 1 ack 20 <sack 3:4>", "seq 1 ack 2"]));
        assert!(is(&["{a}{b}", "{b}-{a}"], &["xyz", "z-xy"]));
        // A brace with a space is one of a step.
        assert!(is(
            &["Quoted { proto: 6, *}"],
            &["Quoted { proto: 6, len: 8 }"]
        ));
    }

    #[test]
    fn a_pattern_without_a_word_says_nothing() {
        assert!(!says_something("*") && !says_something("* {x} | ?") && !says_something(""));
        assert!(says_something("*F*") && says_something("{x} 1"));
    }
}
