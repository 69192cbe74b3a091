//! A DNS server behind a TUN device: it answers over UDP and TCP for the names that it is given.
//!
//! ```text
//! cargo run -p ecosystem --example dns_server -- host.test=192.0.2.7 other.test=2001:db8::7 &
//! dig @10.77.0.2 host.test; dig +tcp @10.77.0.2 AAAA other.test
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use netstack::device::{self, TunConfig};
use netstack::net::{Stack, TcpListener, TcpStream, UdpSocket};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Time for which an answer may be kept, in seconds.
const TTL_SECONDS: u32 = 60;

/// The names that the server knows, in lower case.
type Zone = HashMap<Name, IpAddr>;

/// Answers a query; nothing for what is not one.
fn answer(zone: &Zone, query: &[u8]) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok()?;
    let asked = query.metadata;
    if asked.message_type != MessageType::Query {
        return None;
    }
    let mut answer = Message::response(asked.id, asked.op_code);
    answer.metadata.recursion_desired = asked.recursion_desired;
    answer.metadata.authoritative = true;
    answer.add_queries(query.queries.clone());
    for question in query.queries {
        let Some(address) = zone.get(&question.name().to_lowercase()) else {
            answer.metadata.response_code = ResponseCode::NXDomain;
            continue;
        };
        let (kind, data) = match *address {
            IpAddr::V4(v4) => (RecordType::A, RData::A(v4.into())),
            IpAddr::V6(v6) => (RecordType::AAAA, RData::AAAA(v6.into())),
        };
        if question.query_type() == kind {
            let record = Record::from_rdata(question.name().clone(), TTL_SECONDS, data);
            answer.add_answer(record);
        }
    }
    answer.to_vec().ok()
}

/// Answers datagrams, each from the address that was asked.
async fn serve_udp(socket: UdpSocket, zone: Arc<Zone>) -> Result {
    loop {
        let query = socket.recv_datagram().await?;
        if let Some(answer) = answer(&zone, &query.payload) {
            socket.send_from(&answer, query.to, query.from).await?;
        }
    }
}

/// Answers the queries of one connection, each with its length in front (RFC 1035 section 4.2.2).
async fn serve_tcp(mut stream: TcpStream, zone: Arc<Zone>) -> Result {
    while let Ok(len) = stream.read_u16().await {
        let mut query = vec![0; len.into()];
        stream.read_exact(&mut query).await?;
        let Some(answer) = answer(&zone, &query) else {
            break;
        };
        stream.write_u16(u16::try_from(answer.len())?).await?;
        stream.write_all(&answer).await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result {
    let mut zone = Zone::new();
    for argument in std::env::args().skip(1) {
        let (name, address) = argument
            .split_once('=')
            .ok_or("usage: dns_server NAME=ADDRESS…")?;
        let mut name = Name::from_utf8(name)?.to_lowercase();
        name.set_fqdn(true);
        zone.insert(name, address.parse()?);
    }
    let zone = Arc::new(zone);
    let mut tun = TunConfig::new("t0");
    tun.host_v4 = Some(("10.77.0.1".parse()?, 24));
    let stack = Stack::builder()
        .address("10.77.0.2".parse()?, 24)
        .start(device::open(&tun)?)?;
    let socket = UdpSocket::bind(&stack, "0.0.0.0:53").await?;
    let listener = TcpListener::bind(&stack, "0.0.0.0:53").await?;
    println!("ready");
    let datagrams = tokio::spawn(serve_udp(socket, Arc::clone(&zone)));
    let connections = async {
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(serve_tcp(stream, Arc::clone(&zone)));
        }
    };
    tokio::select! { ended = datagrams => ended?, ended = connections => ended }
}
