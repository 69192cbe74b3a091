//! `netstackd exec`: commands whose only network is the stack, with programs that people use.

mod command;
mod link;

use std::net::UdpSocket;
use std::process::{Command, Output, Stdio};
use std::thread;

use tests::jobs::{SERVER, outside};
use tests::program;
use tests::world::{Running, Scratch, eventually, in_namespace, in_namespace_with_mounts};

/// `netstackd exec FLAGS -- WORDS`.
fn exec(flags: &[&str], words: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command
        .args(["--kill-after=5", "90"])
        .arg(program!())
        .arg("exec")
        .args(flags)
        .arg("--")
        .args(words);
    command
}

fn run(flags: &[&str], words: &[&str]) -> Output {
    exec(flags, words).output().expect("timeout runs")
}

/// Runs it and returns what it printed.
fn good(flags: &[&str], words: &[&str]) -> String {
    let output = run(flags, words);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{flags:?} {words:?}: {:?} {stderr}",
        output.status
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn code(flags: &[&str], words: &[&str]) -> (Option<i32>, String) {
    let output = run(flags, words);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), stderr)
}

/// Serves the files of a directory.
fn web(directory: &Scratch, address: &str) -> Running {
    let child = Command::new("python3")
        .args([
            "-m",
            "http.server",
            "8000",
            "--bind",
            address,
            "--directory",
        ])
        .arg(directory.path(""))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("this test needs python3");
    eventually("a web server", || {
        std::net::TcpStream::connect((address, 8000)).is_ok()
    });
    Running(child)
}

#[test]
fn git_clones_and_iperf3_measures() {
    in_namespace(|| {
        outside();
        let files = Scratch::new("exec-git");
        let repository = files.path("origin");
        let git = |words: &[&str]| {
            let output = Command::new("git")
                .args(["-c", "user.name=a", "-c", "user.email=a@b", "-C"])
                .arg(&repository)
                .args(words)
                .output()
                .expect("this test needs git");
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
        };
        std::fs::create_dir(&repository).expect("a directory");
        git(&["init", "-q"]);
        std::fs::write(repository.join("file"), netstackd::probe::noise(3, 500_000))
            .expect("a file");
        git(&["add", "file"]);
        git(&["commit", "-qm", "one"]);
        // The program itself: `git daemon` would only start it.
        let programs = Command::new("git")
            .arg("--exec-path")
            .output()
            .expect("git");
        let programs = String::from_utf8_lossy(&programs.stdout).trim().to_owned();
        let daemon = Command::new(format!("{programs}/git-daemon"))
            .args(["--export-all", "--listen=203.0.113.9", "--reuseaddr"])
            .arg(format!("--base-path={}", files.path("").display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("git daemon");
        let _daemon = Running(daemon);
        eventually("git daemon", || {
            std::net::TcpStream::connect((SERVER[0], 9418)).is_ok()
        });
        let clone = files.path("clone").display().to_string();
        good(
            &["--impair", "loss=0.5%,delay=2ms"],
            &["git", "clone", "-q", "git://203.0.113.9/origin", &clone],
        );
        let (here, there) = (files.path("clone").join("file"), repository.join("file"));
        assert_eq!(
            std::fs::read(here).expect("cloned"),
            std::fs::read(there).expect("original")
        );

        for flags in [&[][..], &["-R"], &["-u", "-b", "20M"]] {
            let server = Command::new("iperf3")
                .args(["-s", "-1", "-B", SERVER[0]])
                .stdout(Stdio::null())
                .spawn()
                .expect("this test needs iperf3");
            let _server = Running(server);
            // A connection to look whether it is there would be its only client.
            let mut text = String::new();
            eventually("iperf3", || {
                let output = run(
                    &[],
                    &[&["iperf3", "-c", SERVER[0], "-t", "1", "--json"], flags].concat(),
                );
                text = String::from_utf8_lossy(&output.stdout).into_owned();
                output.status.success()
            });
            assert!(text.contains("bits_per_second"), "{text}");
        }
    });
}

#[test]
fn names_are_asked_of_the_machine_or_answered_with_virtual_addresses() {
    in_namespace_with_mounts(|| {
        outside();
        let files = Scratch::new("exec-names");
        // The machine's resolver, which knows one name.
        let resolver = UdpSocket::bind((SERVER[0], 53)).expect("a port");
        thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((len, from)) = resolver.recv_from(&mut query) {
                let mut answer = query[..len].to_vec();
                let is_address = query[len - 3] == 1;
                (answer[2], answer[3]) = (0x81, 0x80);
                // Neither is said about additional records; the question ends the answer.
                answer[10..12].fill(0);
                if is_address {
                    answer[7] = 1;
                    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 9]);
                }
                let _ = resolver.send_to(&answer, from);
            }
        });
        let text = files.write(
            "resolv.conf",
            &format!("nameserver {}\noptions timeout:20\n", SERVER[0]),
        );
        let hosts = files.write("hosts", "203.0.113.9 known.test\n");
        let nothing = None::<&str>;
        for (from, to) in [(&text, "/etc/resolv.conf"), (&hosts, "/etc/hosts")] {
            if std::path::Path::new(to).exists() {
                let bind = nix::mount::MsFlags::MS_BIND;
                nix::mount::mount(Some(from.as_str()), to, nothing, bind, nothing)
                    .expect("a mount");
            }
        }
        std::fs::write(files.path("file"), "by name").expect("a file");
        let _server = web(&files, SERVER[0]);
        let url = "http://asked.test:8000/file";
        assert_eq!(good(&[], &["curl", "-4", "-sS", "--fail", url]), "by name");
        // The name goes to the machine as it is: its own file knows it.
        let script = "import socket, sys\n\
            a = socket.gethostbyname('virtual.test'); print(a)\n\
            import urllib.request\n\
            print(urllib.request.urlopen('http://virtual.test:8000/file').read().decode())";
        let flags = ["--dns", "virtual=198.51.100.0/24"];
        std::fs::write(&hosts, "203.0.113.9 virtual.test\n").expect("the machine's names");
        let inside = [
            "sh",
            "-c",
            "umount /etc/hosts 2>/dev/null; exec python3 -c \"$0\"",
            script,
        ];
        assert_eq!(good(&flags, &inside), "198.51.100.1\nby name\n");
    });
}

#[test]
fn a_host_loopback_address_is_mapped_only_when_asked_for() {
    in_namespace(|| {
        let listener = UdpSocket::bind("127.0.0.1:9000").expect("a port");
        thread::spawn(move || {
            let mut buffer = [0; 100];
            while let Ok((len, from)) = listener.recv_from(&mut buffer) {
                let _ = listener.send_to(&buffer[..len], from);
            }
        });
        let script = "import socket\n\
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(float(__import__('sys').argv[1]))\n\
            s.sendto(b'hello', ('10.77.0.9', 9000))\n\
            try: print(s.recv(100))\n\
            except OSError: print('nothing')";
        let mapped = good(
            &["--map-host-loopback", "10.77.0.9"],
            &["python3", "-c", script, "30"],
        );
        assert_eq!(mapped.trim(), "b'hello'");
        assert_eq!(
            good(&[], &["python3", "-c", script, "0.3"]).trim(),
            "nothing"
        );
    });
}

#[test]
fn mistakes_are_named_with_advice() {
    in_namespace(|| {
        for (flags, status, what, advice) in [
            (&["--impair", "los=1%"][..], 2, "los", "loss, gilbert"),
            (&["--upstream", "ftp://h"], 2, "ftp://h", "socks5://"),
            (&["--rule", "allow any"], 2, "allow", "direct, proxy"),
            (&["--rules", "/nowhere"], 3, "/nowhere", "name a file"),
            (&["--dns", "x"], 2, "--dns 'x'", "virtual"),
            (&["--mtu", "100"], 2, "--mtu '100'", "1280"),
            (
                &["--pcap", "/nowhere/file"],
                2,
                "/nowhere/file",
                "written to",
            ),
        ] {
            let (is, stderr) = code(flags, &["true"]);
            assert_eq!(is, Some(status), "{flags:?}: {stderr}");
            assert!(stderr.contains(what) && stderr.contains(advice), "{stderr}");
        }
        let output = Command::new(program!())
            .arg("exec")
            .output()
            .expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains("--"), "{stderr}");
    });
}

#[test]
fn rules_come_from_the_configuration_and_the_environment_too() {
    in_namespace(|| {
        outside();
        let files = Scratch::new("exec-rules");
        let _server = web(&files, SERVER[0]);
        let url = "http://203.0.113.9:8000/";
        let curl = ["curl", "-sS", "--max-time", "60", "-o", "/dev/null", url];
        let config = files.write("rules.toml", "rules = [\"reject tcp any 8000\"]\n");
        good(&[], &curl);
        // curl's code for a connection that is refused.
        assert_eq!(code(&["--config", &config], &curl).0, Some(7));
        good(&["--config", &config, "--rule", "direct any"], &curl);
        let rules = "direct udp any; reject tcp any 8000";
        let output = exec(&[], &curl).env("NETSTACKD_RULES", rules).output();
        assert_eq!(output.expect("timeout runs").status.code(), Some(7));
        files.write("rules.toml", "\nrules = [\"allow any\"]\n");
        let (status, stderr) = code(&["--config", &config], &curl);
        assert_eq!(status, Some(3), "{stderr}");
        assert!(
            stderr.contains("line 2: key 'rules': 'allow any'"),
            "{stderr}"
        );
    });
}
