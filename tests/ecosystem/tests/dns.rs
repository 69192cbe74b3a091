//! DNS on the stack: hickory's client over our UDP and TCP sockets.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::io::{AsyncRead, AsyncWrite};
use hickory_net::client::{Client, ClientHandle};
use hickory_net::runtime::{DnsTcpStream, DnsUdpSocket, RuntimeProvider, TokioHandle, TokioTime};
use hickory_net::tcp::TcpClientStream;
use hickory_net::udp::UdpClientStream;
use hickory_proto::op::Message;
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use netstack::net::{Stack, TcpListener, TcpStream, UdpSocket};
use tests::pair::{bounded, server, stacks};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Our sockets in the shape that hickory asks for.
#[derive(Clone)]
struct Provider(Stack);

struct Udp(UdpSocket);
struct Tcp(TcpStream);

impl DnsUdpSocket for Udp {
    type Time = TokioTime;

    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut buf = tokio::io::ReadBuf::new(buf);
        self.0
            .poll_recv_from(cx, &mut buf)
            .map_ok(|from| (buf.filled().len(), from))
    }

    fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        buf: &[u8],
        target: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        self.0.poll_send_to(cx, buf, target)
    }
}

impl DnsTcpStream for Tcp {
    type Time = TokioTime;
}

impl AsyncRead for Tcp {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        AsyncRead::poll_read(Pin::new(&mut self.0), cx, buf)
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.0), cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.0), cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_close(Pin::new(&mut self.0), cx)
    }
}

impl RuntimeProvider for Provider {
    type Handle = TokioHandle;
    type Timer = TokioTime;
    type Udp = Udp;
    type Tcp = Tcp;

    fn create_handle(&self) -> TokioHandle {
        TokioHandle::default()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        _bind: Option<SocketAddr>,
        _timeout: Option<Duration>,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Tcp>>>> {
        let stack = self.0.clone();
        Box::pin(async move { TcpStream::connect(&stack, server).await.map(Tcp) })
    }

    fn bind_udp(
        &self,
        local: SocketAddr,
        _server: SocketAddr,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Udp>>>> {
        let bound = UdpSocket::bind_now(&self.0, local).map(Udp);
        Box::pin(std::future::ready(bound))
    }
}

/// Answers a query for any name with one address.
fn answer(query: &[u8]) -> Vec<u8> {
    let query = Message::from_vec(query).expect("a query");
    let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
    answer.add_queries(query.queries.clone());
    for question in query.queries {
        let address = RData::A(A::new(192, 0, 2, 7));
        answer.add_answer(Record::from_rdata(question.name().clone(), 60, address));
    }
    answer.to_vec().expect("an answer")
}

async fn ask<C: ClientHandle>(mut client: C) {
    let name = Name::from_str("service.test.").expect("name");
    let answer = bounded(client.query(name, DNSClass::IN, RecordType::A))
        .await
        .expect("answer");
    let [record] = &answer.answers[..] else {
        panic!("one record: {answer:?}");
    };
    assert_eq!(record.data, RData::A(A::new(192, 0, 2, 7)));
}

#[tokio::test]
async fn hickory_asks_over_udp() {
    let (client, host) = stacks();
    let socket = UdpSocket::bind(&host, server(53)).await.expect("bind");
    let serving = tokio::spawn(async move {
        let mut query = [0; 1_500];
        while let Ok((len, from)) = socket.recv_from(&mut query).await {
            let answer = answer(&query[..len]);
            socket.send_to(&answer, from).await.expect("send");
        }
    });
    let stream = UdpClientStream::builder(server(53), Provider(client)).build();
    let (client, background) = Client::<Provider>::from_sender(stream);
    tokio::spawn(background);
    ask(client).await;
    serving.abort();
}

#[tokio::test]
async fn hickory_asks_over_tcp() {
    let (client, host) = stacks();
    let listener = TcpListener::bind(&host, server(53)).await.expect("bind");
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accept");
        while let Ok(len) = stream.read_u16().await {
            let mut query = vec![0; len.into()];
            stream.read_exact(&mut query).await.expect("query");
            let answer = answer(&query);
            stream.write_u16(answer.len() as u16).await.expect("len");
            stream.write_all(&answer).await.expect("answer");
        }
    });
    // The provider is dropped once it has connected, and a stack ends with its last handle.
    let provider = Provider(client.clone());
    let (stream, sender) = TcpClientStream::new(server(53), None, None, provider);
    let stream = stream.await.expect("connect");
    let (asking, background) = Client::<Provider>::new(stream, sender);
    tokio::spawn(background);
    ask(asking).await;
    drop(client);
    serving.abort();
}
