//! `soak`: ordinary traffic beside every kind of attack, with restarts, for as long as it is told.
//!
//! ```sh
//! cargo run --release -p tests --bin soak -- --seconds 600 --seed 7
//! ```
//!
//! Needs root, or user namespaces: see the crate's documentation. As `soak run …` it is the daemon itself.

use std::process::ExitCode;
use std::time::Duration;

use tests::soak::{Options, soak};

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("run") {
        return netstackd::main();
    }
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            print(&format!("soak: {error}"));
            return ExitCode::from(2);
        }
    };
    let report = soak(&options);
    print(&report.to_string());
    ExitCode::from(u8::from(!report.is_clean()))
}

fn print(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Reads `--seconds N` and `--seed N`.
fn options(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let program = std::env::current_exe().map_err(|e| format!("this program's path: {e}"))?;
    let mut options = Options {
        time: Duration::from_secs(60),
        seed: Options::random_seed(),
        program,
    };
    while let Some(word) = words.next() {
        let value = words.next().and_then(|text| text.parse::<u64>().ok());
        match (word.as_str(), value) {
            ("--seconds", Some(seconds)) => options.time = Duration::from_secs(seconds),
            ("--seed", Some(seed)) => options.seed = seed,
            _ => return Err(format!("'{word}': use --seconds N and --seed N")),
        }
    }
    Ok(options)
}
