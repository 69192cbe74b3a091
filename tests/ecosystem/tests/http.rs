//! HTTP on the stack: axum's server, and hyper's client and server.

use axum::Router;
use axum::routing::get;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use netstack::net::{HyperConnector, TcpListener};
use tests::pair::{SERVER, bounded, server, stacks};

async fn get_text(client: &Client<HyperConnector, Empty<Bytes>>, uri: &str) -> String {
    let answer = bounded(client.get(uri.parse().expect("uri")))
        .await
        .expect("answer");
    let body = answer.into_body().collect().await.expect("body").to_bytes();
    String::from_utf8_lossy(&body).into_owned()
}

#[tokio::test]
async fn axum_serves_and_hyper_asks() {
    let (client, host) = stacks();
    let listener = TcpListener::bind(&host, server(80)).await.expect("bind");
    let app = Router::new()
        .route("/hello", get(|| async { "hello" }))
        .route("/long", get(|| async { "x".repeat(3_000_000) }));
    let end = {
        let host = host.clone();
        async move { drop(host.closed().await) }
    };
    let serving =
        tokio::spawn(async move { axum::serve(listener, app).with_graceful_shutdown(end).await });
    let client: Client<_, Empty<Bytes>> =
        Client::builder(TokioExecutor::new()).build(HyperConnector::new(client));
    let uri = format!("http://{SERVER}/hello");
    assert_eq!(get_text(&client, &uri).await, "hello");
    let uri = format!("http://{SERVER}/long");
    assert_eq!(get_text(&client, &uri).await.len(), 3_000_000);
    drop(client);
    // The stack's end is the server's.
    host.shutdown_async(std::time::Duration::from_secs(2))
        .await
        .expect("shutdown");
    bounded(serving).await.expect("task").expect("served");
}

#[tokio::test]
async fn names_are_looked_up_by_the_resolver() {
    let (client, host) = stacks();
    let listener = TcpListener::bind(&host, server(80)).await.expect("bind");
    let app = Router::new().route("/", get(|| async { "peer" }));
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    let names = |name: String| async move {
        assert_eq!(name, "service.test");
        Ok(vec![SERVER.parse().expect("address")])
    };
    let connector = HyperConnector::new(client).with_resolver(names);
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    assert_eq!(get_text(&client, "http://service.test/").await, "peer");
    serving.abort();
}

#[tokio::test]
async fn a_name_without_a_resolver_is_refused() {
    let (client, _host) = stacks();
    let client: Client<_, Empty<Bytes>> =
        Client::builder(TokioExecutor::new()).build(HyperConnector::new(client));
    let uri = "http://service.test/".parse().expect("uri");
    let error = bounded(client.get(uri)).await.expect_err("a name");
    let cause = std::error::Error::source(&error).expect("a cause");
    assert!(format!("{cause:?}").contains("with_resolver"), "{cause:?}");
}

#[tokio::test]
async fn hyper_serves() {
    let (client, host) = stacks();
    let listener = TcpListener::bind(&host, server(80)).await.expect("bind");
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = tower_service_of(|| async { "served by hyper" });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    let client: Client<_, Empty<Bytes>> =
        Client::builder(TokioExecutor::new()).build(HyperConnector::new(client));
    let uri = format!("http://{SERVER}/");
    assert_eq!(get_text(&client, &uri).await, "served by hyper");
    serving.abort();
}

fn tower_service_of<H, F>(handler: H) -> TowerToHyperService<Router>
where
    H: Fn() -> F + Clone + Send + Sync + 'static,
    F: Future<Output = &'static str> + Send,
{
    TowerToHyperService::new(Router::new().route("/", get(handler)))
}
