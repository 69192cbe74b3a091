//! Words of the formats that the targets read, as libFuzzer and this project's mutations use them.
//!
//! A dictionary is a file of lines `name="bytes"` in which `\\`, `\"` and `\xNN` stand for bytes, and of comments after `#`.

/// Reads a dictionary.
///
/// # Errors
/// The number of the first line that is none, and what is wrong with it.
pub fn words(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let word = quoted(line).and_then(bytes).filter(|word| !word.is_empty());
        let word = word.ok_or_else(|| {
            format!(
                "line {} is no entry: write name=\"bytes\", with \\xNN for a byte that is no letter",
                number + 1
            )
        })?;
        found.push(word);
    }
    Ok(found)
}

/// Returns what a line has in quotes, behind an optional name.
fn quoted(line: &str) -> Option<&str> {
    let (name, rest) = line.split_once('"')?;
    let is_name = name.is_empty() || name.ends_with('=');
    rest.strip_suffix('"').filter(|_| is_name)
}

/// Returns the bytes that a text stands for.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first == b'"' {
            return None;
        }
        if *first != b'\\' {
            out.push(*first);
            continue;
        }
        let (escaped, behind) = rest.split_first()?;
        rest = behind;
        match escaped {
            b'\\' | b'"' => out.push(*escaped),
            b'x' => {
                let digits = str::from_utf8(rest.get(..2)?).ok()?;
                out.push(u8::from_str_radix(digits, 16).ok()?);
                rest = rest.get(2..)?;
            }
            _ => return None,
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_and_what_is_none_is_refused() {
        let text = "# words\n\nsyn=\"S. 0\\x0a\\\\\\\"\"\n\"bare\"\n";
        let read = words(text).expect("a dictionary");
        assert_eq!(read, [b"S. 0\n\\\"".to_vec(), b"bare".to_vec()]);
        for wrong in [
            "word",
            "a=\"",
            "a=\"\\x1\"",
            "a=\"\\q\"",
            "a=\"\"",
            "a=\"b\"c\"",
            "a b \"c\"",
        ] {
            let error = words(&format!("# one\n{wrong}")).expect_err(wrong);
            assert!(error.starts_with("line 2 is no entry"), "{error}");
        }
    }
}
