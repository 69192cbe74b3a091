//! The parameters of a test, as its client sends them.

use netstack::tcp::Algorithm;
use serde::Deserialize;
use serde_json::Value;

use super::STREAMS_MAX;
use super::wire::Fault;

/// Largest block of TCP, as iperf3 has it.
const BLOCK_MAX: usize = 1 << 20;
/// Block of TCP unless another is asked for.
const BLOCK: usize = 128 << 10;
/// Longest datagram over IPv4.
const DATAGRAM_MAX: usize = 65_507;
/// Shortest datagram: two numbers of a time and a counter.
const DATAGRAM_MIN: usize = 16;
/// Datagram unless another length is asked for.
const DATAGRAM: usize = 1_448;
/// Longest test, and longest beginning that is not counted, in seconds.
const TIME_MAX: f64 = 86_400.0;
const OMIT_MAX: f64 = 600.0;

/// The protocol of the data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Protocol {
    Tcp,
    Udp,
}

/// The object that the client sends. What is not here concerns the client alone, or is advice that this server does not
/// need.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wire {
    udp: bool,
    sctp: bool,
    mptcp: bool,
    omit: f64,
    time: f64,
    parallel: Option<f64>,
    reverse: bool,
    bidirectional: bool,
    len: f64,
    bandwidth: f64,
    nodelay: bool,
    #[serde(rename = "TOS")]
    tos: f64,
    congestion: Option<String>,
    get_server_output: f64,
    udp_counters_64bit: f64,
    authtoken: Option<String>,
}

/// The parameters of a test, within bounds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Params {
    pub(super) protocol: Protocol,
    /// Seconds at the beginning that are not counted.
    pub(super) omit: u32,
    /// Seconds of the test; 0: until the client ends it.
    pub(super) seconds: u32,
    /// Streams from the client.
    pub(super) receive: usize,
    /// Streams to the client.
    pub(super) send: usize,
    /// Bytes of a block or a datagram.
    pub(super) len: usize,
    /// Bits of a stream in a second; 0: as many as go.
    pub(super) rate: u64,
    pub(super) nodelay: bool,
    pub(super) tos: u8,
    pub(super) congestion: Option<Algorithm>,
    pub(super) wants_output: bool,
    pub(super) wide_counters: bool,
}

/// Returns a whole number within bounds.
fn whole(number: f64, least: f64, most: f64) -> Option<u64> {
    // The bounds are small enough for every whole number between them to be exact.
    let is_within = number.is_finite() && (least..=most).contains(&number);
    is_within.then_some(number as u64)
}

impl Params {
    /// Reads and checks the parameters.
    ///
    /// # Errors
    /// Returns what is wrong, or is not there.
    pub(super) fn parse(value: Value) -> Result<Self, Fault> {
        // A list would be taken for the fields in their order.
        if !value.is_object() {
            return Err(Fault::Params);
        }
        let wire: Wire = serde_json::from_value(value).map_err(|_| Fault::Params)?;
        if wire.sctp {
            return Err(Fault::Sctp);
        }
        // A user and a password, for a server that knows some.
        if wire.mptcp || wire.authtoken.is_some() {
            return Err(Fault::NotThere);
        }
        let small = |number, most, fault| {
            let whole = whole(number, 0.0, most).and_then(|number| u32::try_from(number).ok());
            whole.ok_or(fault)
        };
        let most = STREAMS_MAX as f64;
        let parallel = whole(wire.parallel.unwrap_or(1.0), 1.0, most).ok_or(Fault::Streams)?;
        let parallel = usize::try_from(parallel).map_err(|_| Fault::Streams)?;
        let protocol = if wire.udp {
            Protocol::Udp
        } else {
            Protocol::Tcp
        };
        let congestion = wire.congestion.map(|name| name.parse());
        Ok(Self {
            protocol,
            omit: small(wire.omit, OMIT_MAX, Fault::Omit)?,
            seconds: small(wire.time, TIME_MAX, Fault::Duration)?,
            receive: if wire.reverse && !wire.bidirectional {
                0
            } else {
                parallel
            },
            send: if wire.reverse || wire.bidirectional {
                parallel
            } else {
                0
            },
            len: len(protocol, wire.len)?,
            rate: whole(wire.bandwidth, 0.0, 1e15).ok_or(Fault::Params)?,
            nodelay: wire.nodelay,
            tos: u8::try_from(small(wire.tos, 255.0, Fault::Params)?).map_err(|_| Fault::Params)?,
            congestion: congestion.transpose().map_err(|_| Fault::NotThere)?,
            wants_output: wire.get_server_output != 0.0,
            wide_counters: wire.udp_counters_64bit != 0.0,
        })
    }

    /// Returns the number of streams of both directions.
    pub(super) fn streams(&self) -> usize {
        self.receive + self.send
    }
}

fn len(protocol: Protocol, asked: f64) -> Result<usize, Fault> {
    let (usual, least, most, fault) = match protocol {
        Protocol::Tcp => (BLOCK, 1, BLOCK_MAX, Fault::Block),
        Protocol::Udp => (DATAGRAM, DATAGRAM_MIN, DATAGRAM_MAX, Fault::Datagram),
    };
    if asked == 0.0 {
        return Ok(usual);
    }
    let len = whole(asked, least as f64, most as f64).ok_or(fault)?;
    usize::try_from(len).map_err(|_| fault)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_client_asks_for_is_understood() {
        let params = Params::parse(json!({
            "tcp": true, "omit": 1, "time": 10, "num": 0, "blockcount": 0, "parallel": 3,
            "bidirectional": true, "len": 131_072, "pacing_timer": 1000, "TOS": 8, "nodelay": true,
            "congestion": "bbr", "get_server_output": 1, "client_version": "3.12",
        }));
        let params = params.expect("good");
        assert_eq!((params.receive, params.send, params.streams()), (3, 3, 6));
        assert_eq!((params.omit, params.seconds, params.tos), (1, 10, 8));
        assert!(params.nodelay && params.wants_output && !params.wide_counters);
        assert_eq!(params.congestion.map(|one| one.name()), Some("bbr"));
        let udp = json!({"udp": true, "reverse": true, "bandwidth": 1_048_576, "len": 1000});
        let udp = Params::parse(udp).expect("good");
        assert_eq!((udp.receive, udp.send, udp.len), (0, 1, 1_000));
        assert_eq!((udp.protocol, udp.rate), (Protocol::Udp, 1_048_576));
    }

    #[test]
    fn what_is_out_of_bounds_has_the_fault_that_the_client_knows() {
        for (value, fault) in [
            (json!({"tcp": true, "parallel": 129}), Fault::Streams),
            (json!({"tcp": true, "parallel": 0}), Fault::Streams),
            (json!({"tcp": true, "time": 86_401}), Fault::Duration),
            (json!({"tcp": true, "time": -1}), Fault::Duration),
            (json!({"tcp": true, "omit": 601}), Fault::Omit),
            (json!({"tcp": true, "len": (1 << 20) + 1}), Fault::Block),
            (json!({"udp": true, "len": 65_508}), Fault::Datagram),
            (json!({"udp": true, "len": 15}), Fault::Datagram),
            (json!({"tcp": true, "bandwidth": -1}), Fault::Params),
            (json!({"tcp": true, "TOS": 256}), Fault::Params),
            (json!({"tcp": true, "parallel": "many"}), Fault::Params),
            (json!({"tcp": true, "congestion": "vegas"}), Fault::NotThere),
            (json!({"tcp": true, "mptcp": true}), Fault::NotThere),
            (json!({"sctp": true}), Fault::Sctp),
            (json!([]), Fault::Params),
            (json!("tcp"), Fault::Params),
        ] {
            let shown = value.to_string();
            assert_eq!(Params::parse(value), Err(fault), "{shown}");
        }
    }
}
