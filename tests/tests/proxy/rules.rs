//! Rules: what becomes of a flow, and where they come from.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use netstackd::child::Daemon;
use tests::world::{Scratch, eventually};
use tests::{program, upstream};

use super::{
    PATIENCE, REFUSED, SERVER, UNSPECIFIED, World, connect, echo, outside, reverser, upstream_flags,
};

#[test]
fn rules_are_read_again_and_flows_that_are_there_stay() {
    outside(|| {
        let tcp = reverser(SERVER[0]);
        let files = Scratch::new("proxy-rules");
        let rules = files.write("rules", "direct any\n");
        let mut world = World::new(&["--rules", &rules]);
        let stream = world.inside(move || connect(tcp).expect("a connection"));
        files.write("rules", "reject tcp any\n");
        let said = world.reloaded();
        assert!(said.starts_with("reloaded changed=rules "), "{said}");
        assert_eq!(world.refusal(tcp), REFUSED);
        // Wrong rules change nothing.
        files.write("rules", "reject tcp any 0x\n");
        let said = world.reloaded();
        assert!(
            said.starts_with("not-reloaded ") && said.contains("line 1"),
            "{said}"
        );
        assert_eq!(world.refusal(tcp), REFUSED);
        let answer = world.inside(move || {
            let mut stream = stream;
            stream.write_all(b"still here").expect("sent");
            stream
                .shutdown(std::net::Shutdown::Write)
                .expect("shut down");
            let mut all = Vec::new();
            stream.read_to_end(&mut all).expect("the answer");
            all
        });
        assert_eq!(answer, b"ereh llits");
    });
}

#[test]
fn rules_are_keys_of_the_configuration_and_change_with_it() {
    outside(|| {
        let servers = SERVER.map(reverser);
        let (proxy, through) = upstream::socks5(SERVER[0].parse().expect("an address"));
        let files = Scratch::new("proxy-keys");
        let config = |text: &str| files.write("net.toml", text);
        let path = config("rules = [\"reject tcp 203.0.113.0/24\", \"direct any\"]\n");
        let mut world = World::new(&["--config", &path]);
        assert_eq!(world.refusal(servers[0]), REFUSED);
        assert_eq!(world.reversed(servers[1], b"direct"), b"tcerid");
        // An upstream takes what no rule names; another key changes with it.
        let url = upstream_flags("socks5", proxy);
        config(&format!(
            "upstream = \"{url}\"\nlog = \"error\"\nrules = [\"reject tcp 2001:db8::/32\"]\n"
        ));
        let said = world.reloaded();
        assert!(
            said.starts_with("reloaded changed=log,upstream,rules "),
            "{said}"
        );
        assert_eq!(world.reversed(servers[0], b"proxied"), b"deixorp");
        assert_eq!(world.refusal(servers[1]), REFUSED);
        assert_eq!(through.connections(), 1);
        // One wrong key, and nothing changes.
        config("log = \"warn\"\nrules = [\"allow any\"]\n");
        let said = world.reloaded();
        assert!(said.contains("line 2: key 'rules': 'allow any'"), "{said}");
        assert_eq!(world.reversed(servers[0], b"still"), b"llits");
        drop(world);
        eventually("the device's end", || {
            !std::path::Path::new("/sys/class/net/t0").exists()
        });
        // The command line comes first.
        config("rules = [\"reject tcp any\"]\n");
        let world = World::new(&["--config", &path, "--rule", "direct 203.0.113.0/24"]);
        assert_eq!(world.reversed(servers[0], b"direct"), b"tcerid");
        assert_eq!(world.refusal(servers[1]), REFUSED);
    });
}

#[test]
fn what_is_no_proxy_has_no_rules() {
    outside(|| {
        let files = Scratch::new("proxy-no-rules");
        let text = "tun = \"t0\"\naddr = \"10.77.0.2/24\"\nrules = [\"direct any 80\"]\n";
        let path = files.write("net.toml", text);
        let failure = Daemon::start(program!(), &["--config", &path]).expect_err("refused");
        let text = failure.to_string();
        assert!(text.contains("line 3: key 'rules'"), "{text}");
        assert!(text.contains("netstackd proxy"), "{text}");
        // They are shown as they are read.
        let print = |path: &str| {
            let output = Command::new(program!())
                .args(["config", "print", "--config", path])
                .output()
                .expect("it starts");
            String::from_utf8(output.stdout).expect("text")
        };
        let more = "upstream = \"socks5://us%40er:p%3Ass@[::1]:1\"\nrules = [\"drop udp 10.0.0.0/8,::1/128 1-9,443\"]";
        let path = files.write("more.toml", &text_with(more));
        let first = print(&path);
        assert!(first.contains("socks5://us%40er:p%3Ass@[::1]:1"), "{first}");
        assert!(
            first.contains("drop udp 10.0.0.0/8,::1/128 1-9,443"),
            "{first}"
        );
        let again = files.write("again.toml", &first);
        let values = |text: &str| -> Vec<String> {
            let lines = text.lines().map(|line| line.split(" # ").next());
            lines
                .flatten()
                .map(|line| line.trim_end().to_owned())
                .collect()
        };
        assert_eq!(values(&print(&again)), values(&first));
    });
}

/// A configuration with some more lines.
fn text_with(more: &str) -> String {
    format!("tun = \"t0\"\naddr = \"10.77.0.2/24\"\n{more}\n")
}

#[test]
fn a_refused_datagram_is_answered_as_by_a_closed_port() {
    outside(|| {
        let servers = SERVER.map(echo);
        let world = World::new(&["--rule", "reject udp any"]);
        for to in servers {
            let errors = world.inside(move || {
                let any = UNSPECIFIED[usize::from(to.is_ipv6())];
                let socket = UdpSocket::bind((any, 0)).expect("a socket");
                socket.connect(to).expect("connected");
                socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                // Each datagram of the flow is answered, not only the first.
                [(); 3].map(|()| {
                    socket.send(b"?").expect("sent");
                    let received = socket.recv(&mut [0; 100]);
                    received.map_err(|error| error.kind()).err()
                })
            });
            assert_eq!(errors, [Some(ErrorKind::ConnectionRefused); 3], "{to}");
        }
    });
}

#[test]
fn a_dropped_flow_gets_no_answer() {
    outside(|| {
        let (tcp, udp) = (reverser(SERVER[0]), echo(SERVER[0]));
        let world = World::new(&["--rule", "drop any"]);
        let kind = world.inside(move || {
            let connected = TcpStream::connect_timeout(&tcp, Duration::from_millis(500));
            connected.map_err(|error| error.kind()).err()
        });
        assert_eq!(kind, Some(ErrorKind::TimedOut));
        assert!(!world.echoed(udp, Duration::from_millis(300)));
    });
}

#[test]
fn mistakes_are_named_with_advice() {
    outside(|| {
        let files = Scratch::new("proxy-mistakes");
        let rules = files.write("rules", "direct any\nallow any\n");
        let base = ["--tun", "t0", "--addr", "10.77.0.2/24"];
        for (flags, status, what, advice) in [
            (&["--rules", &rules][..], 3, "line 2", "direct, proxy"),
            (
                &["--impair", "loss=1%", "--queues", "2"],
                2,
                "--queues",
                "one queue",
            ),
            (&["--mark", "x"], 2, "--mark", "x"),
            (&["--udp-idle", "5"], 2, "--udp-idle '5'", "30s"),
            (&["--connect-timeout", "2m"], 2, "--connect-timeout", "55s"),
            (&["--max-connections", "0"], 2, "--max-connections", "0"),
        ] {
            let output = Command::new(program!())
                .arg("proxy")
                .args(base)
                .args(flags)
                .output()
                .expect("it starts");
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(status), "{flags:?}: {stderr}");
            assert!(stderr.contains(what) && stderr.contains(advice), "{stderr}");
            assert_eq!(stderr.trim().lines().count(), 1, "{stderr}");
        }
        // Without a job the daemon still is what it was.
        let daemon = Daemon::start(program!(), &base);
        assert!(daemon.is_ok());
    });
}
