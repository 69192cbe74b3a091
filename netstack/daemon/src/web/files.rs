//! The files of the dashboard, which are part of the program.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A file: its path, its kind, its text.
pub(super) type File = (&'static str, &'static str, &'static str);

macro_rules! files {
    ($($path:literal, $kind:expr, $name:literal;)+) => {
        /// Every file.
        pub(super) const FILES: &[File] =
            &[$(($path, $kind, include_str!(concat!("assets/", $name))),)+];
    };
}

files! {
    "/", HTML, "index.html";
    "/style.css", CSS, "style.css";
    "/parts.css", CSS, "parts.css";
    "/icon.svg", SVG, "icon.svg";
    "/theme.js", JS, "theme.js";
    "/app.js", JS, "app.js";
    "/lib/data.js", JS, "lib/data.js";
    "/lib/dom.js", JS, "lib/dom.js";
    "/lib/units.js", JS, "lib/units.js";
    "/lib/chart.js", JS, "lib/chart.js";
    "/lib/spark.js", JS, "lib/spark.js";
    "/lib/table.js", JS, "lib/table.js";
    "/pages/overview.js", JS, "pages/overview.js";
    "/pages/flows.js", JS, "pages/flows.js";
    "/pages/flow.js", JS, "pages/flow.js";
    "/pages/drops.js", JS, "pages/drops.js";
    "/pages/locks.js", JS, "pages/locks.js";
    "/pages/buffers.js", JS, "pages/buffers.js";
    "/pages/config.js", JS, "pages/config.js";
}

/// Answers with a file.
pub(super) fn answer((_, kind, text): File) -> Response {
    ([(CONTENT_TYPE, kind)], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_needs_anything_from_elsewhere() {
        let paths: Vec<&str> = FILES.iter().map(|(path, _, _)| *path).collect();
        for (path, kind, text) in FILES {
            for word in [
                "http://",
                "https://",
                "eval(",
                "innerHTML",
                "outerHTML",
                "document.write",
                "style=\"",
            ] {
                let text = text.replace("http://www.w3.org/", "");
                assert!(!text.contains(word), "{path}: {word}");
            }
            if *kind != JS {
                continue;
            }
            for line in text.lines().filter(|line| line.starts_with("import ")) {
                let from = line.split('"').nth(1).expect("a module in quotes");
                assert!(paths.contains(&from), "{path}: {from}");
            }
        }
    }
}
