//! Logs: what the daemon and the stack tell through `tracing`, as text or JSON on stderr, with a level for each part, and
//! with a limit for each place in the code.

mod levels;
mod limit;

use std::io::{self, Write};
use std::sync::Arc;

use tracing_subscriber::filter::{FilterExt as _, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::{Registry, fmt, reload};

use crate::output::Output;
pub use levels::Levels;
use limit::{Limit, LimitFilter};

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// Parses `text` or `json`.
///
/// # Errors
/// Returns a sentence that names both.
pub fn parse_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("use text or json".to_owned()),
    }
}

impl std::fmt::Display for LogFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// The running logs.
pub(crate) struct Logs {
    levels: reload::Handle<Targets, Registry>,
    limit: Arc<Limit>,
    output: Output,
}

impl std::fmt::Debug for Logs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Logs")
    }
}

/// Hands lines to the thread that writes them.
#[derive(Clone, Debug)]
struct Lines(Output);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.line(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Logs {
    /// Starts to log. What logs already in this process goes on.
    pub(crate) fn start(levels: &Levels, format: LogFormat, output: &Output) -> Self {
        let (filter, handle) = reload::Layer::new(levels.targets());
        let limit = Arc::new(Limit::new());
        let lines = fmt::layer()
            .with_writer(Lines(output.clone()))
            .with_ansi(false);
        let lines = match format {
            LogFormat::Text => lines.boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        let filter = filter.and(LimitFilter(Arc::clone(&limit)));
        let subscriber = Registry::default().with(lines.with_filter(filter));
        // It fails only if the process has logs already.
        let _ = tracing::subscriber::set_global_default(subscriber);
        Self {
            levels: handle,
            limit,
            output: output.clone(),
        }
    }

    /// Changes the levels.
    pub(crate) fn set_levels(&self, levels: &Levels) {
        // It fails only if the subscriber is gone.
        let _ = self.levels.reload(levels.targets());
    }

    /// Begins a new period of the limits, and tells how many lines were left out in the last one.
    pub(crate) fn tick(&self) {
        let left_out = self.limit.tick() + self.output.take_left_out();
        if left_out > 0 {
            tracing::warn!(target: "netstackd::logs", left_out, "lines were left out: there are too many, or stderr is stuck");
        }
    }

    /// Waits until what was logged is written, for a moment.
    pub(crate) fn flush(&self) {
        self.output.flush(std::time::Duration::from_secs(1));
    }
}
