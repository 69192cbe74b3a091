//! The daemon. This package builds it, too, so that its tests find a binary of their own profile.

use std::process::ExitCode;

fn main() -> ExitCode {
    netstackd::main()
}
