//! The words and signs of an expression.

/// Longest expression, in bytes.
const MAX_BYTES: usize = 65_536;

/// One word or sign.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Token {
    /// A keyword, name, number or address.
    Word(String),
    /// A name with a backslash in front, which is no keyword.
    Escaped(String),
    /// Anything else.
    Sign(&'static str),
}

/// The signs, the longer ones first.
const SIGNS: [&str; 24] = [
    "&&", "||", "<<", ">>", "<=", ">=", "==", "!=", "(", ")", "[", "]", ":", "&", "|", "^", "+",
    "-", "*", "/", "%", "<", ">", "=",
];

/// Splits an expression.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    if text.len() > MAX_BYTES {
        return Err(format!("longer than {MAX_BYTES} bytes"));
    }
    let mut found = Vec::new();
    let mut rest = text;
    let mut brackets = 0_u32;
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else {
            return Ok(found);
        };
        if first.is_ascii_alphanumeric() || (first == ':' && brackets == 0) {
            let len = word_len(rest, brackets > 0);
            let (word, after) = rest.split_at(len);
            found.push(Token::Word(word.to_owned()));
            rest = after;
        } else if let Some(name) = rest.strip_prefix('\\') {
            let len = word_len(name, true);
            let (word, after) = name.split_at(len);
            found.push(Token::Escaped(word.to_owned()));
            rest = after;
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            match *sign {
                "[" => brackets += 1,
                "]" => brackets = brackets.saturating_sub(1),
                _ => {}
            }
            found.push(Token::Sign(sign));
            rest = rest.get(sign.len()..).unwrap_or_default();
        } else if let Some(after) = rest.strip_prefix('!') {
            found.push(Token::Word("not".to_owned()));
            rest = after;
        } else {
            return Err(format!("the character '{first}' has no meaning"));
        }
    }
}

/// Returns the length of the word that `text` begins with. A colon is part of an address, but inside of
/// brackets it divides.
fn word_len(text: &str, in_brackets: bool) -> usize {
    let belongs = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') || (c == ':' && !in_brackets)
    };
    let len = text.find(|c| !belongs(c)).unwrap_or(text.len());
    let word = text.get(..len).unwrap_or_default();
    // A trailing minus is a sign.
    word.trim_end_matches('-').len()
}
