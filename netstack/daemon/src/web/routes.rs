//! Paths to answers.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use netstack::base::DropReason;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::files::{self, FILES};
use super::flows::{Lister, Wanted};
use super::history::{COLUMNS, History, INTERVAL, KEPT};
use super::{flow, guard, locks};
use crate::control::session::rest_after;
use crate::control::{Target, stats};
use crate::metrics::Metrics;

/// Most connections that are watched as they happen, by all browsers together.
const MAX_STREAMS: usize = 8;

/// The state of the server.
#[derive(Debug)]
pub(super) struct Web {
    pub(super) target: Arc<Target>,
    pub(super) history: History,
    pub(super) streams: Arc<Semaphore>,
    lister: Lister,
    metrics: Metrics,
    /// Every counter is read by one at a time.
    reading: Semaphore,
}

impl Web {
    pub(super) fn new(target: &Arc<Target>) -> Self {
        Self {
            target: Arc::clone(target),
            history: History::default(),
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            lister: Lister::default(),
            metrics: Metrics::new(target),
            reading: Semaphore::new(1),
        }
    }
}

type Shared = State<Arc<Web>>;

/// Returns every path of the server.
pub(super) fn router(web: &Arc<Web>) -> Router {
    let mut router = Router::new()
        .route("/metrics", get(metrics))
        .route("/api/overview", get(overview))
        .route("/api/stats", get(all_stats))
        .route("/api/flows", get(flows))
        .route("/api/flow", get(flow::stream))
        .route("/api/drops", get(drops))
        .route("/api/locks", get(async || Json(locks::json())))
        .route("/api/config", get(config));
    for &file in FILES {
        router = router.route(file.0, get(move || std::future::ready(files::answer(file))));
    }
    router
        .fallback(async || {
            (
                StatusCode::NOT_FOUND,
                "there is no such page: the dashboard is at /\n",
            )
        })
        .layer(middleware::from_fn(guard::guard))
        .with_state(Arc::clone(web))
}

/// The number of the last sample that the browser has.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct After {
    after: u64,
}

async fn metrics(State(web): Shared) -> Response {
    match web.metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, Metrics::KIND)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn overview(State(web): Shared, Query(After { after }): Query<After>) -> Json<Value> {
    let stack = &web.target.stack();
    let addresses = stack.addresses();
    let uptime = web.target.started.elapsed().as_millis();
    let gauges = stats::gauges(stack).into_iter();
    let samples = web.history.after(after);
    Json(json!({
        "daemon": {
            "version": env!("CARGO_PKG_VERSION"),
            "tun": web.target.tun,
            "pid": std::process::id(),
            "addresses": addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "mtu": stack.mtu(),
            "uptime_millis": u64::try_from(uptime).unwrap_or(u64::MAX),
        },
        "interval_millis": u64::try_from(INTERVAL.as_millis()).unwrap_or(u64::MAX),
        "kept": KEPT,
        "columns": COLUMNS,
        "samples": samples.iter().map(|sample| &**sample).collect::<Vec<_>>(),
        "gauges": gauges.map(|(name, value)| (name.to_owned(), Value::from(value))).collect::<serde_json::Map<_, _>>(),
        "workers": stats::workers(stack),
    }))
}

/// Answers with what `netstackd stats` has.
async fn all_stats(State(web): Shared) -> Response {
    let Ok(_reading) = web.reading.acquire().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let begun = Instant::now();
    let stats = stats::read(&web.target);
    sleep(rest_after(begun)).await;
    Json(stats).into_response()
}

async fn flows(State(web): Shared, Query(wanted): Query<Wanted>) -> Response {
    match web.lister.page(&web.target.stack(), &wanted).await {
        Ok(page) => Json(page).into_response(),
        Err(sentence) => (StatusCode::BAD_REQUEST, sentence).into_response(),
    }
}

async fn drops(State(web): Shared, Query(After { after }): Query<After>) -> Json<Value> {
    let samples = web.history.after(after);
    let counters = web.target.stack().counters();
    let counted = DropReason::ALL.iter().enumerate();
    let counted: Vec<(usize, DropReason)> = counted
        .map(|(place, &reason)| (place, reason))
        .filter(|(_, reason)| counters.dropped(*reason) > 0)
        .collect();
    let reasons = counted.iter().map(|(_, reason)| {
        json!({"name": reason.label(), "help": reason.help(), "total": counters.dropped(*reason)})
    });
    let samples = samples.iter().map(|sample| {
        let values = counted.iter().map(|(place, _)| sample.drops.get(*place));
        json!({"seq": sample.seq, "at_millis": sample.at_millis, "drops": values.collect::<Vec<_>>()})
    });
    Json(json!({"reasons": reasons.collect::<Vec<_>>(), "samples": samples.collect::<Vec<_>>()}))
}

async fn config(State(web): Shared) -> Json<Value> {
    Json(json!({ "keys": **web.target.config.load() }))
}
