//! Requests that are refused, and the headers of every answer.
//!
//! A page of another site can send a browser here: by a name of its own that resolves to this address (DNS rebinding), or by an
//! element that loads from here. So a request must name an address or localhost as its host, and the headers
//! forbid others to embed what comes back.

use std::net::IpAddr;
use std::str::FromStr as _;

use axum::extract::Request;
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderMap, HeaderName, HeaderValue,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::uri::Authority;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

/// The headers of every answer.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (CACHE_CONTROL, "no-store"),
    (REFERRER_POLICY, "no-referrer"),
    (X_FRAME_OPTIONS, "DENY"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// Passes a request on or refuses it, and completes the answer.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    let mut response = match refusal(&request) {
        Some(refused) => refused,
        None => next.run(request).await,
    };
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

fn refusal(request: &Request) -> Option<Response> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let text = "what is here can only be read: use GET\n";
        return Some(
            (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET, HEAD")], text).into_response(),
        );
    }
    let is_own = host_of(request.headers()).is_some_and(is_own_host)
        && request
            .uri()
            .authority()
            .is_none_or(|one| is_own_host(one.as_str()));
    (!is_own).then(|| {
        let text = "the request names another host than this one: open it by its address, such as \
                    http://127.0.0.1:9100/, or as localhost\n";
        (StatusCode::MISDIRECTED_REQUEST, text).into_response()
    })
}

/// Returns the value of the one header of that name.
fn host_of(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(HOST).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.to_str().ok())?
}

/// Returns whether a browser that asks for this host was sent by an address or by localhost. Any address will do: no
/// name of another site is one, and a forwarded port may have another than ours.
fn is_own_host(text: &str) -> bool {
    let Ok(authority) = Authority::from_str(text) else {
        return false;
    };
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    host.eq_ignore_ascii_case("localhost") || bare.unwrap_or(host).parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_an_address_or_localhost() {
        for (host, is_own) in [
            ("127.0.0.1:9100", true),
            ("127.0.0.1", true),
            ("[::1]:9100", true),
            ("10.77.0.2:80", true),
            ("localhost:9100", true),
            ("LOCALHOST", true),
            ("evil.example:9100", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example", false),
            ("evil.example@127.0.0.1", false),
            ("127.0.0.1@evil.example", false),
            ("", false),
            ("[::1", false),
            ("2130706433", false),
        ] {
            assert_eq!(is_own_host(host), is_own, "{host}");
        }
        let mut headers = HeaderMap::new();
        assert_eq!(host_of(&headers), None);
        headers.append(HOST, HeaderValue::from_static("localhost"));
        assert_eq!(host_of(&headers), Some("localhost"));
        headers.append(HOST, HeaderValue::from_static("evil.example"));
        assert_eq!(host_of(&headers), None);
    }
}
