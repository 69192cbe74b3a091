//! Requests that are refused, and bad browsers, which harm nobody.

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};

use netstackd::probe::stream;
use tests::program;
use tests::world::{V4, eventually, in_namespace, port, serve, try_serve};

use super::{ADMIN, ask, echo, flow_of, get, request, send, world};

/// The pages of the dashboard that need nothing else.
const FILES: [(&str, &str); 4] = [
    ("/", "text/html"),
    ("/style.css", "text/css"),
    ("/app.js", "text/javascript"),
    ("/icon.svg", "image/svg+xml"),
];

#[test]
fn every_answer_has_strict_headers_and_only_get_is_taken() {
    in_namespace(|| {
        let _world = world("headers", &[]);
        let missing = format!("{}?after=x", "/api/overview");
        let files = FILES.iter().map(|(path, _)| *path);
        let paths = [
            "/metrics",
            "/api/overview",
            "/api/config",
            "/nowhere",
            &missing,
        ];
        for path in files.chain(paths) {
            let answer = get(path);
            let head = answer.split_once("\r\n\r\n").expect("a header").0;
            for header in [
                "content-security-policy: default-src 'self';",
                "x-content-type-options: nosniff",
                "cache-control: no-store",
                "referrer-policy: no-referrer",
                "x-frame-options: DENY",
                "cross-origin-resource-policy: same-origin",
            ] {
                assert!(head.contains(header), "{path}: {header}: {head}");
            }
            assert!(!head.contains("access-control"), "{path}: {head}");
        }
        for (path, kind) in FILES {
            let answer = get(path);
            assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
            assert!(answer.contains(&format!("content-type: {kind}")), "{path}");
        }
        assert!(get("/nowhere").starts_with("HTTP/1.1 404"));
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let text = format!(
                "{method} /api/config HTTP/1.1\r\nhost: {ADMIN}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            );
            let answer = ask(ADMIN, &text);
            assert!(
                answer.starts_with("HTTP/1.1 405") && answer.contains("allow: GET, HEAD"),
                "{answer}"
            );
        }
    });
}

#[test]
fn a_name_that_resolves_to_this_address_is_refused() {
    in_namespace(|| {
        let _world = world("rebinding", &[]);
        for host in [
            "127.0.0.1:9100",
            "localhost:9100",
            "localhost",
            "[::1]:1234",
        ] {
            let answer = ask(ADMIN, &request("/api/config", host));
            assert!(answer.starts_with("HTTP/1.1 200"), "{host}: {answer}");
        }
        for host in [
            "evil.example",
            "evil.example:9100",
            "127.0.0.1.evil.example",
            "a@127.0.0.1",
        ] {
            for path in ["/", "/api/config", "/metrics"] {
                let answer = ask(ADMIN, &request(path, host));
                assert!(answer.starts_with("HTTP/1.1 421"), "{host}: {answer}");
                assert!(!answer.contains("is_default"), "{answer}");
            }
        }
        for text in [
            "GET / HTTP/1.1\r\nconnection: close\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\nconnection: close\r\n\r\n",
            "GET http://evil.example/ HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        ] {
            let answer = ask(ADMIN, text);
            assert!(answer.starts_with("HTTP/1.1 421"), "{text}: {answer}");
        }
    });
}

/// Returns the first line of an answer that has no end.
fn status(stream: &mut TcpStream) -> String {
    let mut start = [0; 12];
    stream.read_exact(&mut start).expect("an answer");
    String::from_utf8_lossy(&start).into_owned()
}

#[test]
fn browsers_that_read_nothing_harm_nobody_and_are_bounded() {
    in_namespace(|| {
        let _world = world("slow", &[]);
        let flow = echo();
        let path = flow_of(&flow);
        let open = || {
            let mut stream = send(ADMIN, &request(&path, ADMIN));
            let status = status(&mut stream);
            (stream, status)
        };
        let mut watched = Vec::new();
        let refused = loop {
            let (stream, status) = open();
            match status.as_str() {
                "HTTP/1.1 200" => watched.push(stream),
                status => break status.to_owned(),
            }
        };
        assert_eq!((refused.as_str(), watched.len()), ("HTTP/1.1 503", 8));
        // Answers that nobody reads.
        let unread: Vec<TcpStream> = (0..10)
            .map(|_| send(ADMIN, &request("/api/overview", ADMIN)))
            .collect();
        stream::echo(SocketAddr::from((V4, port::ECHO)), 1_000_000).expect("echoed");
        assert!(get("/metrics").starts_with("HTTP/1.1 200"));
        assert!(get("/api/flows").starts_with("HTTP/1.1 200"));
        drop(unread);
        // A browser that goes makes room for another one.
        watched.pop();
        eventually("a place", || open().1 == "HTTP/1.1 200");
    });
}

#[test]
fn more_connections_than_there_are_places_wait_and_are_served() {
    in_namespace(|| {
        let _world = world("many", &[]);
        let silent: Vec<TcpStream> = (0..40)
            .map(|_| TcpStream::connect(ADMIN).expect("accepted"))
            .collect();
        stream::echo(SocketAddr::from((V4, port::ECHO)), 1_000_000).expect("echoed");
        assert!(
            get("/api/overview").starts_with("HTTP/1.1 200"),
            "their time is over"
        );
        drop(silent);
    });
}

#[test]
fn the_stack_serves_the_dashboard_at_its_own_address_alone() {
    in_namespace(|| {
        let address = format!("{V4}:8080");
        let _daemon = serve(program!(), &["--dashboard", &address]);
        let answer = ask(&address, &request("/api/flows", &address));
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(
            answer.contains(&format!("\"local\":\"{address}\"")),
            "its own connection: {answer}"
        );
        let answer = ask(&address, &request("/", "evil.example"));
        assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
    });
    in_namespace(|| {
        for (flag, code, says) in [
            ("10.77.0.1:8080", 2, "10.77.0.2, fd77::2"),
            ("8080", 2, "10.77.0.2:8080"),
            ("10.77.0.2:80", 6, "in use"),
        ] {
            let failure = try_serve(program!(), &["--dashboard", flag]).expect_err(flag);
            assert_eq!(failure.exit_code(), code, "{failure}");
            let text = failure.to_string();
            assert!(text.contains(says) && text.contains("dashboard"), "{text}");
        }
    });
}
