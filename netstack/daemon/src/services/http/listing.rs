//! The page of a directory.

use std::fmt::Write as _;
use std::io;
use std::os::fd::AsFd;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rustix::fs::{Dir, FileType};

/// Most entries of a page.
const ENTRIES_MAX: usize = 2_000;

/// Bytes of a name that mean something in a URL or in HTML; everything but letters, digits and these.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Returns a name as a part of a URL.
pub(super) fn encoded(name: &[u8]) -> impl std::fmt::Display + '_ {
    percent_encode(name, ENCODED)
}

/// Returns a text in which nothing is HTML.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            letter => safe.push(letter),
        }
    }
    safe
}

/// Returns the page of an open directory, which is shown as `path`.
///
/// # Errors
/// It cannot be read.
pub(super) fn page(directory: impl AsFd, path: &str) -> io::Result<Bytes> {
    let mut names = Vec::new();
    let mut is_cut = false;
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let mut name = entry.file_name().to_bytes().to_vec();
        if name == b"." || name == b".." {
            continue;
        }
        if names.len() == ENTRIES_MAX {
            is_cut = true;
            break;
        }
        if entry.file_type() == FileType::Directory {
            name.push(b'/');
        }
        names.push(name);
    }
    names.sort_unstable();
    let title = escaped(path);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
         <body><h1>{title}</h1>\n<ul>\n"
    );
    if path != "/" {
        page.push_str("<li><a href=\"../\">../</a></li>\n");
    }
    for name in &names {
        let (bare, slash) = match name.strip_suffix(b"/") {
            Some(bare) => (bare, "/"),
            None => (&name[..], ""),
        };
        let shown = escaped(&String::from_utf8_lossy(bare));
        // Writing to a String does not fail. "./" keeps a colon in the name from looking like a scheme.
        let _ = writeln!(
            page,
            "<li><a href=\"./{}{slash}\">{shown}{slash}</a></li>",
            encoded(bare)
        );
    }
    page.push_str("</ul>\n");
    if is_cut {
        let _ = writeln!(page, "<p>There are more than {ENTRIES_MAX}.</p>");
    }
    page.push_str("</body></html>\n");
    Ok(Bytes::from(page))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_text_and_never_markup() {
        let path = std::env::temp_dir().join(format!("netstackd-listing-{}", std::process::id()));
        std::fs::create_dir_all(path.join("sub")).expect("a directory");
        for name in ["<b>&\"'", "a b", "c:d"] {
            std::fs::write(path.join(name), "").expect("a file");
        }
        let directory = std::fs::File::open(&path).expect("the directory");
        let page = page(&directory, "/x/<i>/").expect("a page");
        std::fs::remove_dir_all(&path).expect("removed");
        let page = String::from_utf8(page.to_vec()).expect("text");
        for part in [
            "<h1>/x/&lt;i&gt;/</h1>",
            "<a href=\"../\">",
            "<a href=\"./%3Cb%3E%26%22%27\">&lt;b&gt;&amp;&quot;&#39;</a>",
            "<a href=\"./a%20b\">a b</a>",
            "<a href=\"./c%3Ad\">",
            "<a href=\"./sub/\">sub/</a>",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("<b>") && !page.contains("<i>"), "{page}");
    }
}
