//! The data of the API, beside what the commands say.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use netstackd::probe::stream;
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::world::{V4, eventually, in_namespace, port};

use super::{ADMIN, World, echo, flow_of, get, json, request, send, world};

/// Returns what tells rows apart.
fn ends(row: &Value) -> String {
    format!(
        "{} {} {} {}",
        row["netid"], row["state"], row["local"], row["peer"]
    )
}

fn sockets_of(world: &World) -> Vec<String> {
    let lines = world.text("ss -a --json");
    let rows = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("a row"));
    let mut rows: Vec<String> = rows.map(|row: Value| ends(&row)).collect();
    rows.sort();
    rows
}

#[test]
fn the_api_says_what_the_commands_say() {
    in_namespace(|| {
        let world = world("data", &["--mtu", "1400", "--queues", "2"]);
        stream::echo(SocketAddr::from((V4, port::ECHO)), 100_000).expect("echoed");
        let streams = [echo(), echo()];
        let peers = streams
            .each_ref()
            .map(|one| one.local_addr().expect("bound").to_string());
        eventually("the same sockets", || {
            let page = json("/api/flows?state=all");
            let rows = page["rows"].as_array().expect("rows");
            assert_eq!(page["total"], rows.len());
            let mut rows: Vec<String> = rows.iter().map(ends).collect();
            rows.sort();
            rows == sockets_of(&world)
        });
        let page = json(&format!("/api/flows?search={}&sort=peer", peers[1]));
        assert_eq!(page["matched"], 1, "{page}");
        assert_eq!(page["rows"][0]["peer"], peers[1].as_str());
        assert_eq!(page["rows"][0]["tcp"]["bytes_received"], 5);
        assert_eq!(
            json("/api/flows?limit=1")["rows"].as_array().map(Vec::len),
            Some(1)
        );
        assert_eq!(json("/api/flows?netid=udp&state=established")["matched"], 0);
        for path in [
            "/api/flows?state=open",
            "/api/flows?order=up",
            "/api/flow?local=here&peer=there",
        ] {
            assert!(get(path).starts_with("HTTP/1.1 400"), "{path}");
        }
        // Nothing moves now.
        let of = |text: &str, name: &str| {
            let line = text
                .lines()
                .find(|line| line.starts_with(&format!("{name} ")));
            let number = line.and_then(|line| line.split_whitespace().nth(1));
            number.map_or(0, |number| number.parse::<u64>().expect("a number"))
        };
        eventually("the same counters", || {
            let (text, stats) = (world.text("stats"), json("/api/stats"));
            let pairs = [
                ("TcpInSegs", &stats["mib"]["TcpInSegs"]),
                ("netstack.bytes_in", &stats["counters"]["bytes_in"]),
                ("now.connections", &stats["gauges"]["connections"]),
                ("worker.0.packets_in", &stats["workers"][0]["packets_in"]),
                ("worker.1.packets_in", &stats["workers"][1]["packets_in"]),
            ];
            pairs.iter().all(|(name, value)| **value == of(&text, name))
        });
        let bytes = || {
            let stats = json("/api/stats");
            stats["counters"]["bytes_in"].as_u64().expect("a number")
        };
        assert!(bytes() > 100_000);
        eventually("a sample of it", || {
            let bytes = bytes();
            let overview = json("/api/overview");
            assert_eq!(overview["columns"][0], "bytes_in");
            assert_eq!(overview["workers"].as_array().map(Vec::len), Some(2));
            let samples = overview["samples"].as_array().expect("samples");
            samples
                .last()
                .is_some_and(|last| last["values"][0] == bytes)
        });
        eventually("a metric of it", || {
            get("/metrics").contains(&format!("netstack_bytes_in_total {}\n", bytes()))
        });
        let seq = json("/api/overview")["samples"]
            .as_array()
            .and_then(|all| all.last()?["seq"].as_u64());
        let after = json(&format!("/api/overview?after={}", seq.expect("a sample")));
        assert!(
            after["samples"].as_array().expect("samples").len() < 60,
            "only what is new"
        );
        drop(streams);
    });
}

#[test]
fn the_configuration_has_origins_and_follows_a_reload() {
    in_namespace(|| {
        let scratch = tests::world::Scratch::new("dashboard-reload");
        let text = "grace = \"7s\"\n[tcp]\ntime_wait = \"9s\"\n";
        let path = scratch.write("net.toml", text);
        let world = world("config", &["--config", &path, "--mtu", "1400"]);
        let of = |key: &str| {
            let config = json("/api/config");
            let keys = config["keys"].as_array().expect("keys");
            let row = keys.iter().find(|row| row["key"] == key).expect("the key");
            [&row["value"], &row["origin"]].map(|text| text.as_str().unwrap_or_default().to_owned())
        };
        assert_eq!(of("mtu"), ["1400", "--mtu"]);
        assert_eq!(of("grace"), ["\"7s\"", &format!("{path}, line 1")]);
        assert_eq!(of("tcp.time_wait"), ["\"9s\"", &format!("{path}, line 3")]);
        assert_eq!(of("tcp.sack"), ["true", "default"]);
        scratch.write("net.toml", "\ngrace = \"8s\"\n[tcp]\ntime_wait = \"3s\"\n");
        world.daemon.signal(Signal::SIGHUP);
        eventually("what is in force", || {
            of("grace") == ["\"8s\"", &format!("{path}, line 2")]
        });
        assert_eq!(of("tcp.time_wait")[0], "\"9s\"", "it needs a restart");
    });
}

#[test]
fn drops_have_reasons_and_their_explanation() {
    in_namespace(|| {
        let _world = world("drops", &[]);
        let closed = SocketAddr::from((V4, port::CLOSED));
        assert!(TcpStream::connect(closed).is_err());
        // What the kernel sends by itself may be discarded, too.
        let of = |drops: &Value| {
            let reasons = drops["reasons"].as_array().expect("reasons");
            let place = reasons
                .iter()
                .position(|one| one["name"] == "tcp_no_listener");
            place.map(|place| (place, reasons[place].clone()))
        };
        let (_, reason) = of(&json("/api/drops")).expect("the reason");
        assert_eq!(reason["total"], 1);
        assert_eq!(reason["help"], "No connection and no listener.");
        eventually("a sample of it", || {
            let drops = json("/api/drops");
            let (place, _) = of(&drops).expect("the reason");
            let samples = drops["samples"].as_array().expect("samples");
            samples.last().is_some_and(|last| last["drops"][place] == 1)
        });
    });
}

#[test]
fn locks_say_how_to_have_them_timed() {
    in_namespace(|| {
        let _world = world("locks", &[]);
        drop(echo());
        let locks = json("/api/locks");
        if locks["is_tracked"] == true {
            let levels = locks["levels"].as_array().expect("levels");
            let tables = levels.iter().find(|level| level["name"] == "Tables");
            assert!(
                tables.is_some_and(|level| level["acquired"].as_u64() > Some(0)),
                "{locks}"
            );
        } else {
            let build = locks["build"].as_str().expect("a command");
            assert!(build.contains("--features track"), "{build}");
        }
    });
}

#[test]
fn a_flow_is_told_as_it_happens_until_it_ends() {
    in_namespace(|| {
        let _world = world("flow", &[]);
        let (mut flow, other) = (echo(), echo());
        let stream = send(ADMIN, &request(&flow_of(&flow), ADMIN));
        let lines = BufReader::new(stream)
            .lines()
            .map(|line| line.expect("a line"));
        let mut messages = lines.filter_map(|line| {
            let data = line.strip_prefix("data: ")?.to_owned();
            Some(serde_json::from_str::<Value>(&data).expect("JSON"))
        });
        let first = messages.next().expect("a message");
        assert_eq!(first["row"]["state"], "established");
        assert_eq!(first["row"]["tcp"]["bytes_received"], 5);
        flow.write_all(b"again").expect("written");
        // What is unread would make the end a reset.
        flow.read_exact(&mut [0; 5]).expect("echoed");
        let told = messages.find(|message| message["row"]["tcp"]["bytes_received"] == 10);
        assert!(told.is_some());
        // Events of this connection alone.
        drop(other);
        thread::sleep(Duration::from_millis(300));
        drop(flow);
        let rest: Vec<Value> = messages.collect();
        assert!(
            rest.last().is_some_and(|last| last["row"].is_null()),
            "{rest:?}"
        );
        let events: Vec<&Value> = rest
            .iter()
            .filter_map(|one| one["events"].as_array())
            .flatten()
            .collect();
        let closes = events
            .iter()
            .filter(|one| one["fields"]["to"] == "close-wait")
            .count();
        assert_eq!(closes, 1, "{events:?}");
    });
}
