//! Text to script, with errors that say where.
//!
//! The language has no keywords of its own and its words mean different things in different places, so
//! there is no separate list of tokens: each rule takes what it needs from a [`Cursor`].

mod calls;
mod conditions;
mod cursor;
mod packets;
#[cfg(test)]
mod tests;

use super::ast::{Action, Command, Event, Position, Script, ScriptOption, Time};
use cursor::Cursor;

/// Largest script, in bytes.
pub const MAX_SCRIPT_BYTES: usize = 4 << 20;

/// Latest time that a script may name, in microseconds: a week.
const LATEST_MICROS: i64 = 7 * 24 * 3_600 * 1_000_000;

/// The first thing that is wrong with a script.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{at}: {what}")]
pub struct SyntaxError {
    /// Where.
    pub at: Position,
    /// The expectation, or the fault.
    pub what: String,
}

type Parsed<T> = Result<T, SyntaxError>;

/// Parses a script.
///
/// ```
/// use tools::pktscript::parser::parse;
///
/// let script = parse("0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3").unwrap();
/// assert_eq!(script.events.len(), 1);
/// let error = parse("0 > S 0:0(0) <mss big>").unwrap_err();
/// assert_eq!(error.to_string(), "1:19: expected a number, found `big`");
/// ```
///
/// # Errors
/// The first place at which the text is not a script.
pub fn parse(text: &str) -> Parsed<Script> {
    parse_with(text, &[])
}

/// Parses a script in which these symbols stand for these values. `#ifdef NAME` asks for one.
///
/// ```
/// use tools::pktscript::parser::parse_with;
///
/// let text = "#ifdef LONG\n0 write(3, ..., N) = N\n#endif\n+0 close(3) = 0";
/// let symbols = [("N".to_owned(), "7".to_owned())];
/// assert_eq!(parse_with(text, &symbols).unwrap().events.len(), 1);
/// ```
///
/// # Errors
/// As [`parse`].
pub fn parse_with(text: &str, symbols: &[(String, String)]) -> Parsed<Script> {
    if text.len() > MAX_SCRIPT_BYTES {
        return Err(SyntaxError {
            at: Position { line: 1, column: 1 },
            what: format!(
                "the script is {} bytes long: the most is {MAX_SCRIPT_BYTES}",
                text.len()
            ),
        });
    }
    let text = conditions::apply(text, symbols)?;
    let mut cursor = Cursor::new(&text);
    for (symbol, meaning) in symbols {
        cursor.define(symbol, meaning);
    }
    let mut script = Script::default();
    options(&mut cursor, &mut script)?;
    while let Some(command) = command(&mut cursor)? {
        script.setup.push(command);
    }
    while !cursor.at_end()? {
        if let Some(command) = command(&mut cursor)? {
            script.cleanup.push(command);
            continue;
        }
        if !script.cleanup.is_empty() {
            return Err(cursor.error("only commands may follow a command without a time"));
        }
        let event = event(&mut cursor)?;
        script.events.push(event);
    }
    if script.events.is_empty() {
        return Err(cursor.error("the script has no event"));
    }
    Ok(script)
}

/// Reads the options at the top, and puts the symbols that they define into the cursor.
fn options(cursor: &mut Cursor<'_>, script: &mut Script) -> Parsed<()> {
    loop {
        let at = cursor.position()?;
        if !cursor.take("--")? {
            return Ok(());
        }
        let name = cursor.word()?.to_owned();
        let value = if cursor.take("=")? {
            Some(cursor.option_value()?)
        } else {
            None
        };
        if let Some((symbol, meaning)) = value
            .as_deref()
            .filter(|_| name == "define")
            .and_then(|text| text.split_once('='))
        {
            cursor.define(symbol, meaning);
        }
        script.options.push(ScriptOption { at, name, value });
    }
}

/// Reads a command in backticks, if there is one.
fn command(cursor: &mut Cursor<'_>) -> Parsed<Option<Command>> {
    let at = cursor.position()?;
    let text = cursor.quoted('`')?;
    Ok(text.map(|text| Command { at, text }))
}

fn event(cursor: &mut Cursor<'_>) -> Parsed<Event> {
    let at = cursor.position()?;
    let time = time(cursor)?;
    let action = if let Some(command) = command(cursor)? {
        Action::Command(command)
    } else if let Some(code) = cursor.code()? {
        Action::Code(code)
    } else if let Some(packet) = packets::packet(cursor)? {
        Action::Packet(Box::new(packet))
    } else {
        Action::Call(Box::new(calls::call(cursor)?))
    };
    check_time(at, time, &action)?;
    Ok(Event { at, time, action })
}

fn check_time(at: Position, time: Time, action: &Action) -> Parsed<()> {
    use super::ast::Direction::Out;
    let is_expected = matches!(action, Action::Packet(packet) if packet.direction == Out);
    let what = match time {
        Time::AbsoluteRange(from, to) | Time::RelativeRange(from, to) if to < from => {
            "the range of times ends before it begins"
        }
        Time::Any if !is_expected => "`*` is a time for packets that the stack sends",
        Time::AbsoluteRange(..) | Time::RelativeRange(..) if !is_expected => {
            "a range is a time for packets that the stack sends"
        }
        _ => return Ok(()),
    };
    let what = what.to_owned();
    Err(SyntaxError { at, what })
}

fn time(cursor: &mut Cursor<'_>) -> Parsed<Time> {
    if cursor.take("*")? {
        return Ok(Time::Any);
    }
    if cursor.take("+")? {
        let from = seconds(cursor)?;
        if !cursor.take("~")? {
            return Ok(Time::Relative(from));
        }
        cursor.need("+")?;
        return Ok(Time::RelativeRange(from, seconds(cursor)?));
    }
    let from = seconds(cursor)?;
    if cursor.take("~")? {
        return Ok(Time::AbsoluteRange(from, seconds(cursor)?));
    }
    Ok(Time::Absolute(from))
}

/// Reads a number of seconds. Returns microseconds.
fn seconds(cursor: &mut Cursor<'_>) -> Parsed<i64> {
    let at = cursor.position()?;
    let seconds = cursor.decimal()?;
    let micros = (seconds * 1e6).round();
    if !(0.0..=LATEST_MICROS as f64).contains(&micros) {
        let what = format!("{seconds} s is not a time: use 0 to a week");
        return Err(SyntaxError { at, what });
    }
    Ok(micros as i64)
}
