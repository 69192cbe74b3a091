//! The upstream proxy: its URL, and connections through it (SOCKS5: RFC 1928 and 1929; HTTP CONNECT: RFC 9110 section
//! 9.3.6).

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fast_socks5::client::{Config, Socks5Stream};
use fast_socks5::util::target_addr::TargetAddr;
use fast_socks5::{AuthenticationMethod, ReplyError, Socks5Command, SocksError};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::{HOST, PROXY_AUTHORIZATION};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use netstack::net::Unreachable;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::net::TcpStream;

use super::dial::Dialer;
use super::rules::Protocol;

/// Longest user name or password (RFC 1929).
const CREDENTIAL_MAX: usize = 255;

/// Where a flow goes: an address, or a name whose address the other side looks up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    Address(SocketAddr),
    Name(String, u16),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

/// Why a flow goes nowhere, as its sender is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// The destination refuses the connection: no program listens there.
    Refused,
    /// It cannot be reached.
    Unreachable(Unreachable),
    /// This machine cannot try at the moment; the sender may try again.
    Shortage,
}

impl Refusal {
    pub(crate) const HOST: Self = Self::Unreachable(Unreachable::Host);
    pub(crate) const NETWORK: Self = Self::Unreachable(Unreachable::Network);
    pub(crate) const PROHIBITED: Self = Self::Unreachable(Unreachable::Prohibited);
}

impl From<&io::Error> for Refusal {
    fn from(error: &io::Error) -> Self {
        use rustix::io::Errno;
        match Errno::from_io_error(error) {
            // It was accepted and reset at once.
            Some(Errno::CONNREFUSED | Errno::CONNRESET) => Self::Refused,
            Some(Errno::NETUNREACH | Errno::NETDOWN | Errno::AFNOSUPPORT) => Self::NETWORK,
            Some(Errno::ACCESS | Errno::PERM) => Self::PROHIBITED,
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => Self::Shortage,
            _ => Self::HOST,
        }
    }
}

/// A connection to a destination, and what it sent already.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) stream: TcpStream,
    pub(crate) early: Bytes,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Scheme {
    Socks5,
    Http,
}

/// An upstream proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct Upstream {
    scheme: Scheme,
    host: String,
    port: u16,
    credentials: Option<(String, String)>,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Upstream {
    /// Prints the URL without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Socks5 => "socks5",
            Scheme::Http => "http",
        };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl FromStr for Upstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The password is not repeated.
        let shown = match text.rsplit_once('@') {
            Some((_, place)) => format!("…@{place}"),
            None => text.to_owned(),
        };
        let advice = || {
            format!(
                "'{shown}' is no upstream: write socks5://[USER:PASSWORD@]HOST:PORT or http://[USER:PASSWORD@]HOST:PORT"
            )
        };
        let uri: hyper::Uri = text.parse().map_err(|_| advice())?;
        let scheme = match uri.scheme_str() {
            Some("socks5" | "socks5h") => Scheme::Socks5,
            Some("http") => Scheme::Http,
            _ => return Err(advice()),
        };
        let authority = uri.authority().ok_or_else(advice)?;
        let has_path = !matches!(uri.path(), "" | "/") || uri.query().is_some();
        if authority.host().is_empty() || has_path {
            return Err(advice());
        }
        let user = authority.as_str().rsplit_once('@').map(|(user, _)| user);
        let credentials = match user {
            None => None,
            Some(user) => {
                let (name, password) = user.split_once(':').ok_or_else(advice)?;
                let (name, password) = (decode(name), decode(password));
                let (name, password) = name.zip(password).ok_or_else(advice)?;
                if name.is_empty() || name.len().max(password.len()) > CREDENTIAL_MAX {
                    return Err(format!(
                        "the user name and password of '{shown}' must have 1 to {CREDENTIAL_MAX} bytes"
                    ));
                }
                Some((name, password))
            }
        };
        let port = match scheme {
            // What stands behind the host is no port that can be.
            _ if !authority.as_str().ends_with(authority.host()) => {
                authority.port_u16().ok_or_else(advice)?
            }
            Scheme::Socks5 => 1080,
            Scheme::Http => 3128,
        };
        Ok(Self {
            scheme,
            host: authority.host().to_owned(),
            port,
            credentials,
        })
    }
}

/// Bytes of a user name or password that a URL has otherwise than they are.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Decodes `%40` and the like (RFC 3986 section 2.1).
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let value = digit(rest.next())? * 16 + digit(rest.next())?;
        bytes.push(u8::try_from(value).ok()?);
    }
    String::from_utf8(bytes).ok()
}

impl Upstream {
    /// Returns the URL, with the password.
    pub(crate) fn url(&self) -> String {
        let shown = self.to_string();
        match (&self.credentials, shown.split_once("//")) {
            (Some((name, password)), Some((scheme, place))) => {
                let name = utf8_percent_encode(name, ENCODED);
                let password = utf8_percent_encode(password, ENCODED);
                format!("{scheme}//{name}:{password}@{place}")
            }
            _ => shown,
        }
    }

    /// Returns whether flows of a protocol can go through it.
    pub(crate) fn carries(&self, protocol: Protocol) -> bool {
        match protocol {
            Protocol::Tcp => true,
            Protocol::Udp => self.scheme == Scheme::Socks5,
            Protocol::Icmp => false,
        }
    }

    /// Connects to the proxy itself.
    async fn reach(&self, dialer: &Dialer) -> Result<TcpStream, Refusal> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let target = match host.parse::<IpAddr>() {
            Ok(address) => Target::Address(SocketAddr::new(address, self.port)),
            Err(_) => Target::Name(host.to_owned(), self.port),
        };
        // That the proxy is not there does not say that the destination refuses.
        dialer.tcp(&target).await.map_err(|refusal| match refusal {
            Refusal::Shortage => Refusal::Shortage,
            _ => Refusal::NETWORK,
        })
    }

    /// Connects to a destination through the proxy.
    ///
    /// # Errors
    /// Returns what the proxy said, or that it is not there.
    pub(crate) async fn connect(
        &self,
        dialer: &Dialer,
        target: &Target,
    ) -> Result<Connected, Refusal> {
        let stream = self.reach(dialer).await?;
        match self.scheme {
            Scheme::Socks5 => {
                let mut socks = self.greet(stream).await?;
                let request = socks.request(Socks5Command::TCPConnect, socks_target(target));
                request.await.map_err(|error| refusal_of(&error))?;
                Ok(Connected {
                    stream: socks.get_socket(),
                    early: Bytes::new(),
                })
            }
            Scheme::Http => self.connect_http(stream, target).await,
        }
    }

    async fn greet(&self, stream: TcpStream) -> Result<Socks5Stream<TcpStream>, Refusal> {
        let auth = self.credentials.clone();
        let auth =
            auth.map(|(username, password)| AuthenticationMethod::Password { username, password });
        Socks5Stream::use_stream(stream, auth, Config::default())
            .await
            .map_err(|error| refusal_of(&error))
    }

    /// Asks a SOCKS5 proxy to relay datagrams. Returns the connection that keeps the association, and the address of the
    /// relay.
    pub(crate) async fn associate(
        &self,
        dialer: &Dialer,
    ) -> Result<(TcpStream, SocketAddr), Refusal> {
        let stream = self.reach(dialer).await?;
        let proxy = stream.peer_addr().map_err(|error| Refusal::from(&error))?;
        let mut socks = self.greet(stream).await?;
        // The client's address is not known before something is sent (RFC 1928 section 7).
        let any: SocketAddr = match proxy {
            SocketAddr::V4(_) => ([0; 4], 0).into(),
            SocketAddr::V6(_) => ([0; 16], 0).into(),
        };
        let request = socks.request(Socks5Command::UDPAssociate, TargetAddr::Ip(any));
        let relay = match request.await.map_err(|error| refusal_of(&error))? {
            // Many proxies do not know under which address they were reached.
            TargetAddr::Ip(relay) if relay.ip().is_unspecified() => {
                SocketAddr::new(proxy.ip(), relay.port())
            }
            TargetAddr::Ip(relay) => relay,
            TargetAddr::Domain(name, port) => dialer.look_up(&name, port).await?,
        };
        Ok((socks.get_socket(), relay))
    }

    async fn connect_http(&self, stream: TcpStream, target: &Target) -> Result<Connected, Refusal> {
        let failed = |_: hyper::Error| Refusal::HOST;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(failed)?;
        // It ends with the connection, which the upgrade takes over.
        tokio::spawn(connection.with_upgrades());
        let authority = target.to_string();
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(&authority)
            .header(HOST, &authority);
        if let Some((name, password)) = &self.credentials {
            let basic = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
            request = request.header(PROXY_AUTHORIZATION, basic);
        }
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(|_| Refusal::HOST)?;
        let response = sender.send_request(request).await.map_err(failed)?;
        match response.status() {
            status if status.is_success() => {}
            // What proxies say when the destination refused.
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => {
                return Err(Refusal::Refused);
            }
            StatusCode::FORBIDDEN
            | StatusCode::UNAUTHORIZED
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::PROXY_AUTHENTICATION_REQUIRED => return Err(Refusal::PROHIBITED),
            _ => return Err(Refusal::HOST),
        }
        let upgraded = hyper::upgrade::on(response).await.map_err(failed)?;
        let parts = upgraded
            .downcast::<TokioIo<TcpStream>>()
            .map_err(|_| Refusal::HOST)?;
        Ok(Connected {
            stream: parts.io.into_inner(),
            early: parts.read_buf,
        })
    }
}

/// Returns a destination in the form of SOCKS5.
pub(crate) fn socks_target(target: &Target) -> TargetAddr {
    match target {
        Target::Address(address) => TargetAddr::Ip(*address),
        Target::Name(name, port) => TargetAddr::Domain(name.clone(), *port),
    }
}

fn refusal_of(error: &SocksError) -> Refusal {
    match error {
        SocksError::ReplyError(reply) => match reply {
            ReplyError::ConnectionRefused => Refusal::Refused,
            ReplyError::NetworkUnreachable => Refusal::NETWORK,
            ReplyError::ConnectionNotAllowed => Refusal::PROHIBITED,
            _ => Refusal::HOST,
        },
        SocksError::AuthenticationRejected(_) | SocksError::AuthMethodUnacceptable(_) => {
            Refusal::PROHIBITED
        }
        _ => Refusal::HOST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_understood() {
        let upstream: Upstream = "socks5://us%40er:pa%3Ass@proxy.test:9050"
            .parse()
            .expect("good");
        assert_eq!(upstream.to_string(), "socks5://proxy.test:9050");
        let credentials = Some(("us@er".to_owned(), "pa:ss".to_owned()));
        assert_eq!(upstream.credentials, credentials);
        assert_eq!(upstream.url(), "socks5://us%40er:pa%3Ass@proxy.test:9050");
        let upstream: Upstream = "http://[::1]".parse().expect("good");
        assert_eq!(upstream.to_string(), "http://[::1]:3128");
        assert!(!upstream.carries(Protocol::Udp));
        let upstream: Upstream = "socks5h://127.0.0.1/".parse().expect("good");
        assert_eq!(upstream.port, 1080);
    }

    #[test]
    fn a_wrong_url_is_named_without_its_password() {
        let long = format!("socks5://{}:x@h:1", "u".repeat(256));
        for text in [
            "",
            "127.0.0.1:1080",
            "https://127.0.0.1",
            "socks5://",
            "socks5://h:99999",
            "socks5://h/path",
            "socks5://user@h:1",
            "socks5://:secret@h:1",
            "socks5://a:%zzsecret@h:1",
            &long,
        ] {
            let error = text.parse::<Upstream>().expect_err(text);
            assert!(
                !error.contains("secret") && !error.contains('\n'),
                "{error}"
            );
        }
    }
}
