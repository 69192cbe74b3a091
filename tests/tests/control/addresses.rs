//! `nc` and `ping` from the daemon's addresses.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use netstackd::probe::noise;
use tests::world::{BOTH, V4, eventually, in_namespace};

use super::{HOST, interrupt, line_of, world};

#[test]
fn nc_carries_bytes_both_ways_over_both_families() {
    in_namespace(|| {
        let world = world("nc", &[]);
        for host in [HOST, "fd77::1"] {
            let listener = TcpListener::bind((host, 0)).expect("a listener of the kernel");
            let at = listener.local_addr().expect("bound").port();
            let mut nc = world.spawn(&format!("nc -p 4000 {host} {at}"));
            let (mut stream, peer) = listener.accept().expect("it connects");
            assert_eq!(peer.port(), 4_000);
            assert!(BOTH.contains(&peer.ip()), "{peer}");
            let sent = noise(3, 3_000_000);
            let mut stdin = nc.0.stdin.take().expect("stdin");
            thread::scope(|scope| {
                scope.spawn(|| {
                    stdin.write_all(&sent).expect("written");
                    drop(stdin);
                });
                // The end of stdin is the end of the stream, and the other direction stays open.
                let mut got = Vec::new();
                stream.read_to_end(&mut got).expect("read");
                assert!(got == sent, "what stdin had");
            });
            let mut got = Vec::new();
            let mut stdout = nc.0.stdout.take().expect("stdout");
            thread::scope(|scope| {
                scope.spawn(|| stdout.read_to_end(&mut got).expect("read"));
                stream.write_all(&sent).expect("written");
                stream.shutdown(Shutdown::Write).expect("closed");
            });
            assert!(got == sent, "what the peer sent");
            assert!(nc.0.wait().expect("it ends").success());
        }
    });
}

#[test]
fn what_a_client_says_before_it_is_connected_is_not_lost() {
    in_namespace(|| {
        let world = world("nc-early", &[]);
        let listen = |port: u16| {
            let (mut control, replies) = world.raw();
            writeln!(
                control,
                r#"{{"protocol":1,"request":"nc","listen":true,"local":"{V4}:{port}"}}"#
            )
            .expect("written");
            (control, replies)
        };
        let (mut control, _replies) = listen(8_081);
        for line in [
            r#"{"request":"data","data":"aGVsbG8="}"#,
            r#"{"request":"eof"}"#,
        ] {
            writeln!(control, "{line}").expect("written");
        }
        let mut text = String::new();
        eventually("the daemon listens", || {
            TcpStream::connect((V4, 8_081))
                .is_ok_and(|mut stream| stream.read_to_string(&mut text).is_ok())
        });
        assert_eq!(text, "hello");
        // More than may wait is an error, which says what to do.
        let (mut control, mut replies) = listen(8_082);
        for _ in 0..17 {
            writeln!(control, r#"{{"request":"data","data":"aGVsbG8="}}"#).expect("written");
        }
        let reply = line_of(&mut replies);
        assert!(reply.contains("wait for its reply"), "{reply}");
    });
}

#[test]
fn nc_listens_and_says_why_it_fails() {
    in_namespace(|| {
        let world = world("nc-listen", &["--services", "echo"]);
        let mut nc = world.spawn(&format!("nc -l {V4} 8080"));
        let mut stream = loop {
            match TcpStream::connect((V4, 8_080)) {
                Ok(stream) => break stream,
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        };
        stream.write_all(b"to the daemon").expect("written");
        stream.shutdown(Shutdown::Write).expect("closed");
        drop(nc.0.stdin.take());
        let mut got = String::new();
        nc.0.stdout
            .take()
            .expect("stdout")
            .read_to_string(&mut got)
            .expect("read");
        assert_eq!(got, "to the daemon");
        assert!(nc.0.wait().expect("it ends").success());
        for (words, says) in [
            (format!("nc {HOST} 1"), "refused"),
            (format!("nc -l {V4} 7"), "in use"),
            (
                "nc -p 7 -s 10.99.0.1 10.77.0.1 1".to_owned(),
                "10.77.0.1:1 cannot be connected to",
            ),
        ] {
            let output = world.run(&words);
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{words}: {stderr}");
            assert!(stderr.contains(says), "{words}: {stderr}");
        }
    });
}

#[test]
fn nc_carries_datagrams() {
    in_namespace(|| {
        let world = world("nc-udp", &[]);
        let server = UdpSocket::bind((HOST, 0)).expect("a socket of the kernel");
        server
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("a timeout");
        let at = server.local_addr().expect("bound").port();
        let mut nc = world.spawn(&format!("nc -u {HOST} {at}"));
        nc.0.stdin
            .as_mut()
            .expect("stdin")
            .write_all(b"question")
            .expect("written");
        let mut buffer = [0; 64];
        let (len, peer) = server.recv_from(&mut buffer).expect("a datagram");
        assert_eq!(&buffer[..len], b"question");
        server.send_to(b"answer", peer).expect("sent");
        let mut got = [0; 6];
        nc.0.stdout
            .as_mut()
            .expect("stdout")
            .read_exact(&mut got)
            .expect("the answer");
        assert_eq!(&got, b"answer");
        interrupt(&nc.0);
        nc.0.wait().expect("it ends");

        let mut nc = world.spawn("nc -u -l -p 5353");
        let client = UdpSocket::bind((HOST, 0)).expect("a socket of the kernel");
        let mut got = [0; 5];
        let mut stdout = nc.0.stdout.take().expect("stdout");
        thread::scope(|scope| {
            let reading = scope.spawn(|| stdout.read_exact(&mut got));
            // The first ones may come before it listens.
            while !reading.is_finished() {
                client.send_to(b"hello", (V4, 5_353)).expect("sent");
                thread::sleep(Duration::from_millis(20));
            }
            reading.join().expect("no panic").expect("a datagram");
        });
        assert_eq!(&got, b"hello");
    });
}

#[test]
fn ping_is_answered_or_says_that_it_is_not() {
    in_namespace(|| {
        let world = world("ping-client", &[]);
        for host in [HOST, "fd77::1"] {
            let text = world.text(&format!("ping -c 3 -i 0.01 -s 1000 {host}"));
            assert!(
                text.contains(&format!("1008 bytes from {host}: icmp_seq=1 time=")),
                "{text}"
            );
            assert!(
                text.contains("3 packets transmitted, 3 received, 0% packet loss"),
                "{text}"
            );
            assert!(text.contains("rtt min/avg/max/mdev = "), "{text}");
        }
        let output = world.run("ping -c 2 -i 0.01 -W 0.2 10.77.0.99");
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert!(
            out.contains("2 packets transmitted, 0 received, 100% packet loss"),
            "{out}"
        );
        assert!(err.contains("no answer came from 10.77.0.99"), "{err}");
        // Until it is interrupted.
        let mut ping = world.spawn(&format!("ping -i 0.01 {HOST}"));
        let mut stdout = BufReader::new(ping.0.stdout.take().expect("stdout"));
        (0..3).for_each(|_| drop(line_of(&mut stdout)));
        interrupt(&ping.0);
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).expect("text");
        assert!(rest.contains("packets transmitted"), "{rest}");
        assert!(ping.0.wait().expect("it ends").success());
    });
}
