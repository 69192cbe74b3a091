//! `nc`: a connection or datagrams of the daemon's addresses, carried to a client.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use netstack::net::{TcpSocket, TcpStream, UdpSocket, blocking};
use tokio::sync::Mutex;
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

/// Connections that wait to be accepted, of which an `nc` takes the first.
const BACKLOG: u32 = 1_024;

/// Longest wait for a connection.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3_600);

/// The answer to a request that is for no `nc`.
const NOT_DONE: &str = "nc is not done: send data, options, eof or stop";

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
            let socket = socket_for(target, local);
            wanted.options.set_socket(&socket)?;
            socket.bind(local)?;
            let (stream, _) = socket.listen(BACKLOG)?.accept().await?;
            return Ok(stream);
        }
        let remote = wanted
            .remote
            .ok_or_else(|| wrong("no address to connect to is given"))?;
        let socket = socket_for(target, remote);
        wanted.options.set_socket(&socket)?;
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

fn socket_for(target: &Target, address: SocketAddr) -> TcpSocket {
    match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(&target.stack()),
        SocketAddr::V6(_) => TcpSocket::new_v6(&target.stack()),
    }
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
    // Nothing here blocks: this kind can be read, written and set through shared references.
    let stream = blocking::TcpStream::from(stream);
    let replies = Mutex::new(replies);
    let mut send = std::pin::pin!(obey(&stream, early, lines, &replies));
    let mut receive = std::pin::pin!(tell(&stream, &replies));
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

/// Does what the client's lines say, until it stops.
async fn obey(
    stream: &blocking::TcpStream,
    early: Vec<Line>,
    lines: &mut Lines,
    replies: &Mutex<&mut Replies>,
) -> io::Result<()> {
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
                write_all(stream.get_ref(), &bytes).await?;
            }
            Some(Line::Request(Request::Eof {})) => stream.shutdown_write()?,
            Some(Line::Request(Request::Options(options))) => {
                options.set_stream(stream.get_ref())?;
                let mut replies = replies.lock().await;
                replies.send_patiently(&Reply::Options {}).await?;
            }
            Some(Line::Request(Request::Stop {})) => return Ok(()),
            Some(Line::Request(_)) => return Err(wrong(NOT_DONE)),
            Some(Line::Wrong(why)) => return Err(wrong(&why)),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Tells the client what the peer sends, until it has ended its half.
async fn tell(stream: &blocking::TcpStream, replies: &Mutex<&mut Replies>) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let len = read(stream.get_ref(), &mut piece).await?;
        let mut replies = replies.lock().await;
        if len == 0 {
            return replies.send_patiently(&Reply::Eof {}).await;
        }
        let data = STANDARD.encode(piece.get(..len).unwrap_or_default());
        replies.send_patiently(&Reply::Data { data }).await?;
    }
}

async fn read(stream: &TcpStream, out: &mut [u8]) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(out) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

async fn write_all(stream: &TcpStream, mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        stream.writable().await?;
        match stream.try_write(rest) {
            Ok(len) => rest = rest.get(len..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
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
    wanted.options.set_datagrams(&socket)?;
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
                Some(Line::Request(Request::Options(options))) => {
                    options.set_datagrams(socket)?;
                    replies.send_patiently(&Reply::Options {}).await?;
                }
                Some(Line::Request(_)) => return Err(wrong(NOT_DONE)),
                Some(Line::Wrong(why)) => return Err(wrong(&why)),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            },
        }
    }
}
