//! Connections of browsers and scrapers: how many, how long, how slow.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tower_service::Service as _;

/// Most connections to one address at once; others wait to be accepted.
const MAX_CONNECTIONS: usize = 32;

/// Time that a request's header may take.
const HEADER_TIME: Duration = Duration::from_secs(5);

/// Time after which a connection takes no further request, and the time that the last answer has then.
const CONNECTION_TIME: Duration = Duration::from_secs(60);
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// Time that a connection with an answer without end has: the browser opens another one then.
const STREAM_TIME: Duration = Duration::from_secs(3_600);

/// Time for which a connection may take nothing of an answer.
const STUCK_TIME: Duration = Duration::from_secs(20);

/// Most bytes of a request that are kept.
const MAX_BUFFER_BYTES: usize = 16 << 10;

/// A mark on a connection: its answer has no end.
#[derive(Clone, Debug, Default)]
pub(super) struct Lasting(Arc<AtomicBool>);

impl Lasting {
    /// Marks the connection.
    pub(super) fn mark(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_marked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Serves for as long as the program runs.
pub(super) async fn serve<L: Listener>(mut listener: L, app: Router) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // It is never closed.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let (stream, _) = listener.accept().await;
        let app = app.clone();
        tokio::spawn(async move {
            answer_all(stream, app).await;
            drop(place);
        });
    }
}

async fn answer_all(stream: impl AsyncRead + AsyncWrite + Send, app: Router) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(STUCK_TIME));
    let lasting = Lasting::default();
    let mark = lasting.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(mark.clone());
        let mut app = app.clone();
        async move {
            Ok::<_, Infallible>(
                app.call(request)
                    .await
                    .unwrap_or_else(|never| match never {}),
            )
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(MAX_BUFFER_BYTES)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    tokio::pin!(connection);
    // An error of the browser ends only its connection.
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = sleep(CONNECTION_TIME) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            let is_lasting = lasting.is_marked();
            let rest = if is_lasting { STREAM_TIME } else { ANSWER_TIME };
            timeout(rest, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(target: "netstackd::metrics", "a connection ended: {error}");
    }
}
