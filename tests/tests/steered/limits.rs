//! Limits that change on SIGHUP.

use std::fs;
use std::net::TcpStream;
use std::time::Duration;

use netstackd::probe::stream;
use tests::world::{Scratch, V4, in_namespace, port};

use super::{NET, start};

#[test]
fn sighup_changes_limits_and_ends_no_connection() {
    let scratch = Scratch::new("reload-limits");
    let net = format!("{NET}queues = 8\n");
    let path = scratch.write("net.toml", &net);
    let echo = |stream: &mut TcpStream| stream::exchange(stream, b"still", &mut [0; 5]);
    in_namespace(|| {
        let mut daemon = start(&["--config", &path]);
        assert!(daemon.next().starts_with("ready "));
        let open = || TcpStream::connect((V4, port::ECHO)).expect("connected");
        let mut streams = [open(), open(), open()];
        for stream in &mut streams {
            echo(stream).expect("an echo");
        }
        let write = |lines: &str| fs::write(&path, format!("{net}{lines}\n")).expect("written");

        write("max_connections = 2\nmax_half_open = 9\nudp_queue_bytes = 9999\n[tcp]\nbacklog = 1");
        assert_eq!(
            daemon.reload(),
            "reloaded changed=max_connections,max_half_open,tcp.backlog restart-for=udp_queue_bytes"
        );
        for stream in &mut streams {
            echo(stream).expect("it stays");
        }
        // The handshake of a fourth is answered, but nobody takes it.
        let mut fourth =
            stream::connect_within((V4, port::ECHO).into(), Duration::from_millis(300));
        assert!(fourth.as_mut().map_or(true, |fourth| echo(fourth).is_err()));
        drop(fourth);

        // What cannot be is refused by name, and nothing else of it is done.
        write("max_connections = 7\nmemory_bytes = 1048576\n");
        let line = daemon.reload();
        assert!(
            line.starts_with("reloaded changed=none restart-for=none failed: limits: config: memory_bytes is 1048576"),
            "{line}"
        );

        write("max_connections = 100\nmemory_bytes = 67108864\n");
        assert_eq!(
            daemon.reload(),
            "reloaded changed=max_connections,max_half_open,memory_bytes,tcp.backlog restart-for=none"
        );
        let mut fourth = open();
        echo(&mut fourth).expect("there is room again");
        for stream in &mut streams {
            echo(stream).expect("it stays");
        }
    });
}
