//! The daemon, built by this package so that its tests find it with the profile they run in.

use std::process::ExitCode;

fn main() -> ExitCode {
    netstackd::main()
}
