//! `netstackd nc`: a connection of the daemon's addresses, from stdin to stdout, as nc has it.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;

use super::connection::{Connection, ControlArgs, Requests, strange};
use super::ping::parse_seconds;
use super::unwritable;
use crate::control::protocol::{NcRequest, Reply, Request};
use crate::control::socket_options::SocketOptions;
use crate::failure::Failure;

/// Bytes of stdin that are sent at once: the longest datagram over IPv4 and IPv6 alike.
const PIECE_BYTES: usize = 32 << 10;

/// Flags of `nc`.
#[derive(Debug, Args)]
pub struct NcArgs {
    #[command(flatten)]
    control: ControlArgs,
    /// Datagrams instead of a connection: each read of stdin is one.
    #[arg(short, long)]
    udp: bool,
    /// Waits for one peer at ADDR and PORT instead of going there; without ADDR at the daemon's first address.
    #[arg(short, long)]
    listen: bool,
    /// Source port; with -l the port to wait at.
    #[arg(short, long, value_name = "PORT")]
    port: Option<u16>,
    /// Source: an address of the daemon.
    #[arg(short, long, value_name = "ADDR")]
    source: Option<IpAddr>,
    /// Seconds after which a connection that is not open is given up.
    #[arg(short = 'w', long, value_name = "SECONDS", value_parser = parse_seconds)]
    timeout: Option<Duration>,
    /// Says when it is connected.
    #[arg(short, long)]
    verbose: bool,
    /// Ends as soon as stdin does (with UDP, which has no end of its own).
    #[arg(short = 'N', long)]
    no_wait: bool,
    /// ADDR PORT; with -l ADDR PORT or PORT.
    #[arg(value_name = "ADDR PORT", num_args = 0..=2)]
    target: Vec<String>,
}

/// Carries stdin to the peer, and what it sends to stdout.
///
/// # Errors
/// The connection fails, no daemon answers, or it refuses.
pub(crate) fn run(args: &NcArgs) -> Result<(), Failure> {
    let mut connection = Connection::open(&args.control)?;
    let first = connection.hello.addresses.first();
    let first = first.and_then(|net| net.split('/').next()?.parse::<IpAddr>().ok());
    let request = request_of(args, first).map_err(Failure::Usage)?;
    let shown = request
        .remote
        .map_or("a peer".to_owned(), |remote| remote.to_string());
    connection.send(&Request::Nc(request))?;
    connection.stop_at_signal()?;
    let mut is_connected = false;
    let mut sending = None;
    let mut stdout = io::stdout().lock();
    loop {
        let reply = connection.reply().map_err(|failure| match failure {
            Failure::Refused(why) if !is_connected => {
                Failure::Refused(format!("{shown} cannot be connected to: {why}"))
            }
            other => other,
        })?;
        match reply {
            Reply::Connected { local, remote } => {
                if args.verbose {
                    match remote {
                        Some(remote) => eprintln!("connected: {local} {remote}"),
                        None => eprintln!("waiting at {local}"),
                    }
                }
                if !std::mem::replace(&mut is_connected, true) {
                    let is_brief = args.udp && args.no_wait;
                    sending = Some(send_stdin(connection.requests()?, is_brief)?);
                }
            }
            Reply::Data { data } => {
                let bytes = STANDARD
                    .decode(data)
                    .map_err(|_| strange("the control socket"))?;
                match stdout.write_all(&bytes).and_then(|()| stdout.flush()) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                    Err(error) => return Err(unwritable(&error)),
                }
            }
            Reply::Eof {} => {
                // The peer may still listen: what stdin has is sent, unless somebody would have to type it.
                if let Some(sending) = sending.take().filter(|_| !io::stdin().is_terminal()) {
                    let _ = sending.join();
                }
                connection.send(&Request::Stop {})?;
            }
            Reply::End(_) => return Ok(()),
            _ => return Err(strange("the control socket")),
        }
    }
}

fn request_of(args: &NcArgs, first: Option<IpAddr>) -> Result<NcRequest, String> {
    let address = |text: &str| {
        text.parse::<IpAddr>()
            .map_err(|_| format!("'{text}' is no address: write one such as 10.77.0.1 or fd77::1, names are not looked up"))
    };
    let port = |text: &str| {
        let port = text.parse::<u16>().ok().filter(|port| *port > 0);
        port.ok_or_else(|| format!("'{text}' is no port: write 1 to 65535"))
    };
    let words: Vec<&str> = args.target.iter().map(String::as_str).collect();
    let target = match *words.as_slice() {
        [to, at] => Some(SocketAddr::new(address(to)?, port(at)?)),
        [at] if args.listen => {
            let any = first.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            Some(SocketAddr::new(any, port(at)?))
        }
        [] if args.listen => args.port.map(|port| {
            let any = args
                .source
                .or(first)
                .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            SocketAddr::new(any, port)
        }),
        _ => None,
    };
    let target = target.ok_or_else(|| match args.listen {
        true => "no port to listen on is given: write netstackd nc -l PORT".to_owned(),
        false => "no peer is given: write netstackd nc ADDR PORT".to_owned(),
    })?;
    let source = match (args.source, args.port) {
        (None, None) => None,
        (Some(source), port) => Some(SocketAddr::new(source, port.unwrap_or(0))),
        (None, Some(port)) => Some(SocketAddr::new(any_of_family(target.ip()), port)),
    };
    Ok(NcRequest {
        udp: args.udp,
        listen: args.listen,
        remote: (!args.listen).then_some(target),
        local: if args.listen { Some(target) } else { source },
        timeout_millis: args
            .timeout
            .map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        options: SocketOptions::default(),
    })
}

/// Returns the unspecified address of the target's family.
fn any_of_family(target: IpAddr) -> IpAddr {
    match target {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// Sends stdin on a thread of its own. The main thread ends the program.
fn send_stdin(mut requests: Requests, is_brief: bool) -> Result<JoinHandle<()>, Failure> {
    let mut send = move || -> io::Result<()> {
        let mut piece = vec![0; PIECE_BYTES];
        let mut stdin = io::stdin().lock();
        loop {
            let len = match stdin.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if len == 0 {
                let last = if is_brief {
                    Request::Stop {}
                } else {
                    Request::Eof {}
                };
                return requests.send(&last);
            }
            let data = STANDARD.encode(piece.get(..len).unwrap_or_default());
            requests.send(&Request::Data { data })?;
        }
    };
    thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || {
            // The daemon has closed the connection: the main thread says why.
            let _ = send();
        })
        .map_err(|error| {
            Failure::Stack(format!("cannot start the thread that reads stdin: {error}"))
        })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: NcArgs,
    }

    fn request(words: &str) -> Result<NcRequest, String> {
        let words = ["nc"].into_iter().chain(words.split_whitespace());
        let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
        request_of(&cli.args, "10.77.0.2".parse().ok())
    }

    #[test]
    fn words_are_understood_as_nc_does() {
        let to = request("10.0.0.1 80").expect("a peer");
        assert_eq!((to.remote, to.local), ("10.0.0.1:80".parse().ok(), None));
        let from = request("-u -p 53 fd77::1 53").expect("a source");
        assert_eq!((from.udp, from.local), (true, "[::]:53".parse().ok()));
        for words in ["-l 80", "-l -p 80", "-l 10.77.0.2 80"] {
            let waits = request(words).expect(words);
            assert_eq!(
                (waits.local, waits.remote),
                ("10.77.0.2:80".parse().ok(), None)
            );
        }
        for (words, says) in [
            ("", "ADDR PORT"),
            ("10.0.0.1", "ADDR PORT"),
            ("-l", "-l PORT"),
            ("host 80", "'host'"),
            ("10.0.0.1 http", "'http'"),
            ("10.0.0.1 0", "'0'"),
        ] {
            let why = request(words).expect_err(words);
            assert!(why.contains(says), "{words}: {why}");
        }
    }
}
