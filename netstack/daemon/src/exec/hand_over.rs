//! The descriptor's way from the process inside to this one: a Unix socket that only the child may connect to.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process::{Child as Process, Command};
use std::thread;
use std::time::Duration;

use netstack::base::Rng;
use nix::sys::socket::{getsockopt, sockopt};

use super::command::Child;
use super::{ExecArgs, Stop};
use crate::descriptors;
use crate::failure::Failure;
use crate::file::reason;
use crate::probe::{ANSWER_TIMEOUT, now};

/// Pause between two looks whether the child has connected.
const PAUSE: Duration = Duration::from_millis(1);
/// Says that the stack serves.
const GO: u8 = b'g';

/// The listening end, before and after the child has connected.
#[derive(Debug)]
pub(super) struct Handed {
    listener: UnixListener,
    stream: Option<UnixStream>,
}

fn failed(what: &str, error: &io::Error) -> Failure {
    Failure::Stack(format!("{what} ({}): try again", reason(error)))
}

/// Starts this program once more, to become the command.
pub(super) fn start(args: &ExecArgs) -> Result<(Process, Handed), Failure> {
    let name = format!("netstackd-exec-{}-{:016x}", std::process::id(), random());
    let listener = SocketAddr::from_abstract_name(&name)
        .and_then(|address| UnixListener::bind_addr(&address))
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|error| {
            failed(
                "a socket for the command's namespace cannot be made",
                &error,
            )
        })?;
    let mut words: Vec<OsString> = vec![
        super::inside::NAME.into(),
        "--socket".into(),
        name.into(),
        "--mtu".into(),
        args.mtu.to_string().into(),
    ];
    for (flag, is_set) in [("--no-ipv6", args.no_ipv6), ("--map-root", args.map_root)] {
        if is_set {
            words.push(flag.into());
        }
    }
    words.push("--".into());
    words.extend(args.command.iter().cloned());
    let process = Command::new("/proc/self/exe")
        .args(words)
        .spawn()
        .map_err(|error| failed("the command's process cannot be started", &error))?;
    let handed = Handed {
        listener,
        stream: None,
    };
    Ok((process, handed))
}

/// A name that nobody guesses; whoever connects all the same is turned away.
fn random() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    Rng::from_u64(RandomState::new().hash_one(0)).u64()
}

impl Handed {
    /// Waits for the device of the child.
    pub(super) fn descriptor(&mut self, child: &mut Child) -> Result<OwnedFd, Stop> {
        let end = now() + ANSWER_TIMEOUT;
        let stream = loop {
            match self.listener.accept() {
                Ok((stream, _)) if is_from(&stream, child.id()) => break stream,
                // Somebody else's.
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PAUSE),
                Err(error) => {
                    return Err(failed("the command's process cannot connect", &error).into());
                }
            }
            if child.has_ended() {
                return Err(Stop::Inside);
            }
            if now() >= end {
                let late = "the command's namespace was not made in time: try again".to_owned();
                return Err(Failure::Stack(late).into());
            }
        };
        let received = stream
            .set_nonblocking(false)
            .and_then(|()| stream.set_read_timeout(Some(ANSWER_TIMEOUT)))
            .and_then(|()| receive(&stream));
        match received {
            Ok(Some(fd)) => {
                self.stream = Some(stream);
                Ok(fd)
            }
            // The child has said why, and ends.
            Ok(None) => {
                child.let_end();
                Err(Stop::Inside)
            }
            Err(error) => Err(failed("the device did not arrive", &error).into()),
        }
    }

    /// Lets the child become the command.
    pub(super) fn go(&mut self) -> Result<(), Failure> {
        match self.stream.take() {
            Some(mut stream) => stream
                .write_all(&[GO])
                .map_err(|error| failed("the command's process has gone", &error)),
            None => Ok(()),
        }
    }
}

fn is_from(stream: &UnixStream, process: u32) -> bool {
    let credentials = getsockopt(stream, sockopt::PeerCredentials);
    credentials.is_ok_and(|peer| u32::try_from(peer.pid()) == Ok(process))
}

/// Connects to the process outside. Before the namespace is left, since the name is one of it.
pub(super) fn connect(name: &str) -> io::Result<UnixStream> {
    UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)
}

/// Sends a descriptor.
pub(super) fn send(stream: &UnixStream, fd: &OwnedFd) -> io::Result<()> {
    descriptors::send(stream, &[fd.try_clone()?])
}

fn receive(stream: &UnixStream) -> io::Result<Option<OwnedFd>> {
    Ok(descriptors::receive(stream)?.pop())
}

/// Waits until the stack serves. Returns false if the process outside has gone.
pub(super) fn wait_for_go(stream: &mut UnixStream) -> bool {
    let mut byte = [0; 1];
    stream.read_exact(&mut byte).is_ok() && byte == [GO]
}
