//! `pcap-inspect`: shows the packets of a capture, its flows with their statistics, the data of a flow, and
//! its time–sequence plot.

use std::error::Error;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use indicatif::ProgressBar;
use tools::capture::{CaptureError, Reader, open, progress};
use tools::inspect::filter::Filter;
use tools::inspect::flow::{Flow, Protocol};
use tools::inspect::follow::{Follow, Style};
use tools::inspect::line::{Lines, TimeFormat, json, one_line};
use tools::inspect::plot::{Plot, paths};
use tools::inspect::{Inspector, Seen, report};
use tools::output::{exit_code, print_man};

/// Shows the packets and flows of a capture.
///
/// Reads pcap and pcapng, plain or compressed with gzip or zstd, in one pass and bounded memory. Without
/// --packets, --follow and --plot, it lists the flows of TCP, UDP and ICMP with their statistics.
#[derive(Parser, Debug)]
#[command(name = "pcap-inspect", version, after_help = EXAMPLES)]
struct Options {
    /// The capture file; - reads stdin.
    #[arg(required_unless_present = "man")]
    file: Option<PathBuf>,
    /// Looks only at the packets that this expression in tcpdump's language selects.
    filter: Vec<String>,
    /// Shows each packet as a line.
    #[arg(short, long)]
    packets: bool,
    /// Shows everything that is known of each flow, not one line of a table.
    #[arg(short, long)]
    long: bool,
    /// Shows only this flow: a number of the TCP table, or udp:N, icmp:N.
    #[arg(long, value_name = "[PROTOCOL:]N")]
    flow: Option<Selected>,
    /// Shows the data of the flow in order.
    #[arg(long, value_enum, value_name = "STYLE", requires = "flow", conflicts_with_all = ["packets", "plot"])]
    follow: Option<Style>,
    /// Draws the time–sequence plot of the TCP flow: .svg or .png. Both directions are two files.
    #[arg(
        long,
        value_name = "FILE",
        requires = "flow",
        conflicts_with = "packets"
    )]
    plot: Option<PathBuf>,
    /// Follows or plots only this direction.
    #[arg(long, value_enum)]
    direction: Option<Direction>,
    /// How times of packets are shown.
    #[arg(long, value_enum, default_value_t)]
    time: TimeFormat,
    /// Shows times of packets with nine digits, not six.
    #[arg(long)]
    nanos: bool,
    /// Stops after this many selected packets.
    #[arg(short, long, value_name = "N")]
    count: Option<u64>,
    /// Most flows that are kept. Packets of further ones are counted.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    max_flows: usize,
    /// Prints one JSON object a line, the summary last.
    #[arg(long)]
    json: bool,
    /// Prints the manual page.
    #[arg(long, hide = true)]
    man: bool,
}

const EXAMPLES: &str = "\
Examples:
  pcap-inspect capture.pcap                         the flows
  pcap-inspect capture.pcap tcp port 443            the flows of these packets
  pcap-inspect -p capture.pcapng.gz host 10.0.0.1   the packets, one a line
  pcap-inspect --flow 3 --long capture.pcap         all about the third TCP connection
  pcap-inspect --flow 3 --follow text capture.pcap  its data
  pcap-inspect --flow 3 --plot seq.svg capture.pcap its time–sequence plots
  pcap-inspect --json capture.pcap | jq .           one object for each flow
  tcpdump -w - | pcap-inspect -p -                  packets as they come

Exit code:
  0  the capture was read
  1  the capture is damaged: what comes before the damage was shown
  2  nothing could be read, or the command line is wrong";

/// One direction of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Direction {
    /// From the side that sent the first packet.
    A2b,
    /// From the other side.
    B2a,
}

/// The flow that --flow names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Selected {
    protocol: Protocol,
    number: u64,
}

impl std::str::FromStr for Selected {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (protocol, number) = match text.split_once(':') {
            None => (Protocol::Tcp, text),
            Some(("tcp", number)) => (Protocol::Tcp, number),
            Some(("udp", number)) => (Protocol::Udp, number),
            Some(("icmp", number)) => (Protocol::Icmp, number),
            Some((other, _)) => return Err(format!("\"{other}\" is neither tcp, udp nor icmp")),
        };
        match number.parse() {
            Ok(number) if number > 0 => Ok(Self { protocol, number }),
            _ => Err(format!("\"{number}\" is no number of a flow, from 1 on")),
        }
    }
}

impl Selected {
    fn is(self, flow: &Flow) -> bool {
        flow.protocol == self.protocol && flow.number == self.number
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.man {
        return print_man::<Options>();
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let result = inspect(&options, &mut out).and_then(|code| {
        out.flush()?;
        Ok(code)
    });
    exit_code("pcap-inspect", result, 2)
}

/// The use of the packets.
struct Pass<'a> {
    options: &'a Options,
    lines: Lines,
    follow: Option<Follow>,
    plots: Vec<(usize, Plot)>,
}

fn inspect(options: &Options, out: &mut dyn Write) -> Result<ExitCode, Box<dyn Error>> {
    let filter = Filter::compile(&options.filter.join(" "))?;
    let file = options.file.as_deref().unwrap_or("-".as_ref());
    let bar = if options.packets && io::stdout().is_terminal() {
        ProgressBar::hidden()
    } else {
        progress(None)
    };
    let mut reader = Reader::new(open(file, &bar)?)?;
    let mut inspector = Inspector::new(options.max_flows, filter);
    let only = options.direction.map(|direction| direction as usize);
    let sides = only.map_or(vec![0, 1], |only| vec![only]);
    let mut pass = Pass {
        options,
        lines: Lines::new(options.time, options.nanos),
        follow: options.follow.map(|style| Follow::new(style, only)),
        plots: match options.plot {
            Some(_) => sides.iter().map(|side| (*side, Plot::new(*side))).collect(),
            None => Vec::new(),
        },
    };
    let damage = pass.over(&mut reader, &mut inspector, out)?;
    bar.finish_and_clear();
    reader.check_supported()?;
    pass.finish(&reader, &inspector, out)?;
    out.flush()?;
    for sentence in reader.warnings().sentences(reader.name()) {
        eprintln!("pcap-inspect: warning: {sentence}");
    }
    match damage {
        None => Ok(ExitCode::SUCCESS),
        Some(error) if reader.frames() == 0 => Err(error.into()),
        Some(error) => {
            eprintln!("pcap-inspect: {error}");
            Ok(ExitCode::from(1))
        }
    }
}

impl Pass<'_> {
    /// Reads the capture to its end, or to where it is damaged.
    fn over(
        &mut self,
        reader: &mut Reader,
        inspector: &mut Inspector,
        out: &mut dyn Write,
    ) -> io::Result<Option<CaptureError>> {
        while self
            .options
            .count
            .is_none_or(|count| inspector.totals.selected < count)
        {
            let frame = match reader.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(None),
                Err(error) => return Ok(Some(error)),
            };
            if let Some(seen) = inspector.take(&frame) {
                self.take(&seen, inspector, out)?;
            }
        }
        Ok(None)
    }

    fn take(
        &mut self,
        seen: &Seen<'_>,
        inspector: &Inspector,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let table = &inspector.table;
        let noted = seen.noted.as_ref();
        let flow = noted.and_then(|noted| table.flow(noted.flow));
        if let Some(selected) = self.options.flow
            && !flow.is_some_and(|flow| selected.is(flow))
        {
            return Ok(());
        }
        if self.options.packets {
            if self.options.json {
                writeln!(out, "{}", json(seen, table))?;
            } else {
                writeln!(out, "{}", self.lines.line(seen, table))?;
            }
            if io::stdout().is_terminal() {
                out.flush()?;
            }
        }
        if let (Some(noted), Some(flow)) = (noted, flow) {
            if let Some(follow) = &mut self.follow {
                follow.take(out, seen, noted.side)?;
            }
            for (_, plot) in &mut self.plots {
                plot.take(seen, flow, noted.side, &noted.marks);
            }
        }
        Ok(())
    }

    fn finish(
        self,
        reader: &Reader,
        inspector: &Inspector,
        out: &mut dyn Write,
    ) -> Result<(), Box<dyn Error>> {
        let options = self.options;
        let name = one_line(reader.name());
        let flow = options.flow.map(|selected| {
            let mut flows = inspector.table.flows(selected.protocol);
            flows
                .find(|flow| selected.is(flow))
                .ok_or_else(|| no_flow(&name, selected, inspector))
        });
        let flow = flow.transpose()?;
        if let Some(follow) = self.follow {
            return finish_follow(follow, options.follow, out);
        }
        if let (Some(path), Some(flow)) = (&options.plot, flow) {
            return finish_plots(&name, path, &self.plots, flow, out);
        }
        if options.json {
            if !options.packets {
                json_flows(inspector, flow, out)?;
            }
            let warnings = reader.warnings().sentences(&name);
            writeln!(out, "{}", report::summary_json(&name, inspector, &warnings))?;
            return Ok(());
        }
        if !options.packets {
            writeln!(out, "{}", report::head(&name, inspector))?;
            text_flows(options.long, inspector, flow, out)?;
            writeln!(out)?;
        }
        writeln!(out, "{}", report::summary(inspector))?;
        Ok(())
    }
}

fn no_flow(name: &str, selected: Selected, inspector: &Inspector) -> String {
    let protocol = selected.protocol.name();
    let count = inspector.table.flows(selected.protocol).count();
    if count == 0 {
        return format!("{name}: there is no {protocol} flow");
    }
    format!(
        "{name}: there is no {protocol} flow {}: choose one from 1 to {count}",
        selected.number
    )
}

fn json_flows(inspector: &Inspector, flow: Option<&Flow>, out: &mut dyn Write) -> io::Result<()> {
    let start = inspector.totals.first_nanos.unwrap_or(0);
    if let Some(flow) = flow {
        return writeln!(out, "{}", report::flow_json(flow, start));
    }
    for protocol in Protocol::ALL {
        for flow in inspector.table.flows(protocol) {
            writeln!(out, "{}", report::flow_json(flow, start))?;
        }
    }
    Ok(())
}

fn text_flows(
    long: bool,
    inspector: &Inspector,
    flow: Option<&Flow>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let start = inspector.totals.first_nanos.unwrap_or(0);
    if let Some(flow) = flow {
        return writeln!(out, "\n{}", report::long(flow, start));
    }
    for protocol in Protocol::ALL {
        if long {
            for flow in inspector.table.flows(protocol) {
                writeln!(out, "\n{}", report::long(flow, start))?;
            }
        } else if let Some(text) = report::flow_table(inspector, protocol) {
            writeln!(out, "\n{text}")?;
        }
    }
    Ok(())
}

/// Writes the rest of the data. The closing line goes to stderr, so that the data alone is on stdout.
fn finish_follow(
    follow: Follow,
    style: Option<Style>,
    out: &mut dyn Write,
) -> Result<(), Box<dyn Error>> {
    let (missing, written) = follow.finish(out)?;
    if style != Some(Style::Raw) {
        writeln!(out)?;
    }
    out.flush()?;
    let [a, b] = written;
    eprint!("pcap-inspect: {a} bytes a → b, {b} bytes b → a");
    if missing.iter().sum::<u64>() > 0 {
        let [a, b] = missing;
        eprint!("; not captured: {a} and {b}");
    }
    eprintln!();
    Ok(())
}

fn finish_plots(
    name: &str,
    path: &Path,
    plots: &[(usize, Plot)],
    flow: &Flow,
    out: &mut dyn Write,
) -> Result<(), Box<dyn Error>> {
    if flow.protocol != Protocol::Tcp {
        return Err("only TCP has sequence numbers to plot: choose a TCP flow".into());
    }
    let sides: Vec<usize> = plots.iter().map(|(side, _)| *side).collect();
    for ((side, plot), path) in plots.iter().zip(paths(path, &sides)) {
        let (from, to) = (flow.end(*side), flow.end(1 - side));
        let title = format!("TCP {}: {from} > {to}", flow.number);
        plot.write(&path, &title)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        writeln!(out, "{}: {from} → {to}", path.display())?;
        if plot.left_out() > 0 {
            writeln!(
                out,
                "  the last {} segments have no room on it",
                plot.left_out()
            )?;
        }
    }
    writeln!(out, "{name}: {} plots of TCP {}", plots.len(), flow.number)?;
    Ok(())
}
