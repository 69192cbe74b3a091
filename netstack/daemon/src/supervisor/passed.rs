//! Descriptors that the supervisor has opened and passed on, by their names: `LISTEN_PID`, `LISTEN_FDS`, `LISTEN_FDNAMES`.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::AddressFamily;
use rustix::net::sockopt::{socket_acceptconn, socket_domain};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

use crate::failure::Failure;
use crate::file::reason;
use crate::web::check_admin;

/// The names, and what each is for.
const NAMES: &str = "tun (a queue of a TUN device), control (a listening Unix socket) or admin (a listening TCP socket)";

/// The numbers of the descriptors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// The queues of the device.
    pub(crate) tun: Vec<i32>,
    /// The control socket.
    pub(crate) control: Option<i32>,
    /// The socket that `/metrics` is served on.
    pub(crate) admin: Option<i32>,
}

/// Returns the descriptors that are for this process.
///
/// # Errors
/// The variables are wrong, a descriptor is not open, or has no name that is known.
pub(crate) fn read() -> Result<Passed, Failure> {
    let found = sd_notify::listen_fds_with_names().map_err(|error| {
        Failure::Usage(format!(
            "the descriptors of LISTEN_FDS cannot be used ({}): pass open ones on, with as many names in LISTEN_FDNAMES",
            reason(&error)
        ))
    })?;
    by_name(found)
}

fn by_name(found: impl Iterator<Item = (i32, String)>) -> Result<Passed, Failure> {
    let mut passed = Passed::default();
    for (fd, name) in found {
        let slot = match name.as_str() {
            "tun" => {
                passed.tun.push(fd);
                continue;
            }
            "control" => &mut passed.control,
            "admin" => &mut passed.admin,
            _ => {
                return Err(fault(
                    &format!("descriptor {fd} of LISTEN_FDS is named '{name}'"),
                    &format!("name it {NAMES}, by FileDescriptorName="),
                ));
            }
        };
        if let Some(first) = slot.replace(fd) {
            return Err(fault(
                &format!("descriptors {first} and {fd} of LISTEN_FDS are both named {name}"),
                "pass one of them on",
            ));
        }
    }
    Ok(passed)
}

fn fault(what: &str, advice: &str) -> Failure {
    Failure::Usage(format!("{what}: {advice}"))
}

/// Returns a copy of a descriptor of this process, which may not be open: the number alone proves nothing.
///
/// # Errors
/// It is not open.
pub(crate) fn copy(fd: i32) -> Result<OwnedFd, String> {
    let own = pidfd_open(getpid(), PidfdFlags::empty());
    let copy = own.and_then(|own| pidfd_getfd(own, fd, PidfdGetfdFlags::empty()));
    copy.map_err(|errno| match errno {
        Errno::BADF => "it is not open".to_owned(),
        errno => reason(&errno.into()),
    })
}

/// Returns a copy of a descriptor that listens in one of `families`.
///
/// # Errors
/// It is something else: the name of the descriptor, and what it has to be.
fn listening(
    fd: i32,
    name: &str,
    what: &str,
    families: &[AddressFamily],
) -> Result<OwnedFd, Failure> {
    let wrong = |why: &str| {
        fault(
            &format!("descriptor {fd} of LISTEN_FDS, named {name}, cannot be used: {why}"),
            &format!("pass {what} on"),
        )
    };
    let copy = copy(fd).map_err(|why| wrong(&why))?;
    let family = socket_domain(&copy).map_err(|_| wrong("it is no socket"))?;
    if !families.contains(&family) {
        return Err(wrong("it is a socket of another family"));
    }
    match socket_acceptconn(&copy) {
        Ok(true) => Ok(copy),
        _ => Err(wrong("it does not listen")),
    }
}

impl Passed {
    /// Returns the listening control socket, if one was passed on.
    ///
    /// # Errors
    /// It is something else.
    pub(crate) fn control(&self) -> Result<Option<std::os::unix::net::UnixListener>, Failure> {
        let take = |fd| {
            listening(
                fd,
                "control",
                "a listening Unix socket",
                &[AddressFamily::UNIX],
            )
        };
        Ok(self.control.map(take).transpose()?.map(Into::into))
    }

    /// Returns the listening admin socket, if one was passed on.
    ///
    /// # Errors
    /// It is something else, or others than this machine can reach it.
    pub(crate) fn admin(&self) -> Result<Option<std::net::TcpListener>, Failure> {
        let Some(fd) = self.admin else {
            return Ok(None);
        };
        let families = [AddressFamily::INET, AddressFamily::INET6];
        let socket = listening(fd, "admin", "a listening TCP socket", &families)?;
        let listener = std::net::TcpListener::from(socket);
        if let Ok(address) = listener.local_addr() {
            check_admin(address).map_err(|why| {
                let what =
                    format!("descriptor {fd} of LISTEN_FDS, named admin, listens on {address}");
                Failure::Usage(format!("{what}: {why}"))
            })?;
        }
        Ok(Some(listener))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::os::fd::AsRawFd as _;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn named(names: &[&str]) -> Result<Passed, Failure> {
        by_name((3..).zip(names.iter().map(|name| (*name).to_owned())))
    }

    #[test]
    fn names_say_what_a_descriptor_is() {
        let passed = named(&["tun", "control", "tun", "admin"]).expect("good names");
        assert_eq!(
            passed,
            Passed {
                tun: vec![3, 5],
                control: Some(4),
                admin: Some(6)
            }
        );
        for (names, says) in [
            (
                &["tun", "netstackd.socket"][..],
                "descriptor 4 of LISTEN_FDS is named 'netstackd.socket': name it tun",
            ),
            (
                &["control", "control"],
                "descriptors 3 and 4 of LISTEN_FDS are both named control",
            ),
        ] {
            let text = named(names).expect_err(says).to_string();
            assert!(text.contains(says), "{text}");
        }
    }

    #[test]
    fn a_descriptor_must_be_what_its_name_says() {
        let path = std::env::temp_dir().join(format!("netstackd-passed-{}", std::process::id()));
        let unix = UnixListener::bind(&path).expect("a socket");
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let open = TcpListener::bind("0.0.0.0:0").expect("a socket");
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let file = std::fs::File::open("/dev/null").expect("a file");
        let control = |fd| {
            Passed {
                control: Some(fd),
                ..Passed::default()
            }
            .control()
        };
        let admin = |fd| {
            Passed {
                admin: Some(fd),
                ..Passed::default()
            }
            .admin()
        };
        assert!(control(unix.as_raw_fd()).expect("good").is_some());
        assert!(admin(tcp.as_raw_fd()).expect("good").is_some());
        assert!(Passed::default().control().expect("none").is_none());
        let text = |failure: Failure| failure.to_string();
        for (failure, says) in [
            (
                control(tcp.as_raw_fd()).map(drop),
                "a socket of another family: pass a listening Unix socket on",
            ),
            (control(file.as_raw_fd()).map(drop), "it is no socket"),
            (control(60_000).map(drop), "it is not open"),
            (
                admin(unix.as_raw_fd()).map(drop),
                "a socket of another family: pass a listening TCP socket on",
            ),
            (admin(udp.as_raw_fd()).map(drop), "it does not listen"),
            (admin(open.as_raw_fd()).map(drop), "no loopback address"),
        ] {
            let text = text(failure.expect_err(says));
            assert!(text.contains(says) && !text.contains('\n'), "{text}");
        }
        std::fs::remove_file(&path).expect("remove the socket");
    }
}
