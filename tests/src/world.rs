//! A world of one's own for each test: a network namespace, a daemon in it, and the kernel as its
//! peer.
//!
//! * **Define.** A test's namespace belongs to the thread [`in_namespace`] runs it on; sockets,
//!   threads and processes that it makes belong there, too.
//! * **Enforce.** The thread is new, enters its namespace before anything else, and ends with the
//!   test; the daemon ends with the thread.
//! * **Consume.** Tests run side by side with the same addresses and leave nothing behind.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use netstackd::child::Daemon;
use netstackd::failure::Failure;
use netstackd::probe::now;
use nix::sched::{CloneFlags, unshare};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The daemon's IPv4 address.
pub const V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// The daemon's IPv6 address.
pub const V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);
/// Both.
pub const BOTH: [IpAddr; 2] = [IpAddr::V4(V4), IpAddr::V6(V6)];
/// The TUN interface.
pub const TUN: &str = "t0";

/// Standard ports of the services.
pub mod port {
    /// RFC 862
    pub const ECHO: u16 = 7;
    /// RFC 863
    pub const DISCARD: u16 = 9;
    /// RFC 867
    pub const DAYTIME: u16 = 13;
    /// RFC 864
    pub const CHARGEN: u16 = 19;
    /// The page.
    pub const HTTP: u16 = 80;
    /// Nobody listens here.
    pub const CLOSED: u16 = 1;
}

/// The daemon's program, built beside the test that asks.
#[macro_export]
macro_rules! program {
    () => {
        ::std::path::Path::new(env!("CARGO_BIN_EXE_netstackd-under-test"))
    };
}

/// Both families' addresses with `port`.
pub fn targets(port: u16) -> [SocketAddr; 2] {
    BOTH.map(|address| SocketAddr::new(address, port))
}

/// Runs `test` on a thread of its own in a network namespace of its own, loopback up.
///
/// # Panics
///
/// With what is missing, when no namespace can be made; and as the test does.
pub fn in_namespace<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    in_namespaces(CloneFlags::CLONE_NEWNET, test)
}

/// As [`in_namespace`], with a mount namespace, too: what is mounted in it is seen by nobody else.
///
/// # Panics
///
/// As [`in_namespace`].
pub fn in_namespace_with_mounts<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    in_namespaces(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS, || {
        let private = nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE;
        nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
            .expect("make the mounts of this namespace private");
        test()
    })
}

fn in_namespaces<T: Send>(kinds: CloneFlags, test: impl FnOnce() -> T + Send) -> T {
    raise_file_limit();
    let work = || {
        unshare(kinds).unwrap_or_else(|errno| {
            panic!(
                "this test needs a network namespace, which cannot be made here ({}): run the tests \
                 as root, or as `unshare --user --map-root-user cargo test`",
                errno.desc()
            )
        });
        assert!(
            Path::new("/dev/net/tun").exists(),
            "this test needs /dev/net/tun, which does not exist: load the kernel's tun module"
        );
        ip("link set lo up");
        test()
    };
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| resume_unwind(panic))
}

/// A thousand connections need more descriptors than the usual soft limit allows.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("raise the soft limit of descriptors");
}

/// Starts the daemon on both addresses with these flags besides.
///
/// # Panics
///
/// With the daemon's own sentence, when it does not start.
pub fn serve(program: &Path, flags: &[&str]) -> Daemon {
    try_serve(program, flags).unwrap_or_else(|failure| panic!("{flags:?}: {failure}"))
}

/// As [`serve`].
///
/// # Errors
///
/// The daemon's own sentence and code.
pub fn try_serve(program: &Path, flags: &[&str]) -> Result<Daemon, Failure> {
    let (v4, v6) = (format!("{V4}/24"), format!("{V6}/64"));
    let mut words = vec!["--tun", TUN, "--addr", &v4, "--addr6", &v6];
    words.extend(flags);
    Daemon::start(program, &words)
}

/// Runs `ip` with these words in this thread's namespace.
///
/// # Panics
///
/// When it is not installed or fails.
pub fn ip(words: &str) {
    tool(
        "ip",
        "iproute2",
        &words.split_whitespace().collect::<Vec<_>>(),
    );
}

/// Runs `nft` with this script in this thread's namespace.
///
/// # Panics
///
/// When it is not installed or fails.
pub fn nft(script: &str) {
    tool("nft", "nftables", &[script]);
}

fn tool(name: &str, package: &str, words: &[&str]) {
    let output = Command::new(name)
        .args(words)
        .output()
        .unwrap_or_else(|error| {
            panic!("this test needs `{name}` ({error}): apt-get install {package}")
        });
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {words:?}: {stderr}");
}

/// A directory that is removed with its contents.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new one, readable by everybody; `name` must differ between tests.
    ///
    /// # Panics
    ///
    /// When it cannot be made.
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("netstack-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("make a scratch directory");
        Self(path)
    }

    /// The path of a file in it.
    pub fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    /// Writes a file and returns its path as a flag's value.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn write(&self, file: &str, text: &str) -> String {
        let path = self.path(file);
        fs::write(&path, text).expect("write a scratch file");
        path.display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed stays in the temporary directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Waits until `done`; the limit only turns a hang into a failure.
///
/// # Panics
///
/// With `what` when it does not come.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = now() + Duration::from_secs(60);
    while !done() {
        assert!(now() < deadline, "{what}: not within a minute");
        thread::sleep(Duration::from_millis(20));
    }
}
