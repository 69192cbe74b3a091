//! Responses that are short texts.

use bytes::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Response, StatusCode};

use super::body::Body;

/// Returns a response with a body of this type.
pub(super) fn whole(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::of(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Returns a line of text with a status.
pub(super) fn text(status: StatusCode, line: &'static str) -> Response<Body> {
    let kind = "text/plain; charset=utf-8";
    whole(status, kind, Bytes::from_static(line.as_bytes()))
}

/// Returns a page.
pub(super) fn html(page: Bytes) -> Response<Body> {
    whole(StatusCode::OK, "text/html; charset=utf-8", page)
}

/// Returns the answer to a method that changes something.
pub(super) fn only_read() -> Response<Body> {
    let mut response = text(
        StatusCode::METHOD_NOT_ALLOWED,
        "this can only be read: use GET\n",
    );
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}
