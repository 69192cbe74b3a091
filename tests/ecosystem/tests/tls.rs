//! TLS on the stack, by tokio-rustls on both sides.

use std::sync::Arc;

use netstack::net::{TcpListener, TcpStream};
use tests::pair::{bounded, server, stacks};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Returns the two configurations of one self-signed certificate.
fn configs() -> (ClientConfig, ServerConfig) {
    let signed = rcgen::generate_simple_self_signed(["service.test".to_owned()]).expect("signed");
    let certificate = signed.cert.der().clone();
    let key = signed.signing_key.serialize_der();
    let key = tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer::from(key);
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("root");
    let client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key.into())
        .expect("certificate");
    (client, server)
}

#[tokio::test]
async fn rustls_on_both_sides() {
    let (client, host) = stacks();
    let (client_config, server_config) = configs();
    let listener = TcpListener::bind(&host, server(443)).await.expect("bind");
    let acceptor = TlsAcceptor::from(Arc::new(server_config));
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("accept");
        let mut stream = acceptor.accept(stream).await.expect("TLS");
        let mut data = Vec::new();
        stream.read_to_end(&mut data).await.expect("read");
        stream.write_all(&data).await.expect("write");
        stream.shutdown().await.expect("shutdown");
    });
    let stream = bounded(TcpStream::connect(&client, server(443)))
        .await
        .expect("connect");
    let name = "service.test".try_into().expect("name");
    let connector = TlsConnector::from(Arc::new(client_config));
    let mut stream = bounded(connector.connect(name, stream)).await.expect("TLS");
    let sent: Vec<u8> = (0..1_000_000_u32).map(|n| (n >> 3) as u8).collect();
    stream.write_all(&sent).await.expect("write");
    stream.shutdown().await.expect("shutdown");
    let mut got = Vec::new();
    bounded(stream.read_to_end(&mut got)).await.expect("read");
    assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
    bounded(serving).await.expect("server");
}
