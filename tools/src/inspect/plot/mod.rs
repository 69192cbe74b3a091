//! A time–sequence plot of one direction of a TCP connection, in the manner of tcptrace.
//!
//! Each segment is a vertical line from its first to its last sequence number. Below is the line of what
//! the receiver has acknowledged, above is the edge of the window that it offers; what it acknowledged
//! selectively is between them.

mod canvas;

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use plotters::prelude::*;

use self::canvas::{Canvas, write_png};
use super::Seen;
use super::flow::{Detail, Flow};
use super::tcp::{Mark, Marks};
use crate::capture::packet::{Tcp, Transport, flags};

/// Most marks on a plot: later ones are left out.
const MAX_EVENTS: usize = 500_000;

const GREY: RGBColor = RGBColor(110, 110, 110);
const ORANGE: RGBColor = RGBColor(240, 140, 0);
const PURPLE: RGBColor = RGBColor(150, 60, 200);
const PINK: RGBColor = RGBColor(230, 80, 160);
const DARK_GREEN: RGBColor = RGBColor(0, 130, 60);

/// Size of the picture in pixels.
const SIZE: (u32, u32) = (1_280, 800);

/// The drawing of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    New,
    Again,
    OutOfOrder,
    Probe,
}

/// One thing on the plot. Sequence numbers are offsets that do not wrap.
#[derive(Clone, Copy, Debug)]
enum Event {
    Data(f64, i64, i64, Kind),
    Sack(f64, i64, i64),
    /// A SYN, FIN or RST of the sender.
    Flag(f64, i64, char),
}

/// Collects what one direction of a connection looks like.
#[derive(Debug)]
pub struct Plot {
    /// The direction: the side whose data is plotted.
    side: usize,
    start_nanos: Option<i128>,
    first: Option<u32>,
    furthest: i64,
    events: Vec<Event>,
    acks: Vec<(f64, i64)>,
    edges: Vec<(f64, i64)>,
    left_out: u64,
}

impl Plot {
    /// Creates an empty plot of the data that `side` sends.
    pub fn new(side: usize) -> Self {
        Self {
            side,
            start_nanos: None,
            first: None,
            furthest: 0,
            events: Vec::new(),
            acks: Vec::new(),
            edges: Vec::new(),
            left_out: 0,
        }
    }

    /// Takes a segment of the connection, which `side` sent.
    pub fn take(&mut self, seen: &Seen<'_>, flow: &Flow, side: usize, marks: &Marks) {
        let Detail::Tcp(analysis) = &flow.detail else {
            return;
        };
        let start = *self.start_nanos.get_or_insert(seen.now_nanos);
        let time = seen.now_nanos.saturating_sub(start) as f64 / 1e9;
        self.first = self.first.or(analysis.first_seq(self.side));
        if self.events.len() + self.acks.len() + self.edges.len() > MAX_EVENTS {
            self.left_out += 1;
            return;
        }
        let scale = analysis.window_scale(side);
        seen.with_transport(|transport| {
            let Transport::Tcp(tcp) = transport else {
                return;
            };
            if side == self.side {
                self.sent(time, tcp, marks);
            } else {
                self.answered(time, tcp, scale);
            }
        });
    }

    /// Returns how far a sequence number is from the first, the one nearest to the furthest so far.
    fn offset(&self, seq: u32) -> i64 {
        let first = self.first.unwrap_or(seq);
        let near = first.wrapping_add(self.furthest as u32);
        self.furthest + i64::from(seq.wrapping_sub(near) as i32)
    }

    fn sent(&mut self, time: f64, tcp: &Tcp<'_>, marks: &Marks) {
        let from = self.offset(tcp.seq);
        let to = from + i64::from(tcp.sequence_len());
        let letters = [(flags::SYN, 'S'), (flags::FIN, 'F'), (flags::RST, 'R')];
        for (flag, letter) in letters {
            if tcp.has(flag) {
                self.events.push(Event::Flag(time, to, letter));
            }
        }
        if tcp.payload_len > 0 {
            let probe = marks
                .all()
                .iter()
                .any(|mark| matches!(mark, Mark::ZeroWindowProbe | Mark::KeepAlive));
            let kind = if marks.is_retransmission() {
                Kind::Again
            } else if marks.all().contains(&Mark::OutOfOrder) {
                Kind::OutOfOrder
            } else if probe {
                Kind::Probe
            } else {
                Kind::New
            };
            self.events.push(Event::Data(time, from, to, kind));
        }
        if !tcp.has(flags::RST) {
            self.furthest = self.furthest.max(to);
        }
    }

    fn answered(&mut self, time: f64, tcp: &Tcp<'_>, scale: u8) {
        if !tcp.has(flags::ACK) || tcp.has(flags::RST) {
            return;
        }
        let ack = self.offset(tcp.ack);
        let scale = if tcp.has(flags::SYN) { 0 } else { scale };
        self.acks.push((time, ack));
        self.edges
            .push((time, ack + (i64::from(tcp.window) << scale)));
        for (from, to) in tcp.options.sack.iter().flatten() {
            self.events
                .push(Event::Sack(time, self.offset(*from), self.offset(*to)));
        }
    }

    /// Returns true if there is nothing to draw.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.acks.is_empty()
    }

    /// Returns the number of segments that had no room on the plot.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Writes the plot to `path`, as SVG or PNG by its extension.
    ///
    /// # Errors
    /// The extension is another one, or the file cannot be written.
    pub fn write(&self, path: &Path, title: &str) -> io::Result<()> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension {
            Some("svg") => {
                let mut text = String::new();
                let backend = SVGBackend::with_string(&mut text, SIZE);
                self.draw(&backend.into_drawing_area(), title)
                    .map_err(io::Error::other)?;
                std::fs::write(path, text)
            }
            Some("png") => {
                let mut pixels = Canvas::blank(SIZE);
                let backend = Canvas::new(SIZE, &mut pixels);
                self.draw(&backend.into_drawing_area(), title)
                    .map_err(io::Error::other)?;
                let mut out = BufWriter::new(File::create(path)?);
                write_png(&mut out, SIZE, &pixels)?;
                out.flush()
            }
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a plot is written as .svg or .png: name the file so",
            )),
        }
    }

    /// Returns the largest time and sequence number on the plot, and the largest worth showing of the
    /// window: one of megabytes would press the data of a short connection flat.
    fn extent(&self) -> (f64, i64) {
        let (mut time, mut seq) = (0.0_f64, 1_i64);
        for event in &self.events {
            let (at, end) = match *event {
                Event::Data(at, _, end, _) | Event::Sack(at, _, end) | Event::Flag(at, end, _) => {
                    (at, end)
                }
            };
            (time, seq) = (time.max(at), seq.max(end));
        }
        for (at, ack) in &self.acks {
            (time, seq) = (time.max(*at), seq.max(*ack));
        }
        let edge = self.edges.iter().map(|(_, edge)| *edge).max().unwrap_or(0);
        let most = seq.saturating_add(seq / 8);
        (time.max(1e-6), seq.max(edge.min(most)))
    }

    fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, plotters::coord::Shift>,
        title: &str,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        area.fill(&WHITE)?;
        let (time, seq) = self.extent();
        let mut chart = ChartBuilder::on(area)
            .caption(title, ("monospace", 18))
            .margin(16)
            .x_label_area_size(50)
            .y_label_area_size(110)
            .build_cartesian_2d(0.0..time * 1.02, 0..seq + seq / 50 + 1)?;
        chart
            .configure_mesh()
            .light_line_style(RGBColor(245, 245, 245))
            .bold_line_style(RGBColor(225, 225, 225))
            .x_desc("seconds since the first segment")
            .x_label_formatter(&|seconds| format_seconds(*seconds))
            .label_style(("monospace", 14))
            .draw()?;
        chart
            .draw_series(LineSeries::new(stairs(&self.edges, seq), ORANGE))?
            .label("edge of the window")
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], ORANGE));
        chart
            .draw_series(LineSeries::new(stairs(&self.acks, seq), DARK_GREEN))?
            .label("acknowledged")
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], DARK_GREEN));
        let sacks = self.events.iter().filter_map(|event| match *event {
            Event::Sack(at, from, to) => Some((at, from, to)),
            _ => None,
        });
        bars(&mut chart, sacks, PURPLE, "SACK")?;
        for (kind, color, label) in [
            (Kind::New, BLACK, "data"),
            (Kind::Again, RED, "sent again"),
            (Kind::OutOfOrder, PINK, "out of order"),
            (Kind::Probe, BLUE, "probe"),
        ] {
            let lines = self.events.iter().filter_map(|event| match *event {
                Event::Data(at, from, to, of) if of == kind => Some((at, from, to)),
                _ => None,
            });
            bars(&mut chart, lines, color, label)?;
        }
        self.draw_flags(&mut chart)?;
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE)
            .border_style(GREY)
            .label_font(("monospace", 14))
            .draw()?;
        area.present()
    }

    /// Draws the letters of SYN, FIN and RST.
    fn draw_flags<'a, B: DrawingBackend + 'a>(
        &self,
        chart: &mut Chart<'a, B>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        chart.draw_series(self.events.iter().filter_map(|event| match *event {
            Event::Flag(at, seq, letter) => Some(Text::new(
                letter.to_string(),
                (at, seq),
                ("monospace", 16).into_font().color(&BLUE),
            )),
            _ => None,
        }))?;
        Ok(())
    }
}

type Chart<'a, B> = ChartContext<
    'a,
    B,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordi64>,
>;

/// Draws vertical bars with their label, if there is any.
fn bars<'a, B: DrawingBackend + 'a>(
    chart: &mut Chart<'a, B>,
    lines: impl Iterator<Item = (f64, i64, i64)>,
    color: RGBColor,
    label: &str,
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        return Ok(());
    }
    chart
        .draw_series(lines.map(|(at, from, to)| {
            PathElement::new(vec![(at, from), (at, to)], color.stroke_width(2))
        }))?
        .label(label)
        .legend(move |(x, y)| {
            PathElement::new(vec![(x + 9, y - 6), (x + 9, y + 6)], color.stroke_width(2))
        });
    Ok(())
}

/// Returns the corners of a line that stays until the next value; not above `most`, so that it stays on
/// the plot.
fn stairs(points: &[(f64, i64)], most: i64) -> Vec<(f64, i64)> {
    let most = most + most / 50;
    let mut corners = Vec::with_capacity(points.len() * 2);
    let mut last: Option<i64> = None;
    for (at, value) in points {
        let value = (*value).clamp(0, most);
        if let Some(last) = last.filter(|last| *last != value) {
            corners.push((*at, last));
        }
        corners.push((*at, value));
        last = Some(value);
    }
    corners
}

fn format_seconds(seconds: f64) -> String {
    let text = format!("{seconds:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Returns where the plots of a flow's two directions go: `path` itself for one of them.
pub fn paths(path: &Path, sides: &[usize]) -> Vec<PathBuf> {
    if sides.len() < 2 {
        return vec![path.to_owned()];
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    sides
        .iter()
        .map(|side| {
            let direction = if *side == 0 { "a2b" } else { "b2a" };
            path.with_file_name(format!("{stem}-{direction}.{extension}"))
        })
        .collect()
}
