//! Draws the dashboard.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Gauge, Paragraph, Row, Sparkline, Table};

use super::model::{Flow, Model, Rate};
use super::units::{duration, memory, scaled, time};

const IN: Color = Color::Green;
const OUT: Color = Color::Cyan;
const HEAD: Style = Style::new().add_modifier(Modifier::BOLD);

/// Draws all of it. What does not fit is cut.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model) {
    let [title, throughput, state, flows, drops, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(6),
        Constraint::Length(6),
        Constraint::Min(5),
        Constraint::Length(8),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let uptime = duration(model.stats.uptime_millis / 1_000);
    let paused = if model.is_paused { "  PAUSED" } else { "" };
    let text = format!("{}  up {uptime}{paused}", model.title);
    frame.render_widget(Line::styled(text, HEAD), title);
    draw_throughput(frame, model, throughput);
    let [left, right] =
        Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]).areas(state);
    draw_state(frame, model, left);
    draw_workers(frame, model, right);
    draw_flows(frame, model, flows);
    draw_drops(frame, model, drops);
    let help = "q leave  p pause  order flows by: t throughput  r round-trip time  x retransmissions  m memory";
    frame.render_widget(Line::styled(help, Style::new().fg(Color::DarkGray)), keys);
}

fn draw_throughput(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let halves = Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]);
    let [left, right] = halves.areas(area);
    let (latest_in, latest_out) = model.history.back().copied().unwrap_or_default();
    for (name, latest, packets, color, area, is_in) in [
        ("in", latest_in, model.packets.0, IN, left, true),
        ("out", latest_out, model.packets.1, OUT, right, false),
    ] {
        let title = format!(
            " {name} {}  {} ",
            scaled(latest as f64, "b/s"),
            scaled(packets, "packets/s")
        );
        let block = Block::bordered().title(title);
        let width = usize::from(block.inner(area).width);
        let skipped = model.history.len().saturating_sub(width);
        let pick = |&(inward, outward): &(u64, u64)| if is_in { inward } else { outward };
        let bars: Vec<u64> = model.history.iter().skip(skipped).map(pick).collect();
        let sparkline = Sparkline::default()
            .block(block)
            .data(bars)
            .style(Style::new().fg(color));
        frame.render_widget(sparkline, area);
    }
}

fn draw_state(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let gauge = |name: &str| model.stats.gauges.get(name).copied().unwrap_or(0);
    let block = Block::bordered().title(" memory and connections ");
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let [bar, lines] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(inner);
    let color = match gauge("memory_level") {
        0 => Color::Green,
        1 => Color::Yellow,
        _ => Color::Red,
    };
    let label = format!(
        "{} of {} used, {} allocated",
        memory(gauge("memory_used")),
        memory(gauge("memory_limit")),
        memory(gauge("memory_allocated"))
    );
    let widget = Gauge::default()
        .gauge_style(Style::new().fg(color))
        .ratio(model.memory_share())
        .label(label);
    frame.render_widget(widget, bar);
    let rate = |rate: &Rate| format!("{} ({:.1}/s)", rate.total, rate.per_second);
    let text = vec![
        Line::from(format!(
            "connections {}  half-open {}  time-wait {}",
            gauge("connections"),
            gauge("half_open"),
            gauge("time_waits")
        )),
        Line::from(format!("accepted {}", rate(&model.opened))),
        Line::from(format!("retransmissions {}", rate(&model.retransmits))),
    ];
    frame.render_widget(Paragraph::new(text), lines);
}

fn draw_workers(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let rows = model.workers.iter().enumerate().map(|(number, load)| {
        Row::new([
            number.to_string(),
            format!("{:.0} %", load.busy * 100.0),
            scaled(load.bytes.0 * 8.0, "b/s"),
            scaled(load.bytes.1 * 8.0, "b/s"),
            scaled(load.packets.0 + load.packets.1, "/s"),
            load.queue.to_string(),
            load.connections.to_string(),
        ])
    });
    let widths = [
        Constraint::Length(6),
        Constraint::Length(5),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(8),
        Constraint::Length(5),
        Constraint::Length(5),
    ];
    let table = Table::new(rows, widths)
        .header(Row::new(["worker", "busy", "in", "out", "packets", "queue", "conns"]).style(HEAD))
        .block(Block::bordered().title(" workers "));
    frame.render_widget(table, area);
}

fn draw_flows(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let title = format!(
        " top of {} flows by {} ",
        model.flow_count,
        model.order.name()
    );
    let widths = [
        Constraint::Min(21),
        Constraint::Min(21),
        Constraint::Length(11),
        Constraint::Length(11),
        Constraint::Length(11),
        Constraint::Length(9),
        Constraint::Length(7),
        Constraint::Length(10),
    ];
    let header = [
        "local", "peer", "state", "in", "out", "RTT", "retrans", "memory",
    ];
    let table = Table::new(model.flows.iter().map(flow_row), widths)
        .header(Row::new(header).style(HEAD))
        .block(Block::bordered().title(title));
    frame.render_widget(table, area);
}

fn flow_row(flow: &Flow) -> Row<'static> {
    let row = &flow.row;
    let tcp = row.tcp.as_ref();
    let retransmits = tcp.map_or(0, |tcp| tcp.retransmits);
    let cells = [
        row.local.to_string(),
        row.peer.map_or_else(String::new, |peer| peer.to_string()),
        row.state.short().to_owned(),
        scaled(flow.rates.0 * 8.0, "b/s"),
        scaled(flow.rates.1 * 8.0, "b/s"),
        time(tcp.map_or(0, |tcp| tcp.srtt_micros)),
        retransmits.to_string(),
        memory(row.memory_bytes),
    ];
    let is_lossy = tcp.is_some_and(|tcp| tcp.recovery.is_some());
    let style = if is_lossy {
        Style::new().fg(Color::Yellow)
    } else {
        Style::new()
    };
    Row::new(cells).style(style)
}

fn draw_drops(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let rows = model.drops.iter().map(|drop| {
        let is_now = drop.per_second > 0.0;
        let style = if is_now {
            Style::new().fg(Color::Red)
        } else {
            Style::new()
        };
        let cells = [
            drop.name.clone(),
            drop.total.to_string(),
            format!("{:.1}", drop.per_second),
        ];
        Row::new(cells).style(style)
    });
    let widths = [
        Constraint::Min(30),
        Constraint::Length(14),
        Constraint::Length(12),
    ];
    let table = Table::new(rows, widths)
        .header(Row::new(["reason", "packets", "per second"]).style(HEAD))
        .block(Block::bordered().title(" discarded packets "));
    frame.render_widget(table, area);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::model::Order;
    use super::super::model::tests::{hello, row, stats};
    use super::*;

    fn model() -> Model {
        let mut model = Model::new(&hello());
        model.look(
            &stats(3_600, 0, 3),
            Some(&[row(1, 0, 50, 0), row(2, 0, 90_000, 1)]),
            Duration::ZERO,
        );
        let rows = [row(1, 1_250_000, 50, 0), row(2, 125_000, 90_000, 1)];
        model.look(
            &stats(3_601, 1_375_000, 7),
            Some(&rows),
            Duration::from_secs(1),
        );
        model
    }

    fn screen(model: &Model, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        terminal.draw(|frame| draw(frame, model)).expect("drawn");
        let buffer = terminal.backend().buffer().clone();
        let lines = buffer.content().chunks(usize::from(width));
        lines
            .map(|line| line.iter().map(|cell| cell.symbol()).collect())
            .collect()
    }

    #[test]
    fn everything_is_on_the_screen() {
        let mut model = model();
        let lines = screen(&model, 120, 40);
        let text = lines.join("\n");
        for part in [
            "netstackd 0.1.0 t0 10.77.0.2/24  up 1h 0m",
            " in 11.0 Mb/s",
            "48.0 MiB of 64.0 MiB used",
            "retransmissions 7 (4.0/s)",
            "top of 2 flows by throughput",
            "90.0 ms",
            "tcp_paws",
            "25 %",
            "q leave",
        ] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
        let place = |what: &str| lines.iter().position(|line| line.contains(what));
        let (first, second) = (place("10.77.0.1:1 "), place("10.77.0.1:2 "));
        assert!(
            first < second && first.is_some(),
            "the busiest first:\n{text}"
        );
        let busiest = &lines[first.unwrap_or_default()];
        assert!(
            busiest.contains("10.0 Mb/s") && busiest.contains("50 µs"),
            "{busiest}"
        );
        model.set_order(Order::RoundTrip);
        model.is_paused = true;
        let lines = screen(&model, 120, 40);
        assert!(lines[0].contains("PAUSED"));
        let place = |what: &str| lines.iter().position(|line| line.contains(what));
        assert!(place("10.77.0.1:2 ") < place("10.77.0.1:1 "));
    }

    #[test]
    fn any_size_of_terminal_is_drawn() {
        let model = model();
        for (width, height) in [(1, 1), (5, 3), (20, 10), (80, 24), (300, 100)] {
            assert_eq!(screen(&model, width, height).len(), usize::from(height));
        }
        let empty = Model::new(&hello());
        assert!(screen(&empty, 80, 24).join("").contains("top of 0 flows"));
    }
}
