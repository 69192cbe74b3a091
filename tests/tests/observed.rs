//! A running daemon, read by others: `/metrics` and the logs.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;
use std::time::Duration;

use netstackd::probe::stream;
use tests::program;
use tests::world::{Scratch, V4, eventually, in_namespace, port, serve, try_serve};

const ADMIN: &str = "127.0.0.1:9100";

/// Returns the answer to a request, header and all.
fn ask(request: &str) -> String {
    let mut stream = TcpStream::connect(ADMIN).expect("the admin address");
    stream.write_all(request.as_bytes()).expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn get(path: &str) -> String {
    ask(&format!(
        "GET {path} HTTP/1.1\r\nhost: 127.0.0.1:9100\r\nconnection: close\r\n\r\n"
    ))
}

#[test]
fn metrics_have_every_counter_in_prometheus_form() {
    in_namespace(|| {
        let daemon = serve(program!(), &["--admin", ADMIN]);
        stream::echo(SocketAddr::from((V4, port::ECHO)), 100_000).expect("echoed");
        let text = get("/metrics");
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(
            text.contains("content-type: application/openmetrics-text; version=1.0.0"),
            "{text}"
        );
        assert!(text.trim_end().ends_with("# EOF"), "{text}");
        let value = |name: &str| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(&format!("{name} ")));
            line.unwrap_or_else(|| panic!("{name}: {text}"))
                .parse::<u64>()
                .expect("a number")
        };
        let counts = daemon.counters().expect("counters");
        assert_eq!(
            value("netstack_tcp_passive_opens_total"),
            counts.get("tcp_passive_opens")
        );
        assert!(value("netstack_bytes_in_total") >= 100_000);
        assert_eq!(value(r#"netstack_mib_total{name="TcpPassiveOpens"}"#), 1);
        assert_eq!(
            value(r#"netstack_dropped_packets_total{reason="tcp_paws"}"#),
            0
        );
        // The kernel chooses the queue of a flow, so only the sum is known.
        let packets = text
            .lines()
            .filter(|line| line.starts_with("netstack_worker_packets_in_total{"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        assert!(packets.sum::<u64>() > 0, "{text}");
        assert_eq!(value(r#"netstack_worker_queue{worker="0"}"#), 0);
        assert!(value("netstack_memory_limit_bytes") > 1 << 20);
        assert!(text.contains("# TYPE netstack_connections gauge"), "{text}");
        assert!(text.contains(r#"tun="t0"} 1"#), "{text}");
        // Each line is a comment, or a name, labels and a number.
        let body = text.split_once("\r\n\r\n").expect("a body").1;
        for line in body
            .lines()
            .filter(|line| !line.starts_with('#') && line.contains('_'))
        {
            let number = line.rsplit(' ').next().unwrap_or_default();
            assert!(number.parse::<f64>().is_ok(), "{line}");
        }
        assert!(get("/nowhere").starts_with("HTTP/1.1 404"));
        assert!(
            ask("POST /metrics HTTP/1.1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
                .starts_with("HTTP/1.1 405")
        );
        assert!(ask("nonsense\r\n\r\n").starts_with("HTTP/1.1 400"));
        // Scrapers that say nothing keep out neither flows nor, once their time is over, other scrapers.
        let silent: Vec<TcpStream> = (0..40)
            .map(|_| TcpStream::connect(ADMIN).expect("accepted"))
            .collect();
        stream::echo(SocketAddr::from((V4, port::ECHO)), 1_000_000).expect("echoed");
        assert!(get("/metrics").starts_with("HTTP/1.1 200"));
        drop(silent);
    });
}

#[test]
fn an_admin_address_that_cannot_be_used_is_named() {
    in_namespace(|| {
        for (address, code, says) in [
            ("10.77.0.1:9100", 2, "no loopback address"),
            ("0.0.0.0:9100", 2, "no loopback address"),
            ("localhost", 2, "127.0.0.1:9100"),
        ] {
            let failure = try_serve(program!(), &["--admin", address]).expect_err(address);
            assert_eq!(failure.exit_code(), code, "{failure}");
            assert!(
                failure.to_string().contains(says) && failure.to_string().contains(address),
                "{failure}"
            );
        }
        let _taken = std::net::TcpListener::bind(ADMIN).expect("a listener");
        let failure = try_serve(program!(), &["--admin", ADMIN]).expect_err("taken");
        assert_eq!(failure.exit_code(), 6, "{failure}");
        assert!(failure.to_string().contains(ADMIN), "{failure}");
    });
}

#[test]
fn logs_have_levels_for_parts_and_two_forms() {
    let scratch = Scratch::new("logs");
    in_namespace(|| {
        let socket = scratch.path("c.sock");
        let path = socket.display().to_string();
        for (form, is_json) in [("text", false), ("json", true)] {
            let flags = [
                "--control",
                &path,
                "--log",
                "off,control=debug",
                "--log-format",
                form,
            ];
            let mut daemon = serve(program!(), &flags);
            // A client that sends too long a line is disconnected, which is logged.
            let mut client = UnixStream::connect(&socket).expect("the daemon listens");
            let piece = [b'x'; 64 << 10];
            eventually("it is disconnected", || client.write_all(&piece).is_err());
            daemon.terminate().expect("it ends");
            let logs = daemon.stderr();
            let lines: Vec<&str> = logs.lines().collect();
            assert!(!lines.is_empty());
            for line in &lines {
                assert!(
                    line.contains("netstackd::control"),
                    "of another part: {line}"
                );
                assert_eq!(
                    line.starts_with('{') && line.ends_with('}'),
                    is_json,
                    "{line}"
                );
            }
            assert!(
                logs.contains("DEBUG") && logs.contains("a client was disconnected"),
                "{logs}"
            );
        }
    });
}

#[test]
fn a_flood_of_one_message_is_cut_and_told() {
    let scratch = Scratch::new("log-flood");
    in_namespace(|| {
        let socket = scratch.path("c.sock");
        let path = socket.display().to_string();
        let mut daemon = serve(
            program!(),
            &["--control", &path, "--log", "warn,control=debug"],
        );
        for _ in 0..300 {
            let mut client = UnixStream::connect(&socket).expect("the daemon listens");
            client
                .set_read_timeout(Some(Duration::from_secs(60)))
                .expect("a timeout");
            let piece = [b'x'; 64 << 10];
            while client.write_all(&piece).is_ok() {}
        }
        // The next period tells.
        thread::sleep(Duration::from_secs(5));
        daemon.terminate().expect("it ends");
        let logs = daemon.stderr();
        let count = logs
            .lines()
            .filter(|line| line.contains("a client was disconnected"))
            .count();
        println!("{count} lines of 300");
        assert!((1..300).contains(&count), "{count}");
        assert!(logs.contains("lines were left out"), "{logs}");
    });
}

#[test]
fn wrong_levels_exit_with_2_and_say_which_there_are() {
    for (flags, says) in [
        ("--log loud", "'loud': use off, error, warn"),
        ("--log network=info", "'network': use control"),
        ("--log-format xml", "text or json"),
    ] {
        let output = Command::new(program!())
            .args(["run", "--tun", "t0", "--addr", "10.77.0.2/24"])
            .args(flags.split(' '))
            .output()
            .expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(says), "{flags}: {stderr}");
    }
}
