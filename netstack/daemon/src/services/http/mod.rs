//! HTTP/1.1 by hyper over the stack's own streams: the files of a directory, or a page of live counters.
//!
//! A connection is a loop of request and response on the worker that owns it. Between two requests it holds nothing but
//! hyper's buffers, at most [`BUFFER_BYTES`] each; a response holds one piece of a file. Files are read on threads of
//! their own.
//!
//! | module | |
//! |---|---|
//! | `files` | from the path of a request to an open file below the root |
//! | `conditions` | what a client has already, and which part it wants |
//! | `body` | bodies, piece by piece |
//! | `listing` | the page of a directory |
//! | `page` | the page of counters |
//! | `answer` | short responses |
//! | `clock` | hyper's timers on the stack's clock |

mod answer;
mod body;
mod clock;
mod conditions;
mod files;
mod listing;
mod page;
mod root;

use std::convert::Infallible;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, DATE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use netstack::net::time::Time;
use netstack::net::{Stack, TcpStream};

use self::body::Body;
use self::clock::Clock;
use self::files::Files;
use self::page::Page;
pub(super) use self::root::Root;
use super::Wall;
use super::recallable::{Answering, Marks, Recallable};
use super::resume::{Shelf, State};
use super::unfinished::Unfinished;
use crate::failure::Failure;
use crate::settings::Settings;

/// Most bytes of a request's line and headers together, and of what waits to be sent.
const BUFFER_BYTES: usize = 16 << 10;
/// Most headers of a request.
const HEADERS_MAX: usize = 64;
/// Most bytes of a request's body. No method has use for one.
const BODY_MAX: u64 = 64 << 10;

/// The content that is served, and the limits.
#[derive(Debug)]
pub(super) struct Site {
    content: Content,
    time: Time,
    wall: Wall,
    header_timeout: Duration,
    requests: u32,
}

#[derive(Debug)]
enum Content {
    Files(Files),
    Page(Page),
}

impl Site {
    /// Serves the files below `root`, or a page without one.
    ///
    /// # Errors
    /// The system has no threads left.
    pub(super) fn new(
        stack: &Stack,
        settings: &Settings,
        root: Option<Root>,
        wall: Wall,
    ) -> Result<Self, Failure> {
        let http = &settings.http;
        let content = match root {
            Some(root) => Content::Files(Files::new(root, http.listing)?),
            None => Content::Page(Page::new(stack, settings)),
        };
        Ok(Self {
            content,
            time: stack.time(),
            wall,
            header_timeout: http.header_timeout,
            requests: http.requests,
        })
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        let is_read = [Method::GET, Method::HEAD].contains(request.method());
        if request.body().size_hint().lower() > BODY_MAX {
            let line = "no body is of use here: leave it out\n";
            return closing(answer::text(StatusCode::PAYLOAD_TOO_LARGE, line));
        }
        if !is_read {
            return answer::only_read();
        }
        match &self.content {
            Content::Files(files) => files.answer(request).await,
            Content::Page(page) => page.answer(request.uri().path()),
        }
    }
}

fn closing(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Time after which a connection that was recalled in the middle of an answer looks whether it may go on.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Serves requests on one connection until either side closes it, or it has had its share. `read` are the first bytes of the
/// first request.
pub(super) async fn tcp(
    stream: TcpStream,
    read: Vec<u8>,
    site: Arc<Site>,
    (shelf, unfinished): (Shelf, Unfinished),
) {
    // What hyper writes is complete. It fails only if the connection is at its end already.
    let _ = stream.set_nodelay(true);
    let counted = unfinished.connection();
    let marks = Marks::new(&counted);
    let io = TokioIo::new(Recallable::new(stream, read, &marks));
    let served = AtomicU32::new(0);
    // From a request with a body on.
    let busy = OnceLock::new();
    let service = service_fn(|request: Request<Incoming>| {
        if !request.body().is_end_stream() {
            // Where it ends is hyper's secret.
            marks.set_busy();
            busy.get_or_init(|| counted.begin());
        }
        let number = served.fetch_add(1, Ordering::Relaxed) + 1;
        let (site, answering) = (&site, Answering::begin(&marks));
        async move {
            let response = site.answer(&request).await;
            let mut response = response.map(|body| body.of_answer(answering));
            let date = site.wall.now().format("%a, %d %b %Y %H:%M:%S GMT");
            if let Ok(date) = HeaderValue::try_from(date.to_string()) {
                response.headers_mut().insert(DATE, date);
            }
            let is_last = number >= site.requests;
            Ok::<_, Infallible>(if is_last { closing(response) } else { response })
        }
    });
    let mut connection = http1::Builder::new()
        .timer(Clock::new(site.time.clone()))
        // The answer says it, by a clock that can be repeated.
        .auto_date_header(false)
        .header_read_timeout(site.header_timeout)
        // A client may have said everything, and still wait for the answer.
        .half_close(true)
        .max_buf_size(BUFFER_BYTES)
        .max_headers(HEADERS_MAX)
        .serve_connection(io, service);
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
        let _ = site.time.sleep(BUSY_PAUSE).await;
    }
    let parts = connection.into_parts();
    let (stream, before) = parts.io.into_inner().into_parts();
    let read = [parts.read_buf, before].concat();
    shelf.keep(stream, State::Http { read });
}
