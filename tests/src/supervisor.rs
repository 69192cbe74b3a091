//! The supervisor of a daemon, as systemd is one: it is told what the daemon does, and passes descriptors on.
//!
//! With `NotifyAccess=main`, as in the packaged unit: it believes the main process alone, which may name its successor
//! (`MAINPID=`).

use std::cell::Cell;
use std::fs;
use std::io::IoSliceMut;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::sockopt::PassCred;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, setsockopt};

use crate::world::Scratch;

/// Time that a message may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The end of messages.
#[derive(Debug)]
pub struct Supervisor {
    socket: UnixDatagram,
    path: PathBuf,
    /// The main process: the one that is heard first, until it names another one.
    main: Cell<Option<i32>>,
}

impl Supervisor {
    /// Makes the socket for messages, for every user.
    ///
    /// # Panics
    ///
    /// Panics if it cannot be made.
    pub fn new(scratch: &Scratch) -> Self {
        let path = scratch.path("notify.sock");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("permissions");
        setsockopt(&socket, PassCred, &true).expect("credentials");
        Self {
            socket,
            path,
            main: Cell::new(None),
        }
    }

    /// Returns a command whose process tells this supervisor what it does.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("NOTIFY_SOCKET", &self.path);
        command
    }

    /// Returns the main process.
    ///
    /// # Panics
    ///
    /// Panics if none was heard yet.
    pub fn main(&self) -> u32 {
        let main = self.main.get().expect("a process");
        u32::try_from(main).expect("a number")
    }

    /// Returns the lines of the next message of the main process, if it comes within a time.
    ///
    /// # Panics
    ///
    /// Panics if the socket fails.
    pub fn within(&self, time: Duration) -> Option<Vec<String>> {
        self.socket.set_read_timeout(Some(time)).expect("a timeout");
        loop {
            let (sender, lines) = self.receive()?;
            let main = self.main.get().unwrap_or(sender);
            if sender != main {
                continue;
            }
            let named = lines.iter().find_map(|line| line.strip_prefix("MAINPID="));
            let named = named.map(|pid| pid.parse().expect("a number"));
            self.main.set(Some(named.unwrap_or(main)));
            return Some(lines);
        }
    }

    /// Receives a message with the process that sent it.
    fn receive(&self) -> Option<(i32, Vec<String>)> {
        let mut message = [0; 4_096];
        let mut pieces = [IoSliceMut::new(&mut message)];
        let mut space = nix::cmsg_space!(nix::sys::socket::UnixCredentials);
        let (fd, none) = (self.socket.as_raw_fd(), MsgFlags::empty());
        let received = match recvmsg::<UnixAddr>(fd, &mut pieces, Some(&mut space), none) {
            Ok(received) => received,
            Err(Errno::EAGAIN) => return None,
            Err(error) => panic!("the supervisor's socket: {error}"),
        };
        let mut messages = received.cmsgs().expect("whole");
        let sender = messages.find_map(|message| match message {
            ControlMessageOwned::ScmCredentials(who) => Some(who.pid()),
            _ => None,
        });
        let bytes = received.bytes;
        let text = String::from_utf8_lossy(&message[..bytes]).into_owned();
        let lines = text.lines().map(str::to_owned).collect();
        Some((sender.expect("credentials"), lines))
    }

    /// Returns the next message but those of the watchdog.
    ///
    /// # Panics
    ///
    /// Panics if none comes within a minute.
    #[track_caller]
    pub fn next(&self) -> Vec<String> {
        loop {
            let message = self.within(PATIENCE).expect("a message within a minute");
            if message != ["WATCHDOG=1"] {
                return message;
            }
        }
    }

    /// Waits for a message of the watchdog.
    ///
    /// # Panics
    ///
    /// Panics if something else comes, or nothing within a minute.
    #[track_caller]
    pub fn keepalive(&self) {
        let message = self.within(PATIENCE).expect("a message within a minute");
        assert_eq!(message, ["WATCHDOG=1"]);
    }
}

/// Opens what its first argument lists, as descriptors from 3 on, and becomes the program of the others.
const PASS_ON: &str = r"
import fcntl, os, socket, struct, sys
opened, names = [], []
for word in sys.argv[1].split(','):
    name, kind, where = word.split('|')
    names.append(name)
    if kind == 'tun':
        fd = os.open('/dev/net/tun', os.O_RDWR)
        fcntl.ioctl(fd, 0x400454ca, struct.pack('16sH22x', where.encode(), 0x1001))
        os.system('ip addr add 10.77.0.1/24 dev %s; ip link set %s up' % (where, where))
    elif kind == 'file':
        fd = os.open(where, os.O_RDWR)
    else:
        family = socket.AF_UNIX if kind == 'unix' else socket.AF_INET
        address = where if kind == 'unix' else ('127.0.0.1' if kind == 'tcp' else '0.0.0.0', int(where))
        made = socket.socket(family, socket.SOCK_STREAM)
        made.bind(address)
        made.listen()
        fd = made.detach()
    opened.append(fcntl.fcntl(fd, fcntl.F_DUPFD, 100))
    os.close(fd)
for number, fd in enumerate(opened, 3):
    os.dup2(fd, number, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(opened)), LISTEN_FDNAMES=':'.join(names))
os.execv(sys.argv[2], sys.argv[2:])
";

/// Returns a command that opens descriptors and becomes `program` with them, as systemd does. Each is `NAME|KIND|WHERE`: a
/// `tun` device, a `file`, or a socket that listens: `unix` at a path, `tcp` at a port of loopback, `open` at one of every
/// address.
pub fn passing(program: &Path, descriptors: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command
        .args(["-c", PASS_ON, &descriptors.join(",")])
        .arg(program);
    command
}
