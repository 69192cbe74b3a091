//! The failures that end the program: one sentence each, and the exit code that goes with it.
//!
//! A message says what failed, where, and what to do; it never spans lines and never shows a
//! `Debug` form. The exit codes are part of the interface: scripts may rely on them.

use std::process::ExitCode;

/// The reason why the program ends without having done its work.
///
/// The payload is the whole sentence; the variant chooses the exit code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A check of the demo failed.
    #[error("{0}")]
    Check(String),
    /// A flag or its value is wrong.
    #[error("{0}")]
    Usage(String),
    /// The configuration file is wrong: the sentence names file, line and key.
    #[error("{0}")]
    Config(String),
    /// The TUN device cannot be opened.
    #[error("{0}")]
    Device(String),
    /// A privilege is missing.
    #[error("{0}")]
    Privilege(String),
    /// A device name or an address is taken.
    #[error("{0}")]
    InUse(String),
    /// The stack or one of its services could not start, or stopped by itself.
    #[error("{0}")]
    Stack(String),
    /// A second signal ended the program before the connections were closed.
    #[error("{0}")]
    Interrupted(String),
    /// The control socket cannot be made, or no daemon answers on it.
    #[error("{0}")]
    Control(String),
    /// The running daemon refused a request, or what it was asked to do failed.
    #[error("{0}")]
    Refused(String),
    /// A recording cannot be replayed: it is missing, damaged, or none.
    #[error("{0}")]
    Recording(String),
}

impl Failure {
    /// Returns the process's exit code; [`EXIT_CODES`] documents them.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Check(_) | Self::Refused(_) => 1,
            Self::Usage(_) => 2,
            Self::Config(_) => 3,
            Self::Device(_) => 4,
            Self::Privilege(_) => 5,
            Self::InUse(_) => 6,
            Self::Stack(_) => 7,
            Self::Interrupted(_) => 8,
            Self::Control(_) => 9,
            Self::Recording(_) => 10,
        }
    }
}

impl From<Failure> for ExitCode {
    fn from(failure: Failure) -> Self {
        Self::from(failure.exit_code())
    }
}

/// The exit codes as `--help` prints them.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done; or stopped by SIGTERM or SIGINT with every connection closed or given up in time
  1  the demo found something that does not match; the running daemon refused a request, or it failed
  2  a flag or its value is wrong
  3  the configuration file is missing, unreadable or wrong (file, line, key)
  4  the TUN device cannot be opened
  5  a privilege is missing (CAP_NET_ADMIN, user namespaces)
  6  the device name or an address is taken
  7  the stack or a service could not start, or stopped by itself
  8  a second signal ended it at once
  9  the control socket cannot be made, or no running netstackd answers on it
  10 a recording is missing, damaged or none";
