//! The checks of the demo, one function per row of its table.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::CheckResult;
use crate::probe::datagram::MAX_DATAGRAM_BYTES;
use crate::probe::ping::{MAX_PING_BYTES, Pinger};
use crate::probe::{RoundTrips, datagram, stream};
use crate::values::Service;

/// One row of the table.
pub(super) struct Check {
    /// The text of the first column.
    pub(super) what: &'static str,
    /// Runs the check; the duration is for checks that measure throughput.
    pub(super) run: fn(IpAddr, Duration) -> CheckResult,
}

/// Every row, in order.
pub(super) const ALL: &[Check] = &[
    Check {
        what: "ping, 0 to 65507 bytes",
        run: ping_sizes,
    },
    Check {
        what: "ping, 56 bytes, 1000 times",
        run: ping_round_trips,
    },
    Check {
        what: "UDP echo, 0 to 65507 bytes",
        run: udp_sizes,
    },
    Check {
        what: "UDP echo, 64 bytes, 5000 times",
        run: udp_round_trips,
    },
    Check {
        what: "TCP echo, 256 MiB, every byte compared",
        run: tcp_echo,
    },
    Check {
        what: "TCP echo, 64 bytes, 5000 times",
        run: tcp_round_trips,
    },
    Check {
        what: "TCP into netstackd (discard)",
        run: tcp_in,
    },
    Check {
        what: "TCP out of netstackd (chargen, compared)",
        run: tcp_out,
    },
    Check {
        what: "connect, echo, close, 2000 times",
        run: connections,
    },
    Check {
        what: "TCP to a closed port",
        run: closed_port,
    },
    Check {
        what: "daytime, TCP and UDP",
        run: daytime,
    },
    Check {
        what: "HTTP GET /",
        run: http,
    },
];

fn at(target: IpAddr, service: Service) -> SocketAddr {
    SocketAddr::new(target, service.port())
}

fn median(samples: &RoundTrips) -> String {
    let micros = |percent| samples.percentile(percent).as_secs_f64() * 1e6;
    format!("p50 {:.0} µs, p99 {:.0} µs", micros(50), micros(99))
}

/// Sizes at which something changes: empty, one fragment, two fragments, the largest.
const SIZES: [usize; 12] = [
    0,
    1,
    7,
    56,
    1_000,
    1_452,
    1_473,
    2_952,
    8_000,
    40_000,
    65_506,
    MAX_PING_BYTES,
];

fn ping_sizes(target: IpAddr, _: Duration) -> CheckResult {
    let mut pinger = Pinger::new(target, 0x6e01)?;
    for size in SIZES {
        pinger.ping(size)?;
    }
    Ok(format!("{} sizes came back", SIZES.len()))
}

fn ping_round_trips(target: IpAddr, _: Duration) -> CheckResult {
    let samples = Pinger::new(target, 0x6e02)?.round_trips(1_000, 56)?;
    Ok(median(&samples))
}

fn udp_sizes(target: IpAddr, _: Duration) -> CheckResult {
    let sizes = (0..MAX_DATAGRAM_BYTES).step_by(797).chain(SIZES);
    let count = datagram::echo(at(target, Service::Echo), sizes)?;
    Ok(format!("{count} sizes came back"))
}

fn udp_round_trips(target: IpAddr, _: Duration) -> CheckResult {
    let samples = datagram::round_trips(at(target, Service::Echo), 5_000, 64)?;
    Ok(median(&samples))
}

fn tcp_echo(target: IpAddr, _: Duration) -> CheckResult {
    let moved = stream::echo(at(target, Service::Echo), 256 << 20)?;
    Ok(format!("{:.1} Gb/s each way", moved.gigabits_per_second()))
}

fn tcp_round_trips(target: IpAddr, _: Duration) -> CheckResult {
    let samples = stream::round_trips(at(target, Service::Echo), 5_000, 64)?;
    Ok(median(&samples))
}

fn tcp_in(target: IpAddr, each: Duration) -> CheckResult {
    let moved = stream::upload(at(target, Service::Discard), each)?;
    Ok(format!("{:.1} Gb/s", moved.gigabits_per_second()))
}

fn tcp_out(target: IpAddr, each: Duration) -> CheckResult {
    let moved = stream::download(at(target, Service::Chargen), each)?;
    Ok(format!("{:.1} Gb/s", moved.gigabits_per_second()))
}

fn connections(target: IpAddr, _: Duration) -> CheckResult {
    let count = 2_000;
    let took = stream::connections(at(target, Service::Echo), count, 1)?;
    Ok(format!(
        "{:.0} per second",
        count as f64 / took.as_secs_f64()
    ))
}

fn closed_port(target: IpAddr, _: Duration) -> CheckResult {
    match stream::connect(SocketAddr::new(target, 1)) {
        Err(e) if e.kind() == ErrorKind::ConnectionRefused => Ok("refused".to_owned()),
        Err(e) => Err(format!(
            "TCP to closed port 1 of {target}: {e} instead of a refusal"
        )),
        Ok(_) => Err(format!("TCP to closed port 1 of {target}: connected")),
    }
}

fn daytime(target: IpAddr, _: Duration) -> CheckResult {
    let address = at(target, Service::Daytime);
    let by_tcp = stream::read_all(address, b"")?;
    let by_udp = datagram::ask(address, b"")?;
    let text = String::from_utf8_lossy(&by_tcp);
    let looks_right = |line: &[u8]| line.ends_with(b"-UTC\r\n") && line.len() > 30;
    if looks_right(&by_tcp) && looks_right(&by_udp) {
        Ok(text
            .trim()
            .split_once(", ")
            .map_or("", |(_, date)| date)
            .to_owned())
    } else {
        Err(format!(
            "daytime of {target}: '{}' is not a date",
            text.trim()
        ))
    }
}

fn http(target: IpAddr, _: Duration) -> CheckResult {
    let request = b"GET / HTTP/1.1\r\nHost: netstackd\r\nConnection: close\r\n\r\n";
    let answer = stream::read_all(at(target, Service::Http), request)?;
    let text = String::from_utf8_lossy(&answer);
    if text.starts_with("HTTP/1.1 200 OK\r\n") && text.trim_end().ends_with("</html>") {
        Ok(format!("200 OK, {} bytes", answer.len()))
    } else {
        let first = text.lines().next().unwrap_or("nothing");
        Err(format!("HTTP with {target}: '{first}' is not the page"))
    }
}
