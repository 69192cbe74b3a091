//! QUIC on the stack: quinn over our UDP socket, with batches in both directions.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use netstack::net::{Stack, UdpSocket};
use quinn::rustls::pki_types::PrivatePkcs8KeyDer;
use quinn::rustls::{self, RootCertStore};
use quinn::udp::{RecvMeta, Transmit};
use quinn::{
    AsyncUdpSocket, ClientConfig, Endpoint, EndpointConfig, ServerConfig, TokioRuntime, UdpPoller,
};
use tests::pair::{CLIENT, bounded, server, stacks};

/// Our socket in the shape that quinn asks for.
struct Socket(UdpSocket);

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Debug)]
struct Poller(Arc<Socket>);

impl UdpPoller for Poller {
    fn poll_writable(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.0.poll_send_ready(cx)
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Poller(self))
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let to = transmit.destination;
        match transmit.segment_size {
            Some(size) => {
                let size = u16::try_from(size).map_err(io::Error::other)?;
                self.0.try_send_segments(transmit.contents, size, None, to)
            }
            None => self.0.try_send_to(transmit.contents, to).map(drop),
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut got = Vec::new();
        let limit = bufs.len().min(meta.len());
        let count = ready!(self.0.poll_recv_many(cx, &mut got, limit))?;
        for ((datagram, buf), meta) in got.iter().zip(bufs).zip(meta) {
            let len = datagram.payload.len();
            buf[..len].copy_from_slice(&datagram.payload);
            *meta = RecvMeta {
                addr: datagram.from,
                len,
                stride: len,
                ecn: None,
                dst_ip: Some(datagram.to.ip()),
            };
        }
        Poll::Ready(Ok(count))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        10
    }
}

fn endpoint(stack: &Stack, address: SocketAddr, config: Option<ServerConfig>) -> Endpoint {
    let socket = UdpSocket::bind_now(stack, address).expect("bind");
    Endpoint::new_with_abstract_socket(
        EndpointConfig::default(),
        config,
        Arc::new(Socket(socket)),
        Arc::new(TokioRuntime),
    )
    .expect("endpoint")
}

#[tokio::test]
async fn quinn_transfers_on_both_sides() {
    let (client, host) = stacks();
    let signed = rcgen::generate_simple_self_signed(["service.test".to_owned()]).expect("signed");
    let key = PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der());
    let certificate = signed.cert.der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let _ = rustls::crypto::CryptoProvider::install_default((*provider).clone());
    let serve = ServerConfig::with_single_cert(vec![certificate], key.into()).expect("config");
    let ask = ClientConfig::with_root_certificates(Arc::new(roots)).expect("config");

    let serving = endpoint(&host, server(4433), Some(serve));
    let accepting = tokio::spawn(async move {
        let connection = serving.accept().await.expect("one").await.expect("open");
        let (mut send, mut recv) = connection.accept_bi().await.expect("stream");
        let data = recv.read_to_end(8 << 20).await.expect("read");
        send.write_all(&data).await.expect("write");
        send.finish().expect("finish");
        connection.closed().await;
    });
    let asking = endpoint(
        &client,
        format!("{CLIENT}:0").parse().expect("address"),
        None,
    );
    let connecting = asking
        .connect_with(ask, server(4433), "service.test")
        .expect("connect");
    let connection = bounded(connecting).await.expect("open");
    let (mut send, mut recv) = connection.open_bi().await.expect("stream");
    let sent: Vec<u8> = (0..2_000_000_u32).map(|n| (n >> 4) as u8).collect();
    let writing = async {
        send.write_all(&sent).await.expect("write");
        send.finish().expect("finish");
    };
    let (got, ()) = bounded(async { tokio::join!(recv.read_to_end(8 << 20), writing) }).await;
    assert!(got.expect("read") == sent);
    connection.close(0_u32.into(), b"done");
    bounded(accepting).await.expect("server");
}
