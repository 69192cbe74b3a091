//! The service http: the page of counters and the files of a directory, requested by hand and by curl.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::unix::fs::symlink;
use std::process::{Command, Output};

use netstackd::child::Daemon;
use netstackd::probe::{noise, stream};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tests::program;
use tests::world::{BOTH, Scratch, V4, eventually, in_namespace, port, serve, targets, try_serve};

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
            let length = length.lines().next().expect("a line");
            if body.len() == length.parse::<usize>().expect("a number") {
                return String::from_utf8(bytes).expect("text");
            }
        }
    }
}

fn url(address: IpAddr, path: &str) -> String {
    format!("http://{}{path}", SocketAddr::new(address, port::HTTP))
}

/// Runs curl.
fn curl(words: &[&str]) -> Output {
    let always = ["-sS", "--max-time", "60", "--noproxy", "*"];
    Command::new("curl")
        .args(always)
        .args(words)
        .output()
        .expect("this test needs `curl`: apt-get install curl")
}

/// Runs curl, which must succeed, and returns its output.
fn fetched(words: &[&str]) -> Vec<u8> {
    let output = curl(words);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {stderr}");
    output.stdout
}

/// Returns the status of the answer to a request.
fn status(words: &[&str]) -> String {
    let all = [&["-o", "/dev/null", "-w", "%{http_code}"], words].concat();
    String::from_utf8(fetched(&all)).expect("text")
}

/// Starts the daemon with the files of a directory.
fn serve_files(files: &Scratch, more: &[&str]) -> Daemon {
    let root = files.path("root");
    let root = root.to_str().expect("text");
    serve(
        program!(),
        &[&["--services", "http", "--http-root", root], more].concat(),
    )
}

/// Makes a directory with a file, to which nothing may lead, beside the root.
fn tree(name: &str) -> Scratch {
    let files = Scratch::new(name);
    let root = files.path("root");
    fs::create_dir_all(root.join("sub/with index")).expect("directories");
    files.write("secret", "secret\n");
    for (file, text) in [
        ("index.txt", "plain\n"),
        ("sub/a b.html", "<p>page\n"),
        ("sub/with index/index.html", "<p>index\n"),
        ("empty", ""),
    ] {
        fs::write(root.join(file), text).expect("a file");
    }
    fs::write(root.join("big.bin"), noise(11, 3_000_001)).expect("a file");
    files
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
            let page = || String::from_utf8(fetched(&[&url(address, "/")])).expect("text");
            let packets = |page: &str| -> u64 {
                let cell = page.split("<td>packets_in</td><td>").nth(1);
                let cell = cell.expect("the counter").split('<').next();
                cell.expect("a cell").parse().expect("a number")
            };
            let (first, second) = (page(), page());
            assert!(packets(&second) > packets(&first), "the counters live");
        }
    });
}

#[test]
fn files_come_whole_and_in_parts() {
    in_namespace(|| {
        let files = tree("http-files");
        let big = fs::read(files.path("root/big.bin")).expect("the file");
        let _daemon = serve_files(&files, &[]);
        for address in BOTH {
            let at = |path: &str| url(address, path);
            let (big_url, text) = (at("/big.bin"), at("/index.txt"));
            assert!(fetched(&[&big_url]) == big, "the whole file");
            for (range, part) in [
                ("0-0", &big[..1]),
                ("100000-299999", &big[100_000..300_000]),
                ("2999999-", &big[2_999_999..]),
                ("-70000", &big[big.len() - 70_000..]),
            ] {
                assert!(fetched(&["-r", range, &big_url]) == part, "{range}");
                assert_eq!(status(&["-r", range, &big_url]), "206", "{range}");
            }
            let parts = fetched(&["-i", "-r", "0-2,4-", &text]);
            let parts = String::from_utf8(parts).expect("text");
            assert!(parts.contains("206 Partial Content"), "{parts}");
            assert!(parts.contains("content-type: multipart/byteranges; boundary="));
            for (range, part) in [("0-2", "pla"), ("4-5", "n\n")] {
                let part = format!("Content-Range: bytes {range}/6\r\n\r\n{part}");
                assert!(parts.contains(&part), "{parts}");
            }
            assert_eq!(status(&["-r", "6-", &text]), "416");
            assert_eq!(fetched(&[&at("/empty")]), b"");
            // HEAD says how long it is, and sends nothing of it.
            let head = String::from_utf8(fetched(&["-I", &big_url])).expect("text");
            assert!(head.contains("content-length: 3000001\r\n"), "{head}");
            assert!(head.contains("accept-ranges: bytes\r\n"), "{head}");
            assert!(head.contains("content-type: application/octet-stream\r\n"));
            // A transfer that was cut goes on where it ended.
            let part = files.path(&format!("part-{}", address.is_ipv4()));
            fs::write(&part, &big[..1_234_567]).expect("a part");
            let path = part.to_str().expect("text");
            fetched(&["-C", "-", "-o", path, &big_url]);
            assert!(fs::read(&part).expect("the file") == big, "resumed");
        }
    });
}

#[test]
fn a_client_that_has_a_file_gets_nothing_again() {
    in_namespace(|| {
        let files = tree("http-fresh");
        let _daemon = serve_files(&files, &[]);
        let page = url(V4.into(), "/index.txt");
        let head = String::from_utf8(fetched(&["-I", &page])).expect("text");
        let header = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("{name}: {head}")).to_owned()
        };
        let (tag, date) = (header("etag: "), header("last-modified: "));
        for (condition, answer) in [
            (format!("If-None-Match: {tag}"), "304"),
            ("If-None-Match: \"other\"".to_owned(), "200"),
            (format!("If-Modified-Since: {date}"), "304"),
            (
                "If-Modified-Since: Thu, 01 Jan 1970 00:00:01 GMT".to_owned(),
                "200",
            ),
            ("If-Match: \"other\"".to_owned(), "412"),
        ] {
            assert_eq!(status(&["-H", &condition, &page]), answer, "{condition}");
        }
        // curl compares by itself, too.
        let store = files.path("etag");
        let store = store.to_str().expect("text");
        let words = ["--etag-save", store, "--etag-compare", store, &page];
        assert_eq!(status(&words), "200");
        assert_eq!(status(&words), "304");
        // A changed file is another version.
        fs::write(files.path("root/index.txt"), "changed\n").expect("written");
        assert_eq!(status(&words), "200");
    });
}

#[test]
fn nothing_outside_the_root_is_served() {
    in_namespace(|| {
        let files = tree("http-outside");
        let root = files.path("root");
        symlink("../secret", root.join("out")).expect("a link");
        symlink(files.path("secret"), root.join("absolute")).expect("a link");
        symlink("..", root.join("up")).expect("a link");
        symlink("index.txt", root.join("inside")).expect("a link");
        symlink("sub/../sub", root.join("crooked")).expect("a link");
        symlink("loop", root.join("loop")).expect("a link");
        symlink("/proc/self/root", root.join("magic")).expect("a link");
        mkfifo(&root.join("pipe"), Mode::S_IRWXU).expect("a pipe");
        let _daemon = serve_files(&files, &["--http-listing"]);
        let secret = files.path("secret");
        let secret = secret.to_str().expect("text");
        for (path, answer) in [
            ("/inside", "200"),
            ("/crooked/a%20b.html", "200"),
            ("/out", "403"),
            ("/absolute", "403"),
            ("/up/secret", "403"),
            ("/loop", "403"),
            ("/magic/etc/passwd", "403"),
            ("/pipe", "403"),
            ("/../secret", "400"),
            ("/sub/../../secret", "400"),
            ("/%2e%2e/secret", "400"),
            ("/%2e%2e%2fsecret", "400"),
            ("/..%5csecret", "404"),
            (&format!("/{secret}"), "404"),
            ("/index.txt/", "404"),
            ("/index.txt/x", "404"),
            (&format!("/{}", "x".repeat(300)), "404"),
        ] {
            let page = url(V4.into(), path);
            assert_eq!(status(&["--path-as-is", &page]), answer, "{path}");
            let body = curl(&["--path-as-is", &page]).stdout;
            assert!(body != b"secret\n", "{path}");
        }
    });
}

#[test]
fn directories_are_their_index_or_listed_when_asked_for() {
    in_namespace(|| {
        let files = tree("http-lists");
        let at = |path: &str| url(V4.into(), path);
        let daemon = serve_files(&files, &[]);
        assert_eq!(status(&[&at("/sub/")]), "404");
        assert_eq!(status(&[&at("/sub/with%20index")]), "301");
        // curl goes where it is sent.
        let index = fetched(&["-L", &at("/sub/with%20index")]);
        assert_eq!(index, b"<p>index\n");
        drop(daemon);
        let _daemon = serve_files(&files, &["--http-listing"]);
        let list = String::from_utf8(fetched(&[&at("/sub/")])).expect("text");
        assert!(list.contains("<a href=\"./a%20b.html\">a b.html</a>"));
        assert!(list.contains("<a href=\"./with%20index/\">"), "{list}");
        assert_eq!(fetched(&[&at("/sub/with%20index/")]), b"<p>index\n");
    });
}

#[test]
fn a_connection_is_used_again_until_it_had_its_share() {
    in_namespace(|| {
        let files = tree("http-alive");
        let _daemon = serve_files(&files, &["--set", "http-requests=3"]);
        let page = url(V4.into(), "/index.txt");
        let pages = [&*page; 7];
        let output = curl(&[&["-v"], &pages[..]].concat());
        assert_eq!(output.stdout, b"plain\n".repeat(7));
        let log = String::from_utf8_lossy(&output.stderr);
        let count = |what: &str| log.lines().filter(|line| line.contains(what)).count();
        assert_eq!(count("Connected to "), 3, "{log}");
        assert_eq!(count("Re-using existing"), 4, "{log}");
        assert_eq!(count("< connection: close"), 2, "{log}");
    });
}

#[test]
fn who_sends_no_whole_request_is_let_go() {
    in_namespace(|| {
        let files = tree("http-slow");
        let _daemon = serve_files(&files, &["--set", "http-header-timeout=300ms"]);
        let target = targets(port::HTTP)[0];
        for beginning in ["", "GET / HTTP/1.1\r\nHost: x\r\nX-"] {
            let mut stream = stream::connect(target).expect("connected");
            stream.write_all(beginning.as_bytes()).expect("sent");
            // One byte now and then does not help.
            let mut dripping = stream.try_clone().expect("a clone");
            let ended = std::thread::spawn(move || {
                let mut rest = Vec::new();
                // A reset is an end, too: the drip may have met a closed connection.
                let _ = stream.read_to_end(&mut rest);
            });
            eventually("the end of a slow request", || {
                let drip: &[u8] = if beginning.is_empty() { b"" } else { b"a" };
                let _ = dripping.write_all(drip);
                ended.is_finished()
            });
            ended.join().expect("no panic");
        }
        // A connection at rest ends as well, and does so politely.
        let mut stream = stream::connect(target).expect("connected");
        write!(stream, "GET /index.txt HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
        assert!(response(&mut stream).ends_with("plain\n"));
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("a FIN");
    });
}

#[test]
fn what_is_too_large_is_refused() {
    in_namespace(|| {
        let files = tree("http-large");
        let _daemon = serve_files(&files, &[]);
        let target = targets(port::HTTP)[0];
        let exchange = |request: &str| {
            let mut stream = stream::connect(target).expect("connected");
            // The answer may come, and the connection end, before everything is sent.
            let _ = stream.write_all(request.as_bytes());
            let _ = stream.shutdown(Shutdown::Write);
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            String::from_utf8_lossy(&answer).into_owned()
        };
        let begin = "GET /index.txt HTTP/1.1\r\nHost: x\r\n";
        let line = format!("X-Long: {}\r\n", "x".repeat(12_000));
        let many: String = (0..80).map(|number| format!("X-{number}: x\r\n")).collect();
        for (request, answer) in [
            (format!("{begin}\r\n"), "HTTP/1.1 200 "),
            (format!("{begin}{line}\r\n"), "HTTP/1.1 200 "),
            (format!("{begin}{line}{line}\r\n"), "HTTP/1.1 431 "),
            (format!("{begin}{many}\r\n"), "HTTP/1.1 431 "),
            (
                format!("{begin}Content-Length: 99999999\r\n\r\n"),
                "HTTP/1.1 413 ",
            ),
        ] {
            let got = exchange(&request);
            assert!(got.starts_with(answer), "{} bytes: {got}", request.len());
        }
    });
}

#[test]
fn a_peer_has_its_share_of_connections_and_others_have_theirs() {
    in_namespace(|| {
        tests::world::ip("addr add 10.77.0.9/32 dev lo");
        let files = tree("http-share");
        let mut daemon = serve_files(&files, &["--set", "connections-per-peer=2"]);
        let target = targets(port::HTTP)[0];
        let ask = |stream: &mut std::net::TcpStream| {
            write!(stream, "GET /index.txt HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
            assert!(response(stream).ends_with("plain\n"));
        };
        let mut held: Vec<_> = (0..2)
            .map(|_| stream::connect(target).expect("connected"))
            .collect();
        held.iter_mut().for_each(ask);
        let page = url(V4.into(), "/index.txt");
        assert!(!curl(&[&page]).status.success(), "a third one is refused");
        let other = ["--interface", "10.77.0.9", &page];
        assert_eq!(fetched(&other), b"plain\n");
        held.pop();
        eventually("a free place", || curl(&[&page]).status.success());
        held.iter_mut().for_each(ask);
        daemon.terminate().expect("a graceful end");
    });
}

#[test]
fn a_reload_serves_another_directory_and_a_wrong_one_changes_nothing() {
    in_namespace(|| {
        let files = tree("http-reload");
        let root = |name: &str| files.path(name).display().to_string();
        let config = |root: &str| {
            let text = format!("services = [\"http\"]\nhttp-root = \"{root}\"\n");
            files.write("net.toml", &text)
        };
        let path = config(&root("root"));
        // A sandbox holds it to the directories that it began with.
        let daemon = serve(program!(), &["--config", &path, "--sandbox", "off"]);
        let page = url(V4.into(), "/secret");
        assert_eq!(status(&[&page]), "404");
        config(&root("."));
        daemon.signal(Signal::SIGHUP);
        let line = daemon.line().expect("a line");
        assert!(line.contains("changed=http-root "), "{line}");
        assert_eq!(status(&[&page]), "200");
        config(&root("nowhere"));
        daemon.signal(Signal::SIGHUP);
        let line = daemon.line().expect("a line");
        assert!(line.starts_with("not-reloaded "), "{line}");
        assert!(line.contains("line 2: key 'http-root'"), "{line}");
        assert!(line.contains("nowhere cannot be opened"), "{line}");
        assert_eq!(status(&[&page]), "200");
    });
}

#[test]
fn a_sandboxed_daemon_serves_what_is_below_its_first_directory_and_says_so() {
    in_namespace(|| {
        let files = tree("http-sandbox");
        let root = |name: &str| files.path(name).display().to_string();
        let directory = files.path("elsewhere");
        fs::create_dir_all(&directory).expect("a directory");
        fs::create_dir_all(files.path("root/below")).expect("a directory");
        files.write("root/below/page", "below");
        let config = |root: &str| {
            let text = format!("services = [\"http\"]\nhttp-root = \"{root}\"\n");
            files.write("net.toml", &text)
        };
        let path = config(&root("root"));
        let daemon = serve(program!(), &["--config", &path, "--sandbox", "on"]);
        let page = |name: &str| url(V4.into(), name);
        assert_eq!(status(&[&page("/below/page")]), "200");
        // Files that are there later are as good as those of the beginning.
        files.write("root/later", "later");
        assert_eq!(status(&[&page("/later")]), "200");
        config(&directory.display().to_string());
        daemon.signal(Signal::SIGHUP);
        let line = daemon.line().expect("a line");
        assert!(line.starts_with("not-reloaded "), "{line}");
        assert!(line.contains("start the daemon again"), "{line}");
        assert_eq!(status(&[&page("/later")]), "200");
        config(&root("root/below"));
        daemon.signal(Signal::SIGHUP);
        let line = daemon.line().expect("a line");
        assert!(line.contains("changed=http-root "), "{line}");
        assert_eq!(status(&[&page("/page")]), "200");
        assert_eq!(status(&[&page("/later")]), "404");
    });
}

#[test]
fn a_root_that_is_none_is_named() {
    in_namespace(|| {
        let files = Scratch::new("http-none");
        let file = files.write("file", "");
        for (root, says) in [
            ("/nonexistent", "--http-root /nonexistent cannot be opened"),
            (&*file, "name a directory"),
        ] {
            let failure = try_serve(program!(), &["--http-root", root]).expect_err(root);
            assert_eq!(failure.exit_code(), 2);
            let text = failure.to_string();
            assert!(text.contains(says) && !text.contains('\n'), "{text}");
        }
    });
}
