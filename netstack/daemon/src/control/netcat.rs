//! `nc`: a connection or datagrams of the daemon's addresses, carried to a client.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use netstack::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::Target;
use super::channel::{Line, Lines, Replies};
use super::protocol::{End, NcRequest, Reply, Request};
use super::session::error_reply;

/// Bytes of a connection that one reply carries.
const PIECE_BYTES: usize = 48 << 10;

/// Most bytes of a datagram.
const DATAGRAM_BYTES: usize = 65_535;

/// Most lines that a client may send before it is connected.
const EARLY_LINES: usize = 16;

/// Longest wait for a connection.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3_600);

/// Carries bytes until both sides have ended.
///
/// # Errors
/// The client is gone.
pub(super) async fn serve(
    target: &Target,
    wanted: &NcRequest,
    lines: &mut Lines,
    replies: &mut Replies,
) -> io::Result<()> {
    let result = match (wanted.udp, wanted.listen) {
        (false, _) => match until_stopped(lines, open(target, wanted)).await? {
            Some((Ok(stream), early)) => carry(stream, early, lines, replies).await,
            Some((Err(error), _)) => Err(error),
            None => Ok(End::default()),
        },
        (true, _) => match bind(target, wanted).await {
            Ok((socket, peer)) => carry_datagrams(&socket, peer, lines, replies).await,
            Err(error) => Err(error),
        },
    };
    match result {
        Ok(end) => replies.send(&Reply::End(end)).await,
        Err(error) => replies.send(&error_reply(&error)).await,
    }
}

/// Awaits `work` unless the client asks to stop. `None`: it did. Returns what the client has sent meanwhile, too.
async fn until_stopped<T>(
    lines: &mut Lines,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<Option<(io::Result<T>, Vec<Line>)>> {
    let mut work = std::pin::pin!(work);
    let mut early = Vec::new();
    loop {
        tokio::select! {
            done = &mut work => return Ok(Some((done, early))),
            line = lines.next() => match line? {
                Some(Line::Request(Request::Stop {})) => return Ok(None),
                Some(line) if early.len() < EARLY_LINES => early.push(line),
                Some(_) => {
                    let error = wrong("nc is not connected yet: wait for its reply before you send more");
                    return Ok(Some((Err(error), early)));
                }
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            },
        }
    }
}

fn wrong(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

async fn open(target: &Target, wanted: &NcRequest) -> io::Result<TcpStream> {
    let patience = wanted.timeout_millis.map(Duration::from_millis);
    let patience = patience.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT);
    let opened = async {
        if wanted.listen {
            let local = wanted
                .local
                .ok_or_else(|| wrong("no port to listen on is given"))?;
            let listener = TcpListener::bind(&target.stack(), local).await?;
            let (stream, _) = listener.accept().await?;
            return Ok(stream);
        }
        let remote = wanted
            .remote
            .ok_or_else(|| wrong("no address to connect to is given"))?;
        let socket = match remote {
            SocketAddr::V4(_) => TcpSocket::new_v4(&target.stack()),
            SocketAddr::V6(_) => TcpSocket::new_v6(&target.stack()),
        };
        if let Some(local) = wanted.local {
            socket.bind(local)?;
        }
        socket.connect(remote).await
    };
    timeout(patience, opened).await.unwrap_or_else(|_| {
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "connection timed out",
        ))
    })
}

/// Carries the bytes of a connection, those of the lines that came `early` first. A half that ends leaves the other one open.
async fn carry(
    stream: TcpStream,
    early: Vec<Line>,
    lines: &mut Lines,
    replies: &mut Replies,
) -> io::Result<End> {
    let connected = Reply::Connected {
        local: stream.local_addr()?,
        remote: Some(stream.peer_addr()?),
    };
    replies.send(&connected).await?;
    let (mut incoming, mut outgoing) = stream.into_split();
    let send = async {
        let mut early = early.into_iter();
        loop {
            let line = match early.next() {
                Some(line) => Some(line),
                None => lines.next().await?,
            };
            match line {
                Some(Line::Request(Request::Data { data })) => {
                    let bytes = STANDARD
                        .decode(data)
                        .map_err(|_| wrong("data is not base64"))?;
                    outgoing.write_all(&bytes).await?;
                }
                Some(Line::Request(Request::Eof {})) => outgoing.shutdown().await?,
                Some(Line::Request(Request::Stop {})) => return Ok(()),
                Some(Line::Request(_)) => {
                    return Err(wrong("nc is not done: send data, eof or stop"));
                }
                Some(Line::Wrong(why)) => return Err(wrong(&why)),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    };
    let receive = async {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let len = incoming.read(&mut piece).await?;
            if len == 0 {
                return replies.send_patiently(&Reply::Eof {}).await;
            }
            let data = STANDARD.encode(piece.get(..len).unwrap_or_default());
            replies.send_patiently(&Reply::Data { data }).await?;
        }
    };
    let (mut send, mut receive) = (std::pin::pin!(send), std::pin::pin!(receive));
    let stopped: io::Result<()> = tokio::select! {
        stopped = &mut send => stopped,
        // The peer has ended its half: the client says when it has ended its own.
        ended = &mut receive => match ended {
            Ok(()) => send.await,
            Err(error) => Err(error),
        },
    };
    stopped.map(|()| End::default())
}

async fn bind(target: &Target, wanted: &NcRequest) -> io::Result<(UdpSocket, Option<SocketAddr>)> {
    let peer = if wanted.listen { None } else { wanted.remote };
    let any = match peer {
        Some(SocketAddr::V6(_)) => SocketAddr::from(([0_u16; 8], 0)),
        _ => SocketAddr::from(([0_u8; 4], 0)),
    };
    if peer.is_none() && wanted.local.is_none() {
        return Err(wrong("neither a peer nor a port to listen on is given"));
    }
    let socket = UdpSocket::bind(&target.stack(), wanted.local.unwrap_or(any)).await?;
    if let Some(peer) = peer {
        socket.connect(peer).await?;
    }
    Ok((socket, peer))
}

/// Carries datagrams. A socket that listens belongs to the first that sends to it.
async fn carry_datagrams(
    socket: &UdpSocket,
    mut peer: Option<SocketAddr>,
    lines: &mut Lines,
    replies: &mut Replies,
) -> io::Result<End> {
    let local = socket.local_addr()?;
    let connected = |remote| Reply::Connected { local, remote };
    replies.send(&connected(peer)).await?;
    let mut buffer = vec![0; DATAGRAM_BYTES];
    loop {
        tokio::select! {
            received = socket.recv_from(&mut buffer) => {
                let (len, from) = received?;
                if peer.is_none() {
                    socket.connect(from).await?;
                    replies.send_patiently(&connected(Some(from))).await?;
                    peer = Some(from);
                }
                // What others sent before it was connected.
                if peer == Some(from) {
                    let data = STANDARD.encode(buffer.get(..len).unwrap_or_default());
                    replies.send_patiently(&Reply::Data { data }).await?;
                }
            }
            line = lines.next() => match line? {
                Some(Line::Request(Request::Data { data })) => {
                    let bytes = STANDARD.decode(data).map_err(|_| wrong("data is not base64"))?;
                    if peer.is_some() {
                        socket.send(&bytes).await?;
                    }
                }
                Some(Line::Request(Request::Eof {})) => {}
                Some(Line::Request(Request::Stop {})) => return Ok(End::default()),
                Some(Line::Request(_)) => return Err(wrong("nc is not done: send data, eof or stop")),
                Some(Line::Wrong(why)) => return Err(wrong(&why)),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            },
        }
    }
}
