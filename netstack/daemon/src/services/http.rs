//! One page with live counters, served by hyper over the stack's own stream.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, DATE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use netstack::net::{Stack, TcpStream};

use super::Wall;
use crate::report;
use crate::settings::Settings;

/// The page's contents.
#[derive(Debug)]
pub(super) struct Page {
    counters: report::Source,
    wall: Wall,
    title: String,
}

impl Page {
    pub(super) fn new(stack: &Stack, settings: &Settings, wall: Wall) -> Self {
        let addresses: Vec<String> = settings
            .addresses()
            .iter()
            .map(ToString::to_string)
            .collect();
        Self {
            counters: report::Source::new(stack),
            wall,
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

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let is_get = [Method::GET, Method::HEAD].contains(request.method());
        let (status, kind, body) = match request.uri().path() {
            "/" if is_get => (StatusCode::OK, "text/html; charset=utf-8", self.html()),
            "/" => (
                StatusCode::METHOD_NOT_ALLOWED,
                "text/plain",
                "this page can only be read: use GET\n".to_owned(),
            ),
            _ => (
                StatusCode::NOT_FOUND,
                "text/plain",
                "there is one page here: ask for /\n".to_owned(),
            ),
        };
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let date = self.wall.now().format("%a, %d %b %Y %H:%M:%S GMT");
        if let Ok(date) = HeaderValue::try_from(date.to_string()) {
            headers.insert(DATE, date);
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}

/// Serves requests on one connection until either side closes it.
pub(super) async fn tcp(stream: TcpStream, page: Arc<Page>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = page.answer(&request);
        async move { Ok::<_, Infallible>(response) }
    });
    // An error of the peer ends only this connection, after hyper has answered it.
    let _ = http1::Builder::new()
        // The page says it, by a clock that can be repeated.
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
