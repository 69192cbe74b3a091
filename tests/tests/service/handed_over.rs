//! A confined daemon and its successor.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;
use std::time::Duration;

use netstackd::child::Daemon;
use netstackd::probe::stream;
use tests::program;
use tests::world::{Scratch, V4, eventually, in_namespace, port, require_root};

use super::confined::assert_confined;
use super::{NET, NOBODY, output};

/// Time for what a busy machine does.
const LIMIT: Duration = Duration::from_secs(60);

/// The address of `/metrics`.
const ADMIN: &str = "127.0.0.1:9100";

/// Returns the answer to a request.
fn get(stream: &mut TcpStream, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn has_metrics() -> bool {
    let connected = TcpStream::connect(ADMIN);
    connected.is_ok_and(|mut stream| get(&mut stream, "/metrics").starts_with("HTTP/1.1 200 OK"))
}

#[test]
fn a_confined_daemon_hands_over_to_another_as_it_took_over_itself() {
    require_root();
    let scratch = Scratch::new("handed-over");
    let socket = scratch.path("control.sock").display().to_string();
    // Only root passes the directory above.
    let web = scratch.path("closed/web");
    fs::create_dir_all(&web).expect("a directory");
    fs::write(web.join("page"), "a page of a file").expect("a file");
    let closed = fs::Permissions::from_mode(0o700);
    fs::set_permissions(scratch.path("closed"), closed).expect("closed");
    let root = web.display().to_string();
    let start = |more: &[&str]| {
        let mut command = Command::new(program!());
        command
            .args(["run", "--exit-with-parent", "--admin", ADMIN])
            .args(["--control", &socket, "--http-root", &root])
            .args(NET)
            .args(more);
        Daemon::launch(&mut command).expect("it serves")
    };
    let works = |echo: &mut TcpStream, owner: u32| {
        stream::exchange(echo, b"still", &mut [0; 5]).expect("an echo");
        let http = SocketAddr::from((V4, port::HTTP));
        let mut web = stream::connect_within(http, LIMIT).expect("connected");
        assert!(get(&mut web, "/page").ends_with("a page of a file"));
        assert_eq!(fs::metadata(&socket).expect("a socket").uid(), owner);
        let listed = output(Command::new(program!()).args(["ss", "-tn", "--control", &socket]));
        let text = String::from_utf8_lossy(&listed.stdout);
        assert!(
            listed.status.success() && text.contains("10.77.0.2:7"),
            "{listed:?}"
        );
        eventually("the admin address is served", has_metrics);
    };
    in_namespace(|| {
        let nobody = ["--user=nobody", "--sandbox=on"];
        let mut daemon = start(&nobody);
        let echo = SocketAddr::from((V4, port::ECHO));
        let mut echo = stream::connect_within(echo, LIMIT).expect("connected");
        works(&mut echo, NOBODY);
        // From one user to the same, to root, to the user again.
        for (more, id) in [
            (&nobody[..], NOBODY),
            (&["--sandbox=on"], 0),
            (&nobody, NOBODY),
        ] {
            let new = start(&[more, &["--take-over", &socket]].concat());
            let status = daemon.wait(LIMIT).expect("it ends");
            assert!(status.success(), "{status}: {}", daemon.stderr());
            daemon = new;
            works(&mut echo, id);
            assert_confined(&daemon, id, 0);
        }
        drop(echo);
        assert!(daemon.terminate().expect("it ends").success());
        let says = daemon.stderr();
        assert_eq!(says.lines().count(), 1, "{says}");
        assert!(says.contains("SIGHUP will not be able to read"), "{says}");
    });
}
