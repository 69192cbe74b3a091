//! The traits of futures-io on our streams.

use futures::io::{AsyncReadExt, AsyncWriteExt};
use netstack::net::{TcpListener, TcpStream};
use tests::pair::{bounded, server, stacks};

#[tokio::test]
async fn futures_io_reads_and_writes() {
    let (client, host) = stacks();
    let listener = TcpListener::bind(&host, server(7)).await.expect("bind");
    let echo = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("accept");
        let (read, mut write) = stream.into_split();
        let copied = futures::io::copy_buf(read, &mut write).await.expect("copy");
        write.close().await.expect("close");
        copied
    });
    let stream = TcpStream::connect(&client, server(7))
        .await
        .expect("connect");
    let (mut read, mut write) = stream.into_split();
    write.write_all(&[7; 100_000]).await.expect("write");
    write.close().await.expect("close");
    let mut got = Vec::new();
    bounded(read.read_to_end(&mut got)).await.expect("read");
    assert_eq!(got, vec![7; 100_000]);
    assert_eq!(bounded(echo).await.expect("echo"), 100_000);
}
