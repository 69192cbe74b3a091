//! Proxies for tests: SOCKS5 by a library, HTTP CONNECT by hand.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use fast_socks5::server::{Socks5ServerProtocol, SocksServerError, run_tcp_proxy, run_udp_proxy};
use fast_socks5::util::target_addr::TargetAddr;
use fast_socks5::{ReplyError, Socks5Command};

/// The name and password that the proxies ask for.
pub const NAME: &str = "someone";
/// See [`NAME`].
pub const PASSWORD: &str = "p@ss:word";
/// The same as part of a URL.
pub const CREDENTIALS: &str = "someone:p%40ss%3Aword";

/// The traffic that went through a proxy.
#[derive(Clone, Debug, Default)]
pub struct Through {
    connections: Arc<AtomicUsize>,
    associations: Arc<AtomicUsize>,
    names: Arc<AtomicUsize>,
}

impl Through {
    /// Returns the connections that were asked for.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Returns the relays for datagrams that were asked for.
    pub fn associations(&self) -> usize {
        self.associations.load(Ordering::SeqCst)
    }

    /// Returns how many destinations were names.
    pub fn names(&self) -> usize {
        self.names.load(Ordering::SeqCst)
    }
}

fn count(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::SeqCst);
}

/// Starts a SOCKS5 proxy in this thread's namespace, which goes on until the program ends. It looks no names up: all of them
/// are `server`.
///
/// # Panics
///
/// Panics if it cannot be started.
pub fn socks5(server: IpAddr) -> (SocketAddr, Through) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("an option");
    let local = listener.local_addr().expect("bound");
    let through = Through::default();
    let counts = through.clone();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        // Sockets that a thread makes are of its namespace: there is but this one.
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            let local = tokio::task::LocalSet::new();
            local
                .run_until(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        let counts = counts.clone();
                        tokio::task::spawn_local(async move {
                            // An error concerns one client.
                            let _ = serve(stream, server, &counts).await;
                        });
                    }
                })
                .await;
        });
    });
    (local, through)
}

async fn serve(
    stream: tokio::net::TcpStream,
    server: IpAddr,
    counts: &Through,
) -> Result<(), SocksServerError> {
    let check = |name: String, password: String| name == NAME && password == PASSWORD;
    let (protocol, _) = Socks5ServerProtocol::accept_password_auth(stream, check).await?;
    let (protocol, command, target) = protocol.read_command().await?;
    let target = match target {
        TargetAddr::Domain(_, port) => {
            count(&counts.names);
            TargetAddr::Ip(SocketAddr::new(server, port))
        }
        address => address,
    };
    match command {
        Socks5Command::TCPConnect => {
            count(&counts.connections);
            run_tcp_proxy(protocol, &target, Duration::from_secs(20), true).await?;
        }
        Socks5Command::UDPAssociate => {
            count(&counts.associations);
            let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
            run_udp_proxy(protocol, &target, None, here, None).await?;
        }
        Socks5Command::TCPBind => {
            protocol
                .reply_error(&ReplyError::CommandNotSupported)
                .await?;
        }
    }
    Ok(())
}

/// Starts a proxy that understands CONNECT, which goes on until the program ends. `credentials` is what it asks for, encoded.
///
/// # Panics
///
/// Panics if it cannot be started.
pub fn http_connect(credentials: &'static str) -> (SocketAddr, Through) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let local = listener.local_addr().expect("bound");
    let through = Through::default();
    let counts = through.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let counts = counts.clone();
            thread::spawn(move || {
                // An error concerns one client.
                let _ = tunnel(&stream, credentials, &counts);
            });
        }
    });
    (local, through)
}

fn tunnel(stream: &TcpStream, credentials: &str, counts: &Through) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut target, mut is_known) = (String::new(), false);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("CONNECT"), Some(to)) => to.clone_into(&mut target),
            (Some(key), Some(_)) if key.eq_ignore_ascii_case("proxy-authorization:") => {
                is_known = words.next() == Some(credentials);
            }
            _ => {}
        }
    }
    let answer = |status: &str| {
        let text = format!("HTTP/1.1 {status}\r\n\r\n");
        (&*stream).write_all(text.as_bytes())
    };
    if !is_known {
        return answer("407 Proxy Authentication Required");
    }
    count(&counts.connections);
    let Ok(server) = TcpStream::connect(&target) else {
        return answer("502 Bad Gateway");
    };
    answer("200 Connection established")?;
    let (mut from, mut to) = (server.try_clone()?, stream.try_clone()?);
    let back = thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let mut server = server;
    let _ = io::copy(&mut reader, &mut server);
    let _ = server.shutdown(Shutdown::Write);
    let _ = back.join();
    Ok(())
}
