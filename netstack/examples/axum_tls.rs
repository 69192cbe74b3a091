//! An axum server over TLS that can be reached only inside a tunnel, and a client on the other side of it. Neither root nor
//! a port of the host is needed:
//!
//! ```text
//! cargo run -p ecosystem --example axum_tls
//! ```

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::extract::connect_info::Connected;
use axum::routing::get;
use axum::serve::{IncomingStream, Listener};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use netstack::device::channel::{ChannelConfig, PacketPipe, channel};
use netstack::net::{Stack, TcpListener, TcpStream};
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const NAME: &str = "service.test";
const SERVER: &str = "10.77.0.2:443";

/// Accepts connections, and encrypts them.
struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let Ok((stream, peer)) = self.listener.accept().await else {
                // Every error of a listener is final: the stack ended.
                std::future::pending().await
            };
            // A server for many clients would do the handshakes in tasks of their own.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// The client's address, for the handlers.
#[derive(Clone)]
struct Peer(SocketAddr);

impl Connected<IncomingStream<'_, TlsListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// Starts a stack in this runtime; returns it with the other end of its device.
fn host(address: &str) -> Result<(Stack, PacketPipe)> {
    let (device, pipe) = channel(ChannelConfig::default());
    let builder = Stack::builder().address(address.parse()?, 24);
    let (stack, drivers) = builder.drive(vec![Box::new(device)])?;
    for driver in drivers {
        tokio::spawn(driver);
    }
    Ok((stack, pipe))
}

/// The tunnel: carries packets until one side ends.
async fn carry(a: PacketPipe, b: PacketPipe) {
    let ((mut from_a, mut to_a), (mut from_b, mut to_b)) = (a.into_split(), b.into_split());
    loop {
        let sent = tokio::select! {
            packet = from_a.recv_run() => match packet {
                Some(run) => { for packet in run { let _ = to_b.try_send(packet); } true }
                None => false,
            },
            packet = from_b.recv_run() => match packet {
                Some(run) => { for packet in run { let _ = to_a.try_send(packet); } true }
                None => false,
            },
        };
        if !sent {
            return;
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result {
    let (client, client_pipe) = host("10.77.0.1")?;
    let (server, server_pipe) = host("10.77.0.2")?;
    tokio::spawn(carry(client_pipe, server_pipe));

    let signed = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
    let certificate = signed.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())?;
    let listener = TlsListener {
        listener: TcpListener::bind(&server, SERVER).await?,
        acceptor: TlsAcceptor::from(Arc::new(config)),
    };
    let greet =
        |ConnectInfo(Peer(peer)): ConnectInfo<Peer>| async move { format!("hello {}", peer.ip()) };
    let app = Router::new().route("/", get(greet));
    let service = app.into_make_service_with_connect_info::<Peer>();
    tokio::spawn(async move { axum::serve(listener, service).await });

    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(&client, SERVER).await?;
    let stream = TlsConnector::from(Arc::new(config))
        .connect(NAME.try_into()?, stream)
        .await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = hyper::Request::get("/")
        .header("host", NAME)
        .body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    let body = answer.into_body().collect().await?.to_bytes();
    println!("{}", String::from_utf8_lossy(&body));
    Ok(())
}
