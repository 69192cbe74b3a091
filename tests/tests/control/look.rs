//! `ss`, `stats` and `events`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use netstackd::probe::stream;
use tests::world::{SetOnDrop, V4, eventually, in_namespace, nft, port, targets};

use super::{HOST, interrupt, rows, world};

#[test]
fn ss_lists_what_the_filter_accepts() {
    in_namespace(|| {
        let world = world("ss", &["--services", "echo,discard"]);
        let mut streams: Vec<TcpStream> = Vec::new();
        for target in targets(port::ECHO) {
            let mut stream = TcpStream::connect(target).expect("an echo service");
            stream.write_all(b"hello").expect("written");
            stream.read_exact(&mut [0; 5]).expect("echoed");
            streams.push(stream);
        }
        let text = world.text("ss -tn");
        let found = rows(&text);
        assert_eq!(found[0][0], "Netid", "{text}");
        assert_eq!(found.len(), 3, "{text}");
        for (stream, target) in streams.iter().zip(targets(port::ECHO)) {
            let peer = stream.local_addr().expect("bound").to_string();
            let expected = ["tcp", "ESTAB", "0", "0", &target.to_string(), &peer];
            assert!(
                found.iter().any(|row| row == &expected),
                "{expected:?}: {text}"
            );
        }
        let listening = rows(&world.text("ss -Htuln"));
        let services = 2 * 2;
        let tcp = listening.iter().filter(|row| row[1] == "LISTEN").count();
        let udp = listening
            .iter()
            .filter(|row| row[..2] == ["udp", "UNCONN"])
            .count();
        assert_eq!(tcp, services);
        // One socket for each worker.
        assert_eq!(udp % services, 0);
        assert!(udp >= services);
        assert_eq!(rows(&world.text("ss -Htan state established")).len(), 2);
        assert_eq!(rows(&world.text("ss -Hta4 state established")).len(), 1);
        assert_eq!(rows(&world.text(&format!("ss -H dst {HOST}/32"))).len(), 1);
        assert_eq!(rows(&world.text("ss -H dst 10.78.0.0/16")).len(), 0);
        assert_eq!(
            rows(&world.text("ss -Hta sport = :9 src fd77::/64")).len(),
            1
        );
        let info = world.text("ss -Htim4");
        for word in [
            "rtt:",
            "cwnd:",
            "bytes_received:5",
            "bytes_acked:5",
            "skmem:(",
            "worker:",
        ] {
            assert!(info.contains(word), "{word}: {info}");
        }
        let json = world.text("ss -t4 --json");
        assert!(
            json.contains(r#""netid":"tcp","state":"established""#)
                && json.contains(r#""bytes_received":5"#),
            "{json}"
        );
        for (words, says) in [("ss state open", "'open'"), ("ss dst nowhere", "'nowhere'")] {
            let output = world.run(words);
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{stderr}");
            assert!(stderr.contains(says), "{stderr}");
        }
    });
}

#[test]
fn ss_says_what_holds_a_connection_back() {
    in_namespace(|| {
        let world = world("held", &["--services", "chargen"]);
        let silent = TcpStream::connect((V4, port::CHARGEN)).expect("a chargen service");
        eventually("the peer's window holds it back", || {
            let info = world.text("ss -Hti4 state established");
            let word = |name| info.split_whitespace().find(|word| word.starts_with(name));
            let (busy, held) = (word("busy:"), word("rwnd_limited:"));
            // The client never reads, so nearly all of the time was spent on its closed window.
            let share = held.and_then(|held| held.split_once('(')?.1.strip_suffix("%)"));
            let share = share.map(|share| share.parse::<f64>().expect("a number"));
            busy.is_some() && share.is_some_and(|share| share > 90.0)
        });
        drop(silent);
    });
}

#[test]
fn ss_lists_what_is_half_open_and_in_time_wait() {
    in_namespace(|| {
        let world = world("ss-brief", &[]);
        // The service closes first.
        let mut stream = TcpStream::connect((V4, port::DAYTIME)).expect("a service");
        let closed = stream.local_addr().expect("bound").to_string();
        stream.read_to_end(&mut Vec::new()).expect("the time");
        drop(stream);
        let mut found = Vec::new();
        eventually("it is in TIME-WAIT", || {
            found = rows(&world.text("ss -Htn state time-wait"));
            !found.is_empty()
        });
        let local = format!("{V4}:{}", port::DAYTIME);
        assert_eq!(found, [["tcp", "TIME-WAIT", "0", "0", &local, &closed]]);
        assert!(
            world
                .text("ss -Hti state time-wait")
                .contains("timer:(timewait,")
        );
        assert_eq!(world.text("ss -Htn"), "", "as in ss, only if asked for");
        // The kernel does not hear the SYN-ACK.
        nft(&format!(
            "add table ip deaf; add chain ip deaf in {{ type filter hook input priority 0; }}; \
             add rule ip deaf in tcp sport {} drop",
            port::ECHO
        ));
        let opening = thread::spawn(|| {
            let address = SocketAddr::from((V4, port::ECHO));
            TcpStream::connect_timeout(&address, Duration::from_secs(20))
        });
        eventually("it is half open", || {
            let found = rows(&world.text("ss -Htn state syn-recv sport = :7"));
            found
                .iter()
                .any(|row| row[1] == "SYN-RECV" && row[5].starts_with(HOST))
        });
        let json = world.text("ss -t --json state bucket");
        assert!(
            json.contains(r#""state":"syn-recv""#) && json.contains(r#""state":"time-wait""#),
            "{json}"
        );
        assert!(json.contains(r#""timer":{"remaining_millis":"#), "{json}");
        nft("delete table ip deaf");
        opening.join().expect("no panic").expect("open at last");
    });
}

#[test]
fn stats_tell_the_work_of_each_worker() {
    in_namespace(|| {
        let world = world("workers", &["--queues", "2"]);
        for _ in 0..8 {
            stream::echo(SocketAddr::from((V4, port::ECHO)), 100_000).expect("echoed");
        }
        let of = |text: &str, name: &str| {
            let row = rows(text).into_iter().find(|row| row[0] == name);
            row.map_or(0, |row| row[1].parse::<u64>().expect("a number"))
        };
        // The last acknowledgments may be on their way.
        eventually("the parts make up the whole", || {
            let text = world.text("stats netstack.bytes_* worker.* now.workers");
            assert_eq!(of(&text, "now.workers"), 2, "{text}");
            ["bytes_in", "bytes_out"].iter().all(|name| {
                let parts = [0, 1].map(|worker| of(&text, &format!("worker.{worker}.{name}")));
                let all = of(&text, &format!("netstack.{name}"));
                all > 800_000 && parts.iter().sum::<u64>() == all
            })
        });
        let text = world.text("stats worker.*");
        let busy: u64 = [0, 1]
            .map(|worker| of(&text, &format!("worker.{worker}.busy_micros")))
            .iter()
            .sum();
        assert!(busy > 0, "{text}");
        assert!(
            world
                .text("stats -z now.worker.*")
                .contains("now.worker.1.queue")
        );
    });
}

#[test]
fn stats_counts_and_rates() {
    in_namespace(|| {
        let world = world("stats", &[]);
        stream::echo(SocketAddr::from((V4, port::ECHO)), 100_000).expect("echoed");
        let text = world.text("stats Tcp* netstack.* now.*");
        let of = |name: &str| {
            let row = rows(&text).into_iter().find(|row| row[0] == name);
            row.map_or(0, |row| row[1].parse::<u64>().expect("a number"))
        };
        assert_eq!(of("TcpPassiveOpens"), 1, "{text}");
        assert!(
            of("TcpInSegs") > 2 && of("netstack.bytes_in") > 100_000,
            "{text}"
        );
        assert!(of("now.memory_limit") > 1 << 20, "{text}");
        assert!(
            !text.contains("IpInReceives"),
            "only what is asked for: {text}"
        );
        assert!(world.text("stats -z").contains("drop.tcp_paws"));
        // A flow that goes on while the rates are taken.
        let flow = thread::spawn(|| {
            let socket = UdpSocket::bind((HOST, 0)).expect("a socket");
            for _ in 0..300 {
                socket.send_to(b"x", (V4, port::DISCARD)).expect("sent");
                thread::sleep(Duration::from_millis(10));
            }
        });
        let text = world.text("stats -i 1 -c 1 UdpInDatagrams");
        let rate: f64 = rows(&text)[1][2].parse().expect("a rate");
        assert!(rate > 0.0, "{text}");
        flow.join().expect("sent");
        assert!(
            world
                .text("stats --json UdpInDatagrams")
                .contains(r#"{"UdpInDatagrams":{"rate":0.0,"value":300}}"#)
        );
    });
}

#[test]
fn events_of_one_flow_are_shown_as_they_happen() {
    in_namespace(|| {
        let world = world("events", &[]);
        let mut events = world.spawn("events --port 7 --json");
        let lines = BufReader::new(events.0.stdout.take().expect("stdout"));
        let is_over = AtomicBool::new(false);
        let (peers, seen) = thread::scope(|scope| {
            let flows = scope.spawn(|| {
                // Events come from when the daemon has heard of the wish.
                let mut peers = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    drop(TcpStream::connect((V4, port::DISCARD)).expect("another flow"));
                    let flow = TcpStream::connect((V4, port::ECHO)).expect("the flow");
                    peers.push(flow.local_addr().expect("bound").to_string());
                    thread::sleep(Duration::from_millis(20));
                }
                peers
            });
            let mut seen = Vec::new();
            let _over = SetOnDrop(&is_over);
            for line in lines.lines() {
                seen.push(line.expect("a line"));
                if seen.iter().any(|line| line.contains(r#""to":"last-ack""#)) {
                    break;
                }
            }
            is_over.store(true, Ordering::Relaxed);
            (flows.join().expect("no panic"), seen)
        });
        for line in &seen {
            assert!(
                line.contains(r#""local":"10.77.0.2:7""#),
                "of another flow: {line}"
            );
            assert!(
                peers.iter().any(|peer| line.contains(peer)),
                "{line}: {peers:?}"
            );
        }
        let all = seen.concat();
        assert!(
            all.contains(
                r#""event":"state-changed","fields":{"from":"established","to":"close-wait"}"#
            ),
            "{all}"
        );
        interrupt(&events.0);
        assert!(events.0.wait().expect("it ends").success());
        // Another one may come after it.
        let mut events = world.spawn("events --count 1");
        eventually("an event came", || {
            drop(TcpStream::connect((V4, port::ECHO)));
            events.0.try_wait().expect("a child").is_some()
        });
    });
}
