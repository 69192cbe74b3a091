//! The web page, requested by hand and by curl.

use std::io::{Read as _, Write as _};
use std::process::Command;

use netstackd::probe::stream;
use tests::program;
use tests::world::{BOTH, in_namespace, port, serve, targets};

/// Reads one response with a Content-Length.
fn response(stream: &mut impl std::io::Read) -> String {
    let mut bytes = Vec::new();
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a response");
        bytes.push(byte[0]);
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split("content-length: ").nth(1).expect("a length");
            let length: usize = length
                .lines()
                .next()
                .expect("a line")
                .parse()
                .expect("a number");
            if body.len() == length {
                return String::from_utf8(bytes).expect("text");
            }
        }
    }
}

#[test]
fn requests_on_one_connection_are_answered_in_turn() {
    in_namespace(|| {
        let _daemon = serve(program!(), &["--services", "http"]);
        for target in targets(port::HTTP) {
            let mut stream = stream::connect(target).expect("connected");
            for (request, status) in [
                ("GET / HTTP/1.1", "HTTP/1.1 200 OK"),
                ("GET /elsewhere HTTP/1.1", "HTTP/1.1 404 Not Found"),
                ("DELETE / HTTP/1.1", "HTTP/1.1 405 Method Not Allowed"),
                ("GET / HTTP/1.1", "HTTP/1.1 200 OK"),
            ] {
                write!(stream, "{request}\r\nHost: x\r\n\r\n").expect("sent");
                let answer = response(&mut stream);
                assert!(answer.starts_with(status), "{request}: {answer}");
            }
            // Anything that is not HTTP gets an error, and the connection ends.
            stream
                .write_all(b"\x16\x03\x01 hello\r\n\r\n")
                .expect("sent");
            let mut rest = String::new();
            stream.read_to_string(&mut rest).expect("the end");
            assert!(rest.starts_with("HTTP/1.1 400 Bad Request"), "{rest}");
        }
    });
}

#[test]
fn curl_reads_live_counters() {
    in_namespace(|| {
        let _daemon = serve(program!(), &[]);
        for address in BOTH {
            let host = if address.is_ipv6() {
                format!("[{address}]")
            } else {
                address.to_string()
            };
            let page = || {
                let output = Command::new("curl")
                    .args([
                        "-sS",
                        "--max-time",
                        "20",
                        "--noproxy",
                        "*",
                        &format!("http://{host}/"),
                    ])
                    .output()
                    .expect("this test needs `curl`: apt-get install curl");
                assert!(
                    output.status.success(),
                    "{}",
                    String::from_utf8_lossy(&output.stderr)
                );
                String::from_utf8(output.stdout).expect("text")
            };
            let packets = |page: &str| -> u64 {
                let cell = page
                    .split("<td>packets_in</td><td>")
                    .nth(1)
                    .expect("the counter");
                cell.split('<')
                    .next()
                    .expect("a cell")
                    .parse()
                    .expect("a number")
            };
            let (first, second) = (page(), page());
            assert!(packets(&second) > packets(&first), "the counters live");
        }
    });
}
