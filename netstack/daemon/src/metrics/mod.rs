//! `/metrics`: every counter and gauge for Prometheus, on a loopback address of the host.
//!
//! One thread serves, at most [`MAX_CONNECTIONS`] at once, each for at most [`CONNECTION_TIME`]. Nothing that a scraper does
//! reaches a worker: counters are read without a lock.

mod collect;

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::control::{Target, step_back};
use crate::failure::Failure;
use crate::file::reason;
use crate::settings::Settings;

/// Most connections at once; others wait to be accepted.
const MAX_CONNECTIONS: usize = 16;

/// Time that a request's header may take.
const HEADER_TIME: Duration = Duration::from_secs(5);

/// Time after which a connection is closed, whatever it does.
const CONNECTION_TIME: Duration = Duration::from_secs(60);

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// Most bytes of a request that are kept.
const MAX_BUFFER_BYTES: usize = 16 << 10;

/// Time that passes after an error of `accept`, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The place of `/metrics`.
#[derive(Debug)]
pub(crate) enum Admin {
    /// It listens.
    Listens(StdListener),
    /// A socket for an address that is free when another daemon has ended.
    Waits(Socket, SocketAddr),
}

/// Listens on the address that the settings give, or takes the socket that the supervisor has passed on. An `inherited` address
/// is not listened on yet.
///
/// # Errors
/// The address cannot be listened on, or the socket is none of that kind.
pub(crate) fn listen(settings: &Settings, inherited: bool) -> Result<Option<Admin>, Failure> {
    if let Some(passed) = settings.passed.admin()? {
        return Ok(Some(Admin::Listens(passed)));
    }
    let Some(address) = settings.admin else {
        return Ok(None);
    };
    // Made here: whoever waits for the address may make no socket.
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)
        .and_then(|socket| socket.set_reuse_address(true).map(|()| socket))
        .map_err(|error| refused(address, &error))?;
    if inherited {
        return Ok(Some(Admin::Waits(socket, address)));
    }
    bind(&socket, address).map_err(|error| refused(address, &error))?;
    Ok(Some(Admin::Listens(socket.into())))
}

fn bind(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)
}

fn refused(address: SocketAddr, error: &io::Error) -> Failure {
    let text = format!(
        "the admin address {address} cannot be listened on: {}: choose another port (--admin)",
        reason(error)
    );
    match error.kind() {
        io::ErrorKind::AddrInUse => Failure::InUse(text),
        _ => Failure::Stack(text),
    }
}

/// Serves `/metrics`: once the address is free, if the daemon that was taken over has it until it has ended.
///
/// # Errors
/// The thread cannot be started.
pub(crate) fn start(target: &Arc<Target>, admin: Admin) -> Result<(), Failure> {
    let mut registry = Registry::with_prefix("netstack");
    registry.register_collector(Box::new(collect::StackCollector::new(target)));
    thread::Builder::new()
        .name("metrics".to_owned())
        .spawn(move || {
            step_back();
            let served = admin.wait().and_then(|listener| {
                let cannot =
                    |error| Failure::Stack(format!("metrics cannot be served: {}", reason(&error)));
                serve_on(listener, registry).map_err(cannot)
            });
            if let Err(why) = served {
                tracing::error!(target: "netstackd::metrics", "there are no metrics: {why}");
            }
        })
        .map(drop)
        .map_err(|error| {
            Failure::Stack(format!(
                "metrics cannot be served: {}: check the limits of threads (ulimit -u)",
                reason(&error)
            ))
        })
}

impl Admin {
    /// Returns the listener, once the address is free.
    fn wait(self) -> Result<StdListener, Failure> {
        let (socket, address) = match self {
            Self::Listens(listener) => return Ok(listener),
            Self::Waits(socket, address) => (socket, address),
        };
        for _ in 0..ATTEMPTS {
            match bind(&socket, address) {
                Ok(()) => return Ok(socket.into()),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => thread::sleep(PAUSE),
                Err(error) => return Err(refused(address, &error)),
            }
        }
        Err(refused(address, &io::ErrorKind::AddrInUse.into()))
    }
}

/// Attempts to listen on the admin address after a take-over, and the pause between them.
const ATTEMPTS: usize = 200;
const PAUSE: Duration = Duration::from_millis(50);

/// Serves every scraper, for ever.
fn serve_on(listener: StdListener, registry: Registry) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    listener.set_nonblocking(true)?;
    runtime.block_on(async move {
        serve(TcpListener::from_std(listener)?, Arc::new(registry)).await;
        Ok(())
    })
}

async fn serve(listener: TcpListener, registry: Arc<Registry>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // It is never closed.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let registry = Arc::clone(&registry);
                tokio::spawn(async move {
                    let _ = timeout(CONNECTION_TIME, answer_all(stream, registry)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(target: "netstackd::metrics", "a scraper could not be accepted: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn answer_all(stream: TcpStream, registry: Arc<Registry>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = answer(&request, &registry);
        async move { Ok::<_, Infallible>(response) }
    });
    // An error of the scraper ends only its connection.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(MAX_BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn answer(request: &Request<Incoming>, registry: &Registry) -> Response<Full<Bytes>> {
    const PLAIN: &str = "text/plain; charset=utf-8";
    let is_get = [Method::GET, Method::HEAD].contains(request.method());
    let (status, kind, body) = match request.uri().path() {
        "/metrics" if is_get => match text_of(registry) {
            Ok(text) => (
                StatusCode::OK,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                text,
            ),
            Err(error) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                PLAIN,
                format!("{error}\n"),
            ),
        },
        "/metrics" => (
            StatusCode::METHOD_NOT_ALLOWED,
            PLAIN,
            "metrics can only be read: use GET\n".to_owned(),
        ),
        _ => (
            StatusCode::NOT_FOUND,
            PLAIN,
            "there is one page here: ask for /metrics\n".to_owned(),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

fn text_of(registry: &Registry) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry)?;
    Ok(text)
}

/// Parses an address on which only this machine can reach the daemon.
pub(crate) fn parse_admin(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| "write it as ADDRESS:PORT, for example 127.0.0.1:9100".to_owned())?;
    check_admin(address)?;
    Ok(address)
}

/// Checks that only this machine can reach an address.
///
/// # Errors
/// Others can: a sentence that says what to do.
pub(crate) fn check_admin(address: SocketAddr) -> Result<(), String> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    Err(
        "it is no loopback address, and what is served there is not protected: use 127.0.0.1 or [::1]"
            .to_owned(),
    )
}
