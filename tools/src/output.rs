//! The end of a command-line tool: its exit code, and a quiet end if the reader of its output has gone,
//! as in `pcap-inspect FILE | head`; and its manual page.

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// Exit code after the reader of stdout has gone: the one that shells report for SIGPIPE.
pub const READER_GONE: u8 = 141;

/// Returns the exit code for `result`. Prints an error as one line on stderr, after the name of the
/// tool, and returns `failure` for it.
pub fn exit_code(tool: &str, result: Result<ExitCode, Box<dyn Error>>, failure: u8) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) if is_reader_gone(&*error) => ExitCode::from(READER_GONE),
        Err(error) => {
            eprintln!("{tool}: {error}");
            ExitCode::from(failure)
        }
    }
}

/// Returns true if `error` is a write to a pipe without a reader.
fn is_reader_gone(error: &(dyn Error + 'static)) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Prints the manual page of a tool on stdout, as `man -l -` reads it.
pub fn print_man<Command: clap::CommandFactory>() -> ExitCode {
    let mut page = Vec::new();
    let result = clap_mangen::Man::new(Command::command())
        .render(&mut page)
        .and_then(|()| io::stdout().lock().write_all(&page));
    let result = result.map(|()| ExitCode::SUCCESS).map_err(Into::into);
    exit_code("man", result, 2)
}
