//! One page with live counters, served by hyper over the stack's own stream.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::future::{Future as _, poll_fn, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use netstack::net::time::Time;
use netstack::net::{Stack, TcpStream};

use super::recallable::{Marks, Recallable};
use super::resume::{Shelf, State};
use crate::report;
use crate::settings::Settings;

/// The page's contents.
#[derive(Debug)]
pub(super) struct Page {
    counters: report::Source,
    time: Time,
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
            time: stack.time(),
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
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}

/// Time after which a connection that was recalled in the middle of an answer looks whether it may go on.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Serves requests on one connection until either side closes it. `read` are the first bytes of the first request.
pub(super) async fn tcp(stream: TcpStream, read: Vec<u8>, page: Arc<Page>, shelf: Shelf) {
    let marks = Arc::new(Marks::default());
    let io = TokioIo::new(Recallable::new(stream, read, &marks));
    let time = page.time.clone();
    let bodies = Arc::clone(&marks);
    let service = service_fn(move |request: Request<Incoming>| {
        if !request.body().is_end_stream() {
            // Where it ends is hyper's secret.
            bodies.set_busy();
        }
        ready(Ok::<_, Infallible>(page.answer(&request)))
    });
    let mut connection = http1::Builder::new().serve_connection(io, service);
    loop {
        let recalled = poll_fn(|cx| {
            // An error of the peer ends only this connection, after hyper has answered it.
            if Pin::new(&mut connection).poll(cx).is_ready() {
                return Poll::Ready(false);
            }
            match marks.take_recalled() {
                true => Poll::Ready(true),
                false => Poll::Pending,
            }
        });
        if !recalled.await {
            return;
        }
        if !marks.is_busy() {
            break;
        }
        // It cannot be handed over, but may go on here.
        let _ = time.sleep(BUSY_PAUSE).await;
    }
    let parts = connection.into_parts();
    let (stream, before) = parts.io.into_inner().into_parts();
    let read = [parts.read_buf, before].concat();
    shelf.keep(stream, State::Http { read });
}
