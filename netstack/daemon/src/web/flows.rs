//! The list of sockets for all browsers together: rates between two lists, order, search.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use netstack::net::Stack;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use crate::control::rows::{NetId, SocketFilter, SocketRow, SocketState, TcpRow};
use crate::control::session::rest_after;

/// Age up to which a list is used again.
const FRESH: Duration = Duration::from_millis(900);

/// Age from which a list is no basis for rates.
const STALE: Duration = Duration::from_secs(30);

/// Most sockets that a list keeps.
const MOST_KEPT: usize = 65_536;

/// Most rows of one answer.
const MOST_ROWS: usize = 500;

/// Longest text that is searched for.
const MOST_SEARCH: usize = 64;

/// The sockets that a browser wants, and their order.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wanted {
    netid: Option<NetId>,
    /// A state of `ss`, `connected`, `brief` (half open and TIME-WAIT) or `all`; without it `connected`.
    state: Option<String>,
    /// A part of an address and port at either end.
    search: String,
    sort: Sort,
    ascending: bool,
    offset: usize,
    limit: Option<usize>,
}

/// The values that rows are ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sort {
    #[default]
    Rate,
    RateIn,
    RateOut,
    Bytes,
    Rtt,
    Retransmits,
    Memory,
    State,
    Local,
    Peer,
    Worker,
}

/// A socket with its rates in bytes a second.
#[derive(Clone, Debug, Serialize)]
struct Flow {
    #[serde(flatten)]
    row: SocketRow,
    rate_in: f64,
    rate_out: f64,
}

/// Rows for a browser.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    /// Sockets of the stack.
    total: usize,
    /// Those that are not in the list, since there are too many.
    omitted: u64,
    /// Those that the browser wants.
    matched: usize,
    rows: Vec<Flow>,
}

/// The sockets at one moment.
#[derive(Debug)]
struct List {
    at: Instant,
    flows: Vec<Flow>,
    omitted: u64,
}

/// Makes the list: once for all that ask within a second, and in at most a fifth of a core's time.
#[derive(Debug)]
pub(super) struct Lister {
    turn: Semaphore,
    latest: ArcSwapOption<List>,
}

impl Default for Lister {
    fn default() -> Self {
        Self {
            turn: Semaphore::new(1),
            latest: ArcSwapOption::empty(),
        }
    }
}

impl Lister {
    /// Returns the rows that are wanted.
    ///
    /// # Errors
    /// Returns a sentence about what is wrong with the wish.
    pub(super) async fn page(&self, stack: &Stack, wanted: &Wanted) -> Result<Page, String> {
        let states = states_of(wanted.state.as_deref())?;
        if wanted.search.len() > MOST_SEARCH {
            return Err(format!(
                "the text to search for is longer than {MOST_SEARCH} bytes\n"
            ));
        }
        let Ok(_turn) = self.turn.acquire().await else {
            return Err("the server ends\n".to_owned());
        };
        let begun = Instant::now();
        let earlier = self.latest.load_full();
        let list = match earlier {
            Some(list) if list.at.elapsed() < FRESH => list,
            earlier => {
                let list = Arc::new(List::make(stack, earlier.as_deref()));
                self.latest.store(Some(Arc::clone(&list)));
                list
            }
        };
        let page = list.page(wanted, &states);
        sleep(rest_after(begun)).await;
        Ok(page)
    }
}

/// Returns the states of a name.
fn states_of(name: Option<&str>) -> Result<Vec<SocketState>, String> {
    use SocketState::{Listening, SynRecv, TimeWait, Unconnected};
    let all = SocketState::ALL.iter().copied();
    let brief = [SynRecv, TimeWait];
    let states: Vec<SocketState> = match name.unwrap_or("connected") {
        "all" => all.collect(),
        "brief" => brief.to_vec(),
        "connected" => all
            .filter(|one| !matches!(one, Listening | Unconnected | SynRecv | TimeWait))
            .collect(),
        name => all.filter(|one| one.name() == name).collect(),
    };
    match states.is_empty() {
        true => Err("there is no such state: use one of ss, connected, brief or all\n".to_owned()),
        false => Ok(states),
    }
}

/// Returns the bytes of a connection, in and out.
fn bytes_of(row: &SocketRow) -> (u64, u64) {
    let tcp = row.tcp.as_ref();
    tcp.map_or((0, 0), |tcp| (tcp.bytes_received, tcp.bytes_acked))
}

impl List {
    fn make(stack: &Stack, earlier: Option<&Self>) -> Self {
        let at = Instant::now();
        let (mut rows, mut omitted) = SocketFilter::default().rows_of(stack);
        omitted += rows.len().saturating_sub(MOST_KEPT) as u64;
        rows.truncate(MOST_KEPT);
        let earlier = earlier.filter(|list| at - list.at < STALE);
        let seconds = earlier.map_or(f64::INFINITY, |list| (at - list.at).as_secs_f64().max(1e-3));
        let before: HashMap<(SocketAddr, SocketAddr), (u64, u64)> = earlier
            .iter()
            .flat_map(|list| &list.flows)
            .filter(|flow| flow.row.tcp.is_some())
            .filter_map(|flow| Some(((flow.row.local, flow.row.peer?), bytes_of(&flow.row))))
            .collect();
        let flow = |row: SocketRow| {
            let is = bytes_of(&row);
            let was = row.peer.and_then(|peer| before.get(&(row.local, peer)));
            // Of a flow that is new, everything came since the last list.
            let was = was.copied().unwrap_or_default();
            Flow {
                rate_in: is.0.saturating_sub(was.0) as f64 / seconds,
                rate_out: is.1.saturating_sub(was.1) as f64 / seconds,
                row,
            }
        };
        Self {
            at,
            flows: rows.into_iter().map(flow).collect(),
            omitted,
        }
    }

    fn page(&self, wanted: &Wanted, states: &[SocketState]) -> Page {
        let search = wanted.search.trim().to_ascii_lowercase();
        let is_found = |row: &SocketRow| {
            search.is_empty()
                || row.local.to_string().contains(&search)
                || row
                    .peer
                    .is_some_and(|peer| peer.to_string().contains(&search))
        };
        let is_wanted = |flow: &&Flow| {
            wanted.netid.is_none_or(|netid| flow.row.netid == netid)
                && states.contains(&flow.row.state)
                && is_found(&flow.row)
        };
        let mut flows: Vec<&Flow> = self.flows.iter().filter(is_wanted).collect();
        flows.sort_by(|a, b| {
            let order = compare(wanted.sort, a, b);
            if wanted.ascending {
                order
            } else {
                order.reverse()
            }
        });
        let limit = wanted.limit.unwrap_or(MOST_ROWS).min(MOST_ROWS);
        let rows = flows.iter().skip(wanted.offset).take(limit);
        Page {
            total: self.flows.len(),
            omitted: self.omitted,
            matched: flows.len(),
            rows: rows.map(|&flow| flow.clone()).collect(),
        }
    }
}

fn compare(sort: Sort, a: &Flow, b: &Flow) -> Ordering {
    let tcp = |get: fn(&TcpRow) -> u64| {
        let get = |flow: &Flow| flow.row.tcp.as_ref().map_or(0, get);
        get(a).cmp(&get(b))
    };
    let rate = |get: fn(&Flow) -> f64| get(a).total_cmp(&get(b));
    match sort {
        Sort::Rate => rate(|flow| flow.rate_in + flow.rate_out),
        Sort::RateIn => rate(|flow| flow.rate_in),
        Sort::RateOut => rate(|flow| flow.rate_out),
        Sort::Bytes => tcp(|tcp| tcp.bytes_received.saturating_add(tcp.bytes_acked)),
        Sort::Rtt => tcp(|tcp| tcp.srtt_micros),
        Sort::Retransmits => tcp(|tcp| tcp.retransmits.into()),
        Sort::Memory => a.row.memory_bytes.cmp(&b.row.memory_bytes),
        Sort::State => a.row.state.name().cmp(b.row.state.name()),
        Sort::Local => a.row.local.cmp(&b.row.local),
        Sort::Peer => a.row.peer.cmp(&b.row.peer),
        Sort::Worker => a.row.worker.cmp(&b.row.worker),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(peer: &str, state: SocketState, rate_in: f64) -> Flow {
        let text = format!(
            r#"{{"netid":"tcp","state":"{}","recv_q":0,"send_q":0,"local":"10.77.0.2:7","peer":"{peer}",
            "worker":null,"memory_bytes":0,"tcp":null,"datagrams":null}}"#,
            state.name()
        );
        Flow {
            row: serde_json::from_str(&text).expect("a row"),
            rate_in,
            rate_out: 0.0,
        }
    }

    fn list() -> List {
        List {
            at: Instant::now(),
            flows: vec![
                flow("10.0.0.1:1", SocketState::Established, 5.0),
                flow("10.0.0.2:2", SocketState::TimeWait, 0.0),
                flow("10.0.0.3:3", SocketState::Established, 9.0),
                flow("[fd77::1]:4", SocketState::CloseWait, 1.0),
            ],
            omitted: 0,
        }
    }

    fn ports(wanted: &str) -> Vec<u16> {
        let wanted: Wanted = serde_json::from_str(wanted).expect(wanted);
        let states = states_of(wanted.state.as_deref()).expect("a state");
        let page = list().page(&wanted, &states);
        let peers = page.rows.iter().filter_map(|flow| flow.row.peer);
        peers.map(|peer| peer.port()).collect()
    }

    #[test]
    fn rows_are_chosen_and_ordered() {
        assert_eq!(ports("{}"), [3, 1, 4], "the fastest first");
        assert_eq!(ports(r#"{"ascending":true}"#), [4, 1, 3]);
        assert_eq!(ports(r#"{"state":"all"}"#).len(), 4);
        assert_eq!(ports(r#"{"state":"brief"}"#), [2]);
        assert_eq!(ports(r#"{"state":"close-wait"}"#), [4]);
        assert_eq!(ports(r#"{"search":"FD77"}"#), [4]);
        assert_eq!(ports(r#"{"search":" 10.0.0.3:3 "}"#), [3]);
        assert_eq!(ports(r#"{"netid":"udp"}"#), [0; 0]);
        assert_eq!(ports(r#"{"sort":"peer","limit":1,"offset":1}"#), [3]);
        assert!(states_of(Some("open")).is_err());
        assert!(serde_json::from_str::<Wanted>(r#"{"order":1}"#).is_err());
    }
}
