//! A connector for hyper-util's HTTP client.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tower_service::Service;

use super::super::stack::Stack;
use super::super::tcp_stream::TcpStream;

/// A future of the program, or of the connector.
type Boxed<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// Looks a name up.
type Resolve = dyn Fn(String) -> Boxed<Vec<IpAddr>> + Send + Sync;

/// Connects hyper-util's client through a stack.
///
/// ```no_run
/// # fn example(stack: netstack::net::Stack) {
/// use hyper_util::client::legacy::Client;
/// use hyper_util::rt::TokioExecutor;
/// use netstack::net::HyperConnector;
///
/// let client: Client<_, String> =
///     Client::builder(TokioExecutor::new()).build(HyperConnector::new(stack));
/// let answer = client.get("http://192.0.2.1/".parse().unwrap());
/// # drop(answer);
/// # }
/// ```
#[derive(Clone)]
pub struct HyperConnector {
    stack: Stack,
    resolve: Option<Arc<Resolve>>,
}

impl fmt::Debug for HyperConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HyperConnector")
            .field("stack", &self.stack)
            .finish_non_exhaustive()
    }
}

impl HyperConnector {
    /// Creates a connector for URIs whose host is an IP address.
    pub fn new(stack: Stack) -> Self {
        Self {
            stack,
            resolve: None,
        }
    }

    /// Returns the connector with `resolve`, which looks up the addresses of a host's name.
    #[must_use]
    pub fn with_resolver<F, R>(self, resolve: F) -> Self
    where
        F: Fn(String) -> R + Send + Sync + 'static,
        R: Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static,
    {
        let resolve = move |name| Box::pin(resolve(name)) as Boxed<Vec<IpAddr>>;
        Self {
            resolve: Some(Arc::new(resolve)),
            ..self
        }
    }

    async fn connect(self, uri: Uri) -> io::Result<TokioIo<TcpStream>> {
        let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidInput, why);
        let Some(host) = uri.host() else {
            return Err(invalid(format!("connect: {uri} names no host")));
        };
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        let addresses = match (literal.parse::<IpAddr>(), &self.resolve) {
            (Ok(address), _) => vec![address],
            (Err(_), Some(resolve)) => resolve(host.to_owned()).await?,
            (Err(_), None) => {
                return Err(invalid(format!(
                    "connect: {host} is a name: give the connector a resolver (with_resolver)"
                )));
            }
        };
        let addresses: Vec<_> = addresses
            .into_iter()
            .map(|address| SocketAddr::new(address, port))
            .collect();
        let stream = TcpStream::connect(&self.stack, &addresses[..]).await?;
        Ok(TokioIo::new(stream))
    }
}

impl Service<Uri> for HyperConnector {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Boxed<TokioIo<TcpStream>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

impl Connection for TcpStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}
