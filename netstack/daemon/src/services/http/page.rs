//! The page of live counters, served where no directory is.

use std::fmt::Write as _;

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use hyper::{Response, StatusCode};
use netstack::net::Stack;

use super::answer;
use super::body::Body;
use crate::report;
use crate::settings::Settings;

/// The page's contents.
#[derive(Debug)]
pub(super) struct Page {
    counters: report::Source,
    title: String,
}

impl Page {
    pub(super) fn new(stack: &Stack, settings: &Settings) -> Self {
        let addresses: Vec<String> = settings
            .addresses()
            .iter()
            .map(ToString::to_string)
            .collect();
        Self {
            counters: report::Source::new(stack),
            title: format!("netstackd {} {}", settings.tun, addresses.join(" ")),
        }
    }

    fn html(&self) -> String {
        let title = &self.title;
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n\
             <style>body{{font:16px sans-serif;margin:2em}}td{{padding:.1em 1em}}\
             td+td{{text-align:right}}</style></head>\n<body><h1>{title}</h1>\n<table>\n"
        );
        for (name, count) in self.counters.read() {
            // Writing to a String does not fail.
            let _ = writeln!(page, "<tr><td>{name}</td><td>{count}</td></tr>");
        }
        page.push_str("</table></body></html>\n");
        page
    }

    /// Returns the answer to a request for `path`.
    pub(super) fn answer(&self, path: &str) -> Response<Body> {
        if path != "/" {
            return answer::text(StatusCode::NOT_FOUND, "there is one page here: ask for /\n");
        }
        let mut response = answer::html(Bytes::from(self.html()));
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
