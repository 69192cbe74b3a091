//! `netstackd exec`: commands whose only network is the stack, with programs that people use.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sha2::{Digest as _, Sha256};
use tests::program;
use tests::world::{
    Running, Scratch, eventually, in_namespace, in_namespace_with_mounts, ip, require_root,
};

/// Addresses of servers outside.
const SERVER: [&str; 2] = ["203.0.113.9", "2001:db8::9"];

/// Gives the machine outside the servers' addresses.
fn outside() {
    ip("addr add 203.0.113.9/32 dev lo");
    ip("addr add 2001:db8::9/128 dev lo nodad");
}

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
fn curl_fetches_a_file_over_both_families_and_a_bad_link() {
    in_namespace(|| {
        outside();
        let files = Scratch::new("exec-curl");
        let bytes = netstackd::probe::noise(7, 3_000_000);
        std::fs::write(files.path("file"), &bytes).expect("a file");
        for address in SERVER {
            let _server = web(&files, address);
            let host = if address.contains(':') {
                format!("[{address}]")
            } else {
                address.to_owned()
            };
            let url = format!("http://{host}:8000/file");
            for flags in [&[][..], &["--impair", "loss=1%,delay=5ms,reorder=1%"]] {
                let copy = files.path("copy");
                good(
                    flags,
                    &[
                        "curl",
                        "-sS",
                        "--fail",
                        "-o",
                        &copy.display().to_string(),
                        &url,
                    ],
                );
                let copied = std::fs::read(&copy).expect("the copy");
                assert_eq!(
                    Sha256::digest(&copied),
                    Sha256::digest(&bytes),
                    "{flags:?} {url}"
                );
            }
        }
    });
}

#[test]
fn a_closed_port_is_closed_and_what_is_not_there_cannot_be_reached() {
    in_namespace(|| {
        outside();
        let connect = "import socket, sys\n\
            try: socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)\n\
            except OSError as e: print(type(e).__name__, e.errno)\n\
            else: print('connected')";
        for address in SERVER {
            let answer = good(&[], &["python3", "-c", connect, address, "1"]);
            assert_eq!(answer.trim(), "ConnectionRefusedError 111", "{address}");
        }
        // There is no route to these outside.
        for address in ["198.51.100.1", "2001:db8:1::1"] {
            let answer = good(&[], &["python3", "-c", connect, address, "80"]);
            assert_eq!(answer.trim(), "OSError 101", "{address}");
        }
        let _listener = TcpListener::bind((SERVER[0], 80)).expect("a port");
        for (rule, answer) in [
            ("reject tcp any 80", "ConnectionRefusedError 111"),
            ("reject any 81", "connected"),
        ] {
            let answered = good(
                &["--rule", rule],
                &["python3", "-c", connect, SERVER[0], "80"],
            );
            assert_eq!(answered.trim(), answer, "{rule}");
        }
    });
}

#[test]
fn the_delay_of_the_link_is_felt() {
    in_namespace(|| {
        outside();
        let flags = ["--impair-up", "delay=40ms", "--impair-down", "delay=30ms"];
        for address in SERVER {
            let text = good(
                &flags,
                &["ping", "-c", "2", "-i", "0.2", "-W", "20", address],
            );
            let times: Vec<f64> = text
                .lines()
                .filter_map(|line| line.split("time=").nth(1)?.split(' ').next()?.parse().ok())
                .collect();
            assert_eq!(times.len(), 2, "{text}");
            assert!(times.iter().all(|time| *time >= 70.0), "{text}");
        }
    });
}

#[test]
fn both_directions_end_on_their_own() {
    in_namespace(|| {
        outside();
        let listener = TcpListener::bind((SERVER[0], 9000)).expect("a port");
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut all = Vec::new();
            stream.read_to_end(&mut all).expect("the client's end");
            all.reverse();
            stream.write_all(&all).expect("sent");
        });
        let script = "import socket, sys\n\
            s = socket.create_connection((sys.argv[1], 9000))\n\
            s.sendall(b'0123456789' * 50000); s.shutdown(socket.SHUT_WR)\n\
            n = 0\n\
            while d := s.recv(65536): n += len(d)\n\
            print(n)";
        assert_eq!(
            good(&[], &["python3", "-c", script, SERVER[0]]).trim(),
            "500000"
        );
        server.join().expect("the server");
    });
}

#[test]
fn a_reset_outside_is_a_reset_inside() {
    in_namespace(|| {
        outside();
        let listener = TcpListener::bind((SERVER[0], 9000)).expect("a port");
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            stream.read_exact(&mut [0; 1]).expect("a byte");
            let linger = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            linger.expect("an option");
        });
        let script = "import socket, sys\n\
            s = socket.create_connection((sys.argv[1], 9000))\n\
            s.sendall(b'x')\n\
            try: print(s.recv(1))\n\
            except ConnectionResetError: print('reset')";
        assert_eq!(
            good(&[], &["python3", "-c", script, SERVER[0]]).trim(),
            "reset"
        );
        server.join().expect("the server");
    });
}

#[test]
fn what_a_command_sends_last_arrives() {
    in_namespace(|| {
        outside();
        let listener = TcpListener::bind((SERVER[0], 9000)).expect("a port");
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut all = Vec::new();
            stream.read_to_end(&mut all).expect("everything");
            all.len()
        });
        // The command ends long before a slow link has carried what it sent.
        let script = "import socket, sys\n\
            s = socket.create_connection((sys.argv[1], 9000))\n\
            s.sendall(b'x' * 100000); s.close()";
        good(
            &["--impair", "rate=2mbit"],
            &["python3", "-c", script, SERVER[0]],
        );
        assert_eq!(server.join().expect("the server"), 100_000);
    });
}

#[test]
fn exit_codes_and_signals_are_those_of_the_command() {
    in_namespace(|| {
        for status in [0, 1, 42, 255] {
            let words = ["sh", "-c", &format!("exit {status}")];
            assert_eq!(run(&[], &words).status.code(), Some(status));
        }
        assert_eq!(code(&[], &["sh", "-c", "kill -TERM $$"]).0, Some(128 + 15));
        let (status, stderr) = code(&[], &["no-such-program"]);
        assert_eq!(status, Some(127));
        assert!(
            stderr.contains("no-such-program") && stderr.contains("behind --"),
            "{stderr}"
        );
        let (status, stderr) = code(&[], &["/etc/passwd"]);
        assert_eq!(status, Some(126), "{stderr}");
        // A signal for the program is one for the command.
        let script =
            "trap 'echo got it; exit 7' USR1 TERM; echo ready; while :; do sleep 0.05; done";
        for signal in [Signal::SIGUSR1, Signal::SIGTERM] {
            let mut child = Command::new(program!())
                .args(["exec", "--", "sh", "-c", script])
                .stdout(Stdio::piped())
                .spawn()
                .expect("it starts");
            let mut line = [0; 6];
            let mut stdout = child.stdout.take().expect("a pipe");
            stdout.read_exact(&mut line).expect("ready");
            kill(pid(&child), signal).expect("sent");
            assert_eq!(child.wait().expect("it ends").code(), Some(7), "{signal}");
        }
    });
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a process"))
}

#[test]
fn nothing_is_left_when_the_program_is_killed() {
    in_namespace(|| {
        let mut child = Command::new(program!())
            .args(["exec", "--", "sh", "-c", "echo $$; exec sleep 1000"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut text = String::new();
        let mut stdout = child.stdout.take().expect("a pipe");
        let mut byte = [0; 1];
        while stdout.read_exact(&mut byte).is_ok() && byte[0] != b'\n' {
            text.push(char::from(byte[0]));
        }
        kill(pid(&child), Signal::SIGKILL).expect("sent");
        assert_eq!(child.wait().expect("it ends").signal(), Some(9));
        let inside = Pid::from_raw(text.parse().expect("a process"));
        eventually("the command's end", || kill(inside, None).is_err());
    });
}

#[test]
fn the_command_has_the_terminal() {
    in_namespace(|| {
        // `script` runs it with a terminal of its own; ctrl-C there reaches the command once.
        // Its shell becomes the program: a shell that waits would get the signal, too, and may end before it could tell the code.
        let inner = format!(
            "exec {} exec -- sh -c 'test -t 0 && test -t 1 && echo terminal; trap \"echo int; exit 5\" INT; echo ready; while :; do sleep 0.05; done'",
            program!().display()
        );
        let mut child = Command::new("script")
            .args(["-qec", &inner, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this test needs `script`");
        let mut stdin = child.stdin.take().expect("a pipe");
        let mut stdout = child.stdout.take().expect("a pipe");
        let mut text = Vec::new();
        let mut byte = [0; 1];
        while !text.ends_with(b"ready") && stdout.read_exact(&mut byte).is_ok() {
            text.push(byte[0]);
        }
        stdin.write_all(b"\x03").expect("ctrl-C");
        stdout.read_to_end(&mut text).expect("the rest");
        let code = child.wait().expect("it ends").code();
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains("terminal"), "{text}");
        assert_eq!(code, Some(5), "{text}");
        assert_eq!(text.matches("int").count(), 1, "{text}");
    });
}

#[test]
fn without_root_the_command_stays_who_it_is() {
    in_namespace_with_mounts(|| {
        require_root();
        outside();
        let files = Scratch::new("exec-rootless");
        // Everybody may open the device here, as on most systems.
        let device = files.path("tun");
        let made = Command::new("mknod")
            .arg(&device)
            .args(["-m", "666", "c", "10", "200"])
            .status();
        assert!(made.expect("mknod").success());
        let bind = nix::mount::MsFlags::MS_BIND;
        let nothing = None::<&str>;
        nix::mount::mount(Some(&device), "/dev/net/tun", nothing, bind, nothing).expect("a mount");
        std::fs::write(files.path("file"), "rootless").expect("a file");
        let _server = web(&files, SERVER[0]);
        let copy = files.path("netstackd");
        std::fs::copy(program!(), &copy).expect("a copy that everybody may run");
        let script = "id -u; curl -sS --fail http://203.0.113.9:8000/file";
        let output = Command::new("timeout")
            .arg("60")
            .arg(&copy)
            .args(["exec", "--", "sh", "-c", script])
            .uid(65_534)
            .gid(65_534)
            .current_dir("/")
            .output()
            .expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "65534\nrootless",
            "{stderr}"
        );
    });
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
