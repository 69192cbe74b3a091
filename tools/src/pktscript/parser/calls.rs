//! Socket calls: `+0...0.2 read(4, ..., 100) = -1 EAGAIN (Resource temporarily unavailable)`.

use super::cursor::{Cursor, Meaning};
use super::{Parsed, seconds};
use crate::pktscript::ast::{Call, Expr};

/// Deepest nesting of arguments.
const MAX_DEPTH: usize = 16;

/// Most arguments or elements in one list.
const MAX_ELEMENTS: usize = 1_024;

/// Reads a call.
pub(super) fn call(cursor: &mut Cursor<'_>) -> Parsed<Call> {
    let end = if cursor.take("...")? {
        Some(seconds(cursor)?)
    } else {
        None
    };
    let word = cursor.peek_word()?;
    if word.is_empty() || word.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(cursor.expected("a packet, a call, a command or code"));
    }
    let name = cursor.word()?.to_owned();
    cursor.need("(")?;
    let arguments = list(cursor, ")", 0)?;
    cursor.need("=")?;
    let result = expression(cursor, 0)?;
    let mut error = None;
    let word = cursor.peek_word()?;
    if word.starts_with('E') {
        error = Some(cursor.word()?.to_owned());
    }
    let note = if cursor.sees("(")? {
        Some(remark(cursor)?)
    } else {
        None
    };
    Ok(Call {
        end,
        name,
        arguments,
        result,
        error,
        note,
    })
}

/// Reads words in parentheses.
fn remark(cursor: &mut Cursor<'_>) -> Parsed<String> {
    cursor.need("(")?;
    let mut words: Vec<&str> = Vec::new();
    while !cursor.take(")")? {
        // `|` joins the names of flags.
        if !cursor.take("|")? {
            words.push(cursor.word()?);
        }
    }
    Ok(words.join(" "))
}

/// Reads expressions up to `close`.
fn list(cursor: &mut Cursor<'_>, close: &str, depth: usize) -> Parsed<Vec<Expr>> {
    let mut found = Vec::new();
    if cursor.take(close)? {
        return Ok(found);
    }
    loop {
        if found.len() >= MAX_ELEMENTS {
            return Err(cursor.error("a list this long is no argument of a socket call"));
        }
        found.push(expression(cursor, depth)?);
        if !cursor.take(",")? {
            cursor.need(close)?;
            return Ok(found);
        }
    }
}

fn expression(cursor: &mut Cursor<'_>, depth: usize) -> Parsed<Expr> {
    if depth > MAX_DEPTH {
        return Err(cursor.error("arguments are nested too deeply"));
    }
    let mut left = operand(cursor, depth + 1)?;
    while cursor.take("|")? {
        let right = operand(cursor, depth + 1)?;
        left = Expr::Or(Box::new(left), Box::new(right));
    }
    Ok(left)
}

fn operand(cursor: &mut Cursor<'_>, depth: usize) -> Parsed<Expr> {
    if cursor.take("...")? {
        return Ok(Expr::Ellipsis);
    }
    if cursor.take("[")? {
        return Ok(Expr::List(list(cursor, "]", depth)?));
    }
    if cursor.take("{")? {
        return Ok(Expr::Struct(list(cursor, "}", depth)?));
    }
    if let Some(text) = strings(cursor)? {
        return Ok(Expr::Text(text));
    }
    if let Some(value) = cursor.try_integer()? {
        return Ok(Expr::Int(value));
    }
    let word = cursor.word().map_err(|_| cursor.expected("an argument"))?;
    match cursor.meaning(word) {
        Some(Meaning::Text(text)) => return Ok(Expr::Text(text)),
        Some(Meaning::Word(word)) => return Ok(Expr::Word(word)),
        _ => {}
    }
    if cursor.take("(")? {
        let arguments = list(cursor, ")", depth)?;
        // `msg_iov(2) = […]` is a field that has a count.
        if cursor.take("=")? {
            let value = expression(cursor, depth)?;
            return Ok(Expr::Field(word.to_owned(), Box::new(value)));
        }
        return Ok(Expr::Apply(word.to_owned(), arguments));
    }
    if cursor.take("=")? {
        let value = expression(cursor, depth)?;
        return Ok(Expr::Field(word.to_owned(), Box::new(value)));
    }
    Ok(Expr::Word(word.to_owned()))
}

/// Reads strings that follow each other as one, if one is next.
fn strings(cursor: &mut Cursor<'_>) -> Parsed<Option<String>> {
    let Some(mut text) = cursor.quoted('"')? else {
        return Ok(None);
    };
    while let Some(more) = cursor.quoted('"')? {
        text.push_str(&more);
    }
    // `"abc"...` says how the text begins, which no call of ours distinguishes.
    cursor.take("...")?;
    Ok(Some(text))
}
