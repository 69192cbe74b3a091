//! The environment of a real-kernel test: a network namespace, a daemon in it, and the kernel as its
//! peer.
//!
//! * **Define.** A test's namespace is that of the thread that [`in_namespace`] runs it on, and of all
//!   sockets, threads and processes that this thread makes.
//! * **Enforce.** The thread is new, enters its namespace before anything else, and ends with the
//!   test; the daemon ends with the thread.
//! * **Consume.** Tests run side by side with the same addresses and leave nothing behind.

use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use netstackd::child::Daemon;
use netstackd::failure::Failure;
use netstackd::probe::now;
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::Uid;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The daemon's IPv4 address.
pub const V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// The daemon's IPv6 address.
pub const V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);
/// Both addresses of the daemon.
pub const BOTH: [IpAddr; 2] = [IpAddr::V4(V4), IpAddr::V6(V6)];
/// The name of the TUN interface.
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
    /// The web page, or files.
    pub const HTTP: u16 = 80;
    /// Measurements with iperf3.
    pub const IPERF3: u16 = 5201;
    /// A port without a listener.
    pub const CLOSED: u16 = 1;
}

/// A process that is killed when the test ends.
#[derive(Debug)]
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the path of the daemon's program.
#[macro_export]
macro_rules! program {
    () => {
        ::std::path::Path::new(env!("CARGO_BIN_EXE_netstackd-under-test"))
    };
}

/// Returns the daemon's addresses of both families with `port`.
pub fn targets(port: u16) -> [SocketAddr; 2] {
    BOTH.map(|address| SocketAddr::new(address, port))
}

/// Runs `test` on a thread of its own in a network namespace of its own, with loopback up.
///
/// Without root, the whole test program starts once more as root of a user namespace.
///
/// # Panics
///
/// Panics if `test` does, and with what is missing if no namespace can be made.
pub fn in_namespace<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    in_namespaces(CloneFlags::CLONE_NEWNET, test)
}

/// As [`in_namespace`], with a mount namespace, too: other processes do not see what `test` mounts.
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
        if let Err(errno) = unshare(kinds) {
            let reason = start_again_as_root(errno);
            panic!(
                "this test needs a network namespace, which cannot be made here ({reason}): run the \
                 tests as root, or allow user namespaces"
            );
        }
        if let Err(error) = fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/net/tun")
        {
            panic!(
                "this test needs /dev/net/tun, which cannot be opened ({error}): load the kernel's tun \
                 module (modprobe tun), and run the tests as root or make the device accessible to \
                 everybody (chmod 666 /dev/net/tun)"
            );
        }
        ip("link set lo up");
        test()
    };
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| resume_unwind(panic))
}

/// Tells a test program that it has been started as root of a user namespace.
const STARTED_AS_ROOT: &str = "NETSTACK_TESTS_STARTED_AS_ROOT";

/// Replaces this test program by one more run of it, as root of a new user namespace. Returns only if
/// that is not possible: the reason.
///
/// A thread cannot enter a user namespace by itself, because its process has other threads; a new
/// program can.
fn start_again_as_root(errno: Errno) -> String {
    if errno != Errno::EPERM || std::env::var_os(STARTED_AS_ROOT).is_some() {
        return errno.desc().to_owned();
    }
    const AS_ROOT: [&str; 3] = ["--user", "--map-root-user", "--net"];
    match Command::new("unshare").args(AS_ROOT).arg("true").output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => return String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => return format!("{}, and `unshare` cannot be run: {error}", errno.desc()),
    }
    let Ok(program) = std::env::current_exe() else {
        return errno.desc().to_owned();
    };
    // Not captured as the output of the test: it ends here.
    let _ = writeln!(
        std::io::stderr(),
        "not root: all tests of this program start again as root of a user namespace"
    );
    let error = Command::new("unshare")
        .args(AS_ROOT)
        .arg("--")
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(STARTED_AS_ROOT, "1")
        .exec();
    error.to_string()
}

/// Copies a program to where every user may run it.
///
/// `cp` copies: a descriptor of this process that is open for writing may be inherited by a child that another test starts
/// at that moment, and the copy could not be run ("text file busy").
///
/// # Panics
///
/// Panics if it cannot be copied.
pub fn copy_program(program: &Path, to: &Path) {
    let copied = Command::new("cp").arg(program).arg(to).status();
    assert!(copied.expect("cp").success(), "copy the program");
}

/// Fails the test unless it runs as a root that can run programs as other users.
///
/// # Panics
///
/// Panics in a user namespace that has only one user, and without root.
pub fn require_root() {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let users = map.split_whitespace().nth(2);
    let has_others = users.and_then(|count| count.parse::<u64>().ok()) > Some(1);
    assert!(
        Uid::effective().is_root() && has_others,
        "this test runs programs as another user, which only root can: run the tests as root"
    );
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

/// Starts the daemon on both addresses, with `flags` as additional flags.
///
/// # Panics
///
/// Panics with the daemon's own sentence if it does not start.
pub fn serve(program: &Path, flags: &[&str]) -> Daemon {
    try_serve(program, flags).unwrap_or_else(|failure| panic!("{flags:?}: {failure}"))
}

/// As [`serve`].
///
/// # Errors
///
/// Returns the daemon's own sentence and exit code.
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
/// Panics if `ip` is not installed or fails.
pub fn ip(words: &str) {
    tool(
        "ip",
        "iproute2",
        &words.split_whitespace().collect::<Vec<_>>(),
    );
}

/// Runs `nft` with this script in this thread's namespace; returns its output.
///
/// # Panics
///
/// Panics if `nft` is not installed or fails.
pub fn nft(script: &str) -> String {
    tool("nft", "nftables", &[script])
}

fn tool(name: &str, package: &str, words: &[&str]) -> String {
    let output = Command::new(name)
        .args(words)
        .output()
        .unwrap_or_else(|error| {
            panic!("this test needs `{name}` ({error}): apt-get install {package}")
        });
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {words:?}: {stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A temporary directory that is removed with its contents.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Creates a directory that everybody can read; `name` must differ between tests.
    ///
    /// # Panics
    ///
    /// Panics if it cannot be created.
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("netstack-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("make a scratch directory");
        Self(path)
    }

    /// Returns the path of a file in it.
    pub fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    /// Writes a file and returns its path as a flag's value.
    ///
    /// # Panics
    ///
    /// Panics if it cannot be written.
    pub fn write(&self, file: &str, text: &str) -> String {
        let path = self.path(file);
        fs::write(&path, text).expect("write a scratch file");
        path.display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A directory that cannot be removed does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Sets a flag when it is dropped, so that threads which go on until then end when the test fails, too.
#[derive(Debug)]
pub struct SetOnDrop<'a>(pub &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits until `done` returns true.
///
/// # Panics
///
/// Panics with `what` if that takes longer than a minute.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = now() + Duration::from_secs(60);
    while !done() {
        assert!(now() < deadline, "{what}: not within a minute");
        thread::sleep(Duration::from_millis(20));
    }
}
