//! A `netstackd` that is started for a script or a replay.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// Longest wait for the daemon to be ready.
const PATIENCE: Duration = Duration::from_secs(20);

/// The addresses that the kernel has on the daemon's device: none that a script or a capture is about.
const KERNEL: [&str; 2] = ["169.254.254.253", "fd00:feed::fe"];

/// The name of the daemon's device.
const DEVICE: &str = "netstackd0";

/// A running daemon. It ends when this is dropped, or with the thread that started it.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    control: PathBuf,
}

/// Returns the program that is started unless another is named: the `netstackd` beside this program, or the one in the
/// `PATH`.
pub fn usual_program() -> PathBuf {
    let beside = std::env::current_exe()
        .ok()
        .map(|program| program.with_file_name("netstackd"));
    beside
        .filter(|program| program.is_file())
        .unwrap_or_else(|| PathBuf::from("netstackd"))
}

impl Daemon {
    /// Starts `program` in the namespace of this thread, with these addresses, these keys of its configuration, and no
    /// service but that of port 9, and waits until it serves.
    ///
    /// # Errors
    /// It cannot be started, or ends; with its own sentence.
    pub fn start(
        program: &Path,
        addresses: &[IpAddr],
        mtu: u16,
        keys: &[String],
    ) -> Result<Self, String> {
        static STARTED: AtomicU64 = AtomicU64::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let control =
            std::env::temp_dir().join(format!("netstackd-of-{}-{number}.sock", std::process::id()));
        let mut command = Command::new(program);
        command
            .args(["run", "--exit-with-parent", "--tun", DEVICE])
            .args(["--queues", "1", "--services", "discard", "--log", "error"])
            .arg("--mtu")
            .arg(mtu.to_string())
            .arg("--control")
            .arg(&control)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for key in keys {
            command.args(["--set", key]);
        }
        for address in addresses {
            let ([flag, host_flag], prefix, host) = match address {
                IpAddr::V4(_) => (["--addr", "--host-addr"], 32, KERNEL[0]),
                IpAddr::V6(_) => (["--addr6", "--host-addr6"], 128, KERNEL[1]),
            };
            command
                .args([flag, &format!("{address}/{prefix}")])
                .args([host_flag, host]);
        }
        let child = command.spawn().map_err(|error| {
            format!(
                "{} cannot be started ({error}): name the program with --daemon",
                program.display()
            )
        })?;
        let mut daemon = Self { child, control };
        daemon.await_ready(program)?;
        Ok(daemon)
    }

    fn await_ready(&mut self, program: &Path) -> Result<(), String> {
        let (sender, lines) = channel();
        if let Some(stdout) = self.child.stdout.take() {
            thread::spawn(move || {
                // Read to the end, so that it can always print.
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
            });
        }
        match lines.recv_timeout(PATIENCE) {
            Ok(line) if line.starts_with("ready ") => Ok(()),
            Ok(line) => Err(format!(
                "{} says '{line}', as no netstackd does: name the program with --daemon",
                program.display()
            )),
            Err(_) => {
                // It has ended, or is ended here: then all it wrote can be read.
                let _ = self.child.kill();
                let mut why = String::new();
                if let Some(stderr) = self.child.stderr.take() {
                    let _ = stderr.take(4_096).read_to_string(&mut why);
                }
                Err(format!(
                    "{} does not serve: {}",
                    program.display(),
                    why.trim()
                ))
            }
        }
    }

    /// Returns the path of its control socket.
    pub fn control(&self) -> &Path {
        &self.control
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only if it has ended and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.control);
    }
}
