//! Output for the user of the command line.

use std::io::Write as _;

/// Prints one line to stdout and flushes it.
///
/// A closed stdout is no error: neither the network nor the demo stops because its reader has gone.
pub(crate) fn print_line(line: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{}", line.trim_end()).and_then(|()| stdout.flush());
}
