//! A place in the text, and what can be taken from there.

use std::cell::Cell;
use std::collections::HashMap;

use winnow::ascii::{digit1, hex_digit1};
use winnow::combinator::{alt, opt};
use winnow::error::ContextError;
use winnow::prelude::*;
use winnow::token::{take_until, take_while};

use super::{Parsed, SyntaxError};
use crate::pktscript::ast::Position;

/// Characters of the text that an error quotes.
const QUOTED: usize = 24;

/// The value of a symbol of `--define`.
#[derive(Clone, Debug)]
pub(super) enum Meaning {
    Int(i64),
    Word(String),
    Text(String),
}

/// A place in the text.
pub(super) struct Cursor<'a> {
    text: &'a str,
    rest: &'a str,
    symbols: HashMap<String, Meaning>,
    /// A line that begins at or before the place: its number, and where it begins.
    line: Cell<(usize, usize)>,
}

/// Returns true for characters of names.
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            rest: text,
            symbols: HashMap::new(),
            line: Cell::new((1, 0)),
        }
    }

    /// Runs a parser that may find nothing, in which case nothing is taken.
    fn try_parse<O>(
        &mut self,
        mut parser: impl Parser<&'a str, O, winnow::error::ErrMode<ContextError>>,
    ) -> Option<O> {
        let mut input = self.rest;
        let found = parser.parse_next(&mut input).ok()?;
        self.rest = input;
        Some(found)
    }

    /// Skips white space and comments.
    fn skip(&mut self) -> Parsed<()> {
        loop {
            self.rest = self.rest.trim_start();
            if self.rest.starts_with("//") {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                self.rest = self.rest.get(end..).unwrap_or_default();
            } else if self.rest.starts_with("/*") {
                let comment = ("/*", take_until(0.., "*/"), "*/").void();
                if self.try_parse(comment).is_none() {
                    return Err(self.error("this comment does not end: add `*/`"));
                }
            } else {
                return Ok(());
            }
        }
    }

    /// Returns the place of the next thing.
    pub(super) fn position(&mut self) -> Parsed<Position> {
        self.skip()?;
        Ok(self.here())
    }

    fn here(&self) -> Position {
        let here = self.text.len() - self.rest.len();
        let (mut line, mut start) = self.line.get();
        if start > here {
            (line, start) = (1, 0);
        }
        while let Some(end) = self.text.get(start..here).and_then(|text| text.find('\n')) {
            line += 1;
            start += end + 1;
        }
        self.line.set((line, start));
        let before = self.text.get(start..here).unwrap_or_default();
        Position {
            line,
            column: before.chars().count() + 1,
        }
    }

    /// Returns an error at this place.
    pub(super) fn error(&self, what: impl Into<String>) -> SyntaxError {
        SyntaxError {
            at: self.here(),
            what: what.into(),
        }
    }

    /// Returns an error that says what was expected and what is there.
    pub(super) fn expected(&self, what: &str) -> SyntaxError {
        let line = self.rest.lines().next().unwrap_or_default();
        let word: String = line.chars().take_while(|&c| is_word(c)).collect();
        let found: String = if word.is_empty() { line } else { &word }
            .chars()
            .take(QUOTED)
            .collect();
        if self.rest.is_empty() {
            self.error(format!("expected {what}, found the end of the script"))
        } else {
            self.error(format!("expected {what}, found `{found}`"))
        }
    }

    /// Returns true if nothing is left.
    pub(super) fn at_end(&mut self) -> Parsed<bool> {
        self.skip()?;
        Ok(self.rest.is_empty())
    }

    /// Returns true if `text` is next, without taking it.
    pub(super) fn sees(&mut self, text: &str) -> Parsed<bool> {
        self.skip()?;
        Ok(self.rest.starts_with(text))
    }

    /// Takes `text` if it is next.
    pub(super) fn take(&mut self, text: &str) -> Parsed<bool> {
        self.skip()?;
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Takes `text`.
    pub(super) fn need(&mut self, text: &str) -> Parsed<()> {
        if self.take(text)? {
            Ok(())
        } else {
            Err(self.expected(&format!("`{text}`")))
        }
    }

    /// Returns the next word without taking it; empty if there is none.
    pub(super) fn peek_word(&mut self) -> Parsed<&'a str> {
        self.skip()?;
        let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
        Ok(self.rest.get(..end).unwrap_or_default())
    }

    /// Takes the word `word` if it is next.
    pub(super) fn take_word(&mut self, word: &str) -> Parsed<bool> {
        if self.peek_word()? == word {
            self.take(word)
        } else {
            Ok(false)
        }
    }

    /// Takes a word.
    pub(super) fn word(&mut self) -> Parsed<&'a str> {
        self.skip()?;
        let word = take_while(1.., is_word);
        self.try_parse(word).ok_or_else(|| self.expected("a word"))
    }

    /// Takes the characters up to the next white space.
    pub(super) fn run(&mut self) -> Parsed<&'a str> {
        self.skip()?;
        let run = take_while(1.., |c: char| !c.is_whitespace());
        self.try_parse(run)
            .ok_or_else(|| self.expected("something"))
    }

    /// Takes a number with or without a fraction.
    pub(super) fn decimal(&mut self) -> Parsed<f64> {
        self.skip()?;
        if self.peek_word()?.starts_with("0x") {
            return Err(self.expected("a number of seconds"));
        }
        let whole = (digit1::<_, _>, opt((".", opt(digit1)))).void();
        let fraction = (".", digit1).void();
        let mut input = self.rest;
        // Two dots after a number are the beginning of an ellipsis, not of a fraction.
        if let Some(dots) = input.find("...")
            && input
                .get(..dots)
                .is_some_and(|before| before.chars().all(|c| c.is_ascii_digit() || c == '.'))
        {
            input = input.get(..dots).unwrap_or_default();
        }
        let all = input;
        let mut number = alt((whole, fraction));
        let parsed: Result<(), winnow::error::ErrMode<ContextError>> =
            number.parse_next(&mut input);
        let taken = all.len() - input.len();
        let text = all.get(..taken).unwrap_or_default();
        match (parsed, text.parse()) {
            (Ok(()), Ok(value)) => {
                self.rest = self.rest.get(taken..).unwrap_or_default();
                Ok(value)
            }
            _ => Err(self.expected("a time in seconds")),
        }
    }

    /// Takes a whole number: decimal, negative, hexadecimal, or a symbol that stands for one.
    pub(super) fn integer(&mut self) -> Parsed<i64> {
        match self.try_integer()? {
            Some(value) => Ok(value),
            None => Err(self.expected("a number")),
        }
    }

    /// Takes a whole number if there is one.
    pub(super) fn try_integer(&mut self) -> Parsed<Option<i64>> {
        self.skip()?;
        let word = self.peek_word()?;
        if let Some(Meaning::Int(value)) = self.symbols.get(word) {
            let value = *value;
            self.take(word)?;
            return Ok(Some(value));
        }
        let before = self.rest;
        let hex = ("0x", hex_digit1).map(|(_, digits): (&str, &str)| (16, digits));
        let decimal = (opt("-"), digit1).take().map(|digits: &str| (10, digits));
        let Some((radix, digits)) = self.try_parse(alt((hex, decimal))) else {
            return Ok(None);
        };
        if self.rest.starts_with(is_word) {
            self.rest = before;
            return Ok(None);
        }
        match i64::from_str_radix(digits, radix) {
            Ok(value) => Ok(Some(value)),
            Err(_) => {
                self.rest = before;
                Err(self.error(format!("{digits} is too large a number")))
            }
        }
    }

    /// Takes a number from 0 to `most`.
    pub(super) fn number(&mut self, most: u64) -> Parsed<u64> {
        let before = {
            self.skip()?;
            self.rest
        };
        let value = self.integer()?;
        match u64::try_from(value) {
            Ok(value) if value <= most => Ok(value),
            _ => {
                self.rest = before;
                Err(self.error(format!("{value} is out of range: use 0 to {most}")))
            }
        }
    }

    /// Takes a number of 8 bits.
    pub(super) fn u8(&mut self) -> Parsed<u8> {
        Ok(self.number(u8::MAX.into())? as u8)
    }

    /// Takes a number of 16 bits.
    pub(super) fn u16(&mut self) -> Parsed<u16> {
        Ok(self.number(u16::MAX.into())? as u16)
    }

    /// Takes a number of 32 bits.
    pub(super) fn u32(&mut self) -> Parsed<u32> {
        Ok(self.number(u32::MAX.into())? as u32)
    }

    /// Takes what is between two `quote`s, if one is next. A backslash protects the character behind it.
    pub(super) fn quoted(&mut self, quote: char) -> Parsed<Option<String>> {
        self.skip()?;
        let Some(inside) = self.rest.strip_prefix(quote) else {
            return Ok(None);
        };
        let mut escaped = false;
        for (at, c) in inside.char_indices() {
            if escaped {
                escaped = false;
            } else if c == '\\' {
                escaped = true;
            } else if c == quote {
                self.rest = inside.get(at + c.len_utf8()..).unwrap_or_default();
                return Ok(Some(inside.get(..at).unwrap_or_default().to_owned()));
            }
        }
        Err(self.error(format!("this {quote} has no second one")))
    }

    /// Takes code between `%{` and `}%`, if it is next.
    pub(super) fn code(&mut self) -> Parsed<Option<String>> {
        if !self.sees("%{")? {
            return Ok(None);
        }
        let code = ("%{", take_until(0.., "}%"), "}%").map(|(_, code, _): (&str, &str, &str)| code);
        match self.try_parse(code) {
            Some(code) => Ok(Some(code.trim_matches([' ', '\t']).to_owned())),
            None => Err(self.error("this code does not end: add `}%`")),
        }
    }

    /// Takes the value of an option at the top.
    pub(super) fn option_value(&mut self) -> Parsed<String> {
        for quote in ['"', '`'] {
            if let Some(text) = self.quoted(quote)? {
                return Ok(text);
            }
        }
        let run = self.run()?;
        // `NAME="some text"` may hold white space.
        let opens = |quote: char| run.matches(quote).count() == 1;
        let mut value = run.to_owned();
        for quote in ['"', '`'] {
            if opens(quote) {
                let end = self
                    .rest
                    .find(quote)
                    .ok_or_else(|| self.error(format!("this {quote} has no second one")))?;
                value.push_str(self.rest.get(..=end).unwrap_or_default());
                self.rest = self.rest.get(end + 1..).unwrap_or_default();
            }
        }
        Ok(value)
    }

    /// Lets `symbol` stand for `meaning` from here on.
    pub(super) fn define(&mut self, symbol: &str, meaning: &str) {
        let hex = meaning.strip_prefix("0x");
        let number = hex.map_or_else(
            || meaning.parse().ok(),
            |digits| i64::from_str_radix(digits, 16).ok(),
        );
        let meaning = match (meaning.strip_prefix('"'), number) {
            (Some(text), _) => Meaning::Text(text.trim_end_matches('"').to_owned()),
            (None, Some(number)) => Meaning::Int(number),
            (None, None) => Meaning::Word(meaning.to_owned()),
        };
        self.symbols.insert(symbol.to_owned(), meaning);
    }

    /// Returns what a word stands for, if it was defined.
    pub(super) fn meaning(&self, word: &str) -> Option<Meaning> {
        self.symbols.get(word).cloned()
    }
}
