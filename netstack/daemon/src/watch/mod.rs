//! `netstackd watch`: a dashboard of a running daemon in the terminal.
//!
//! | module | |
//! |---|---|
//! | [`model`] | what is shown: rates between two looks, their history, the busiest flows |
//! | [`view`] | draws it |

mod model;
mod units;
mod view;

use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use signal_hook::consts::{SIGHUP, SIGTERM};

use crate::client::connection::{Connection, ControlArgs, strange};
use crate::control::protocol::{Reply, Request, Stats};
use crate::control::rows::{NetId, SocketFilter, SocketRow};
use crate::failure::Failure;
use crate::file::reason;
use crate::probe::now;
use model::{Model, Order};

/// Flags of `watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    #[command(flatten)]
    control: ControlArgs,
    /// Seconds between two looks.
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = parse_interval)]
    interval: Duration,
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse()
        .ok()
        .filter(|seconds| (0.2..=60.0).contains(seconds));
    let seconds = seconds.map(Duration::from_secs_f64);
    seconds.ok_or_else(|| "use 0.2 to 60".to_owned())
}

/// Most of the time that may go into lists of sockets, as a divisor: they are long where connections are many.
const LIST_SHARE: u32 = 5;

/// Shows the dashboard until the user leaves it.
///
/// # Errors
/// There is no terminal, no daemon answers, or it is gone.
pub(crate) fn run(args: &WatchArgs) -> Result<(), Failure> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Failure::Usage(
            "watch needs a terminal: use netstackd stats -i 1 for a file or pipe".to_owned(),
        ));
    }
    let mut connection = Connection::open(&args.control)?;
    let model = Model::new(&connection.hello);
    let cannot = |error: io::Error| {
        Failure::Refused(format!(
            "the terminal cannot be used: {}: check TERM and whether it is still open",
            reason(&error)
        ))
    };
    let is_ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&is_ended)).map_err(cannot)?;
    }
    let mut terminal = ratatui::try_init().map_err(cannot)?;
    let shown = show(
        &mut terminal,
        &mut connection,
        model,
        args.interval,
        &is_ended,
    );
    ratatui::restore();
    shown?.map_err(cannot)
}

fn show(
    terminal: &mut DefaultTerminal,
    connection: &mut Connection,
    mut model: Model,
    interval: Duration,
    is_ended: &AtomicBool,
) -> Result<io::Result<()>, Failure> {
    let mut next_list = Duration::ZERO;
    loop {
        let begun = now();
        if !model.is_paused {
            let stats = stats_of(connection)?;
            let rows = (begun >= next_list)
                .then(|| rows_of(connection))
                .transpose()?;
            next_list = begun + (now() - begun) * LIST_SHARE;
            model.look(&stats, rows.as_deref(), begun);
        }
        loop {
            if let Err(error) = terminal.draw(|frame| view::draw(frame, &model)) {
                return Ok(Err(error));
            }
            let left = (begun + interval).saturating_sub(now());
            // A signal ends the wait.
            match event::poll(left.min(Duration::from_millis(500))) {
                Ok(false) if left > Duration::from_millis(500) => {}
                Ok(false) => break,
                Ok(true) => match event::read() {
                    Ok(Event::Key(key)) if is_leave(key) => return Ok(Ok(())),
                    Ok(Event::Key(key)) => press(&mut model, key.code),
                    Ok(_) => {}
                    Err(error) => return Ok(Err(error)),
                },
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Ok(Err(error)),
            }
            if is_ended.load(Ordering::Relaxed) {
                return Ok(Ok(()));
            }
        }
    }
}

fn is_leave(key: KeyEvent) -> bool {
    let is_interrupt =
        key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    let is_press = key.kind == KeyEventKind::Press;
    is_press && (is_interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}

fn press(model: &mut Model, key: KeyCode) {
    match key {
        KeyCode::Char('p' | ' ') => model.is_paused = !model.is_paused,
        KeyCode::Char('t') => model.set_order(Order::Throughput),
        KeyCode::Char('r') => model.set_order(Order::RoundTrip),
        KeyCode::Char('x') => model.set_order(Order::Retransmits),
        KeyCode::Char('m') => model.set_order(Order::Memory),
        _ => {}
    }
}

fn stats_of(connection: &mut Connection) -> Result<Stats, Failure> {
    connection.send(&Request::Stats {})?;
    match connection.reply()? {
        Reply::Stats(stats) => Ok(*stats),
        _ => Err(strange("the control socket")),
    }
}

fn rows_of(connection: &mut Connection) -> Result<Vec<SocketRow>, Failure> {
    connection.send(&Request::Ss(SocketFilter {
        netids: vec![NetId::Tcp],
        ..SocketFilter::default()
    }))?;
    let mut rows = Vec::new();
    loop {
        match connection.reply()? {
            Reply::Socket(row) if row.tcp.is_some() => rows.push(*row),
            Reply::Socket(_) => {}
            Reply::End(_) => return Ok(rows),
            _ => return Err(strange("the control socket")),
        }
    }
}
