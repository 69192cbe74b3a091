//! The command line: each error is one sentence with its own exit code.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use netstackd::child::Daemon;
use netstackd::probe::ping::Pinger;
use netstackd::probe::{datagram, stream};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use tests::program;
use tests::world::{
    Scratch, copy_program, in_namespace, in_namespace_with_mounts, ip, port, require_root, serve,
    try_serve,
};

/// The id of a user without privileges.
const NOBODY: u32 = 65_534;

fn run(words: &str) -> Output {
    Command::new(program!())
        .args(words.split_whitespace())
        .output()
        .expect("the program runs")
}

/// Checks the form of an error message and returns its sentence.
#[track_caller]
fn error_message(output: &Output, code: i32) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).expect("text");
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(output.stdout.is_empty(), "stdout is for results");
    let sentence = stderr
        .strip_prefix("netstackd: ")
        .expect(&stderr)
        .trim_end()
        .to_owned();
    assert!(
        !sentence.is_empty() && !sentence.contains('\n'),
        "one sentence: {stderr}"
    );
    assert!(
        !sentence.contains("panicked") && !sentence.contains("Error {"),
        "{stderr}"
    );
    println!("{code}: {sentence}");
    sentence
}

#[test]
fn wrong_flags_exit_with_2() {
    let net = "run --tun t0 --addr 10.77.0.2/24";
    for (words, says) in [
        ("", "run or demo"),
        ("serve", "serve"),
        ("run --frobnicate", "--frobnicate"),
        ("run --addr 10.77.0.2/24", "--tun NAME"),
        ("run --tun t0", "--addr"),
        ("run --tun t0 --addr ten/24", "ten/24"),
        (&format!("{net} --host-addr 10.78.0.1"), "10.78.0.1"),
        (&format!("{net} --host-addr 10.77.0.2"), "own address"),
        (&format!("{net} --mtu 10"), "--mtu 10"),
        (&format!("{net} --queues 0"), "--queues"),
        (&format!("{net} --queues 257"), "--queues"),
        (&format!("{net} --services echo,finger"), "finger"),
        (
            "demo --seconds 0",
            "--seconds '0' cannot be used: use 1 to 60",
        ),
        (
            "demo --mtu 100",
            "--mtu '100' cannot be used: use 1280 to 65535",
        ),
    ] {
        let sentence = error_message(&run(words), 2);
        assert!(sentence.contains(says), "{words}: {sentence}");
    }
}

#[test]
fn help_names_every_flag_and_exit_code() {
    let output = run("run --help");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("text");
    for flag in [
        "--tun",
        "--addr",
        "--addr6",
        "--host-addr",
        "--host-addr6",
        "--mtu",
        "--queues",
        "--offload",
        "--services",
        "--pcap",
        "--config",
        "Exit codes",
    ] {
        assert!(text.contains(flag), "{flag} is missing: {text}");
    }
    assert!(!text.contains("exit-with-parent"));
}

#[test]
fn wrong_files_exit_with_3() {
    let scratch = Scratch::new("config");
    let sentence = error_message(&run("run --config /nonexistent/x.toml"), 3);
    assert!(sentence.contains("/nonexistent/x.toml"), "{sentence}");
    let file = scratch.write(
        "bad.toml",
        "tun = \"t0\"\naddr = \"10.77.0.2/24\"\nmtus = 1500\n",
    );
    let sentence = error_message(&run(&format!("run --config {file}")), 3);
    assert!(
        sentence.contains(&format!("{file}, line 3: key 'mtus'")),
        "{sentence}"
    );
}

#[test]
fn a_wrong_value_in_the_file_exits_with_3_and_names_its_line() {
    let scratch = Scratch::new("value");
    let file = scratch.write(
        "mtu.toml",
        "tun = \"t0\"\naddr = \"10.77.0.2/24\"\nmtu = 100\n",
    );
    let sentence = error_message(&run(&format!("run --config {file}")), 3);
    assert!(
        sentence.contains(&format!("{file}, line 3: key 'mtu': 100 is out of range")),
        "{sentence}"
    );
    // The flag wins, so the mistake is the flag's.
    let sentence = error_message(&run(&format!("run --config {file} --mtu 99")), 2);
    assert!(sentence.contains("--mtu 99 is out of range"), "{sentence}");
}

#[test]
fn a_file_without_end_exits_with_3() {
    let sentence = error_message(&run("run --config /dev/zero"), 3);
    assert!(
        sentence.contains("/dev/zero") && sentence.contains("larger than 1 MiB"),
        "{sentence}"
    );
}

#[test]
fn too_many_open_files_exits_with_4_and_names_the_limit() {
    in_namespace(|| {
        let script = "ulimit -n 24; exec \"$0\" run --tun t0 --addr 10.77.0.2/24 --queues 64";
        let output = Command::new("sh")
            .args(["-c", script])
            .arg(program!())
            .output()
            .expect("a shell");
        let sentence = error_message(&output, 4);
        assert!(
            sentence.contains("open files") && sentence.contains("ulimit -n"),
            "{sentence}"
        );
    });
}

#[test]
fn ipv6_switched_off_exits_with_4_and_names_the_flag() {
    in_namespace(|| {
        std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").expect("sysctl");
        let output = run("run --tun t0 --addr 10.77.0.2/24 --addr6 fd77::2/64");
        let sentence = error_message(&output, 4);
        assert!(
            sentence.contains("IPv6 is switched off") && sentence.contains("leave out --addr6"),
            "{sentence}"
        );
    });
}

#[test]
fn a_closed_stdout_does_not_panic() {
    for words in ["--help", "run --help", "--version"] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = Command::new(program!())
            .args(words.split_whitespace())
            .stdout(writer)
            .output()
            .expect("the program runs");
        assert!(output.stderr.is_empty(), "{words}: {output:?}");
    }
}

#[test]
fn taken_names_and_addresses_exit_with_6() {
    in_namespace(|| {
        let first = serve(program!(), &[]);
        let failure = try_serve(program!(), &[]).expect_err("the name is taken");
        println!("{failure}");
        assert_eq!(failure.exit_code(), 6, "{failure}");
        assert!(failure.to_string().contains("t0"), "{failure}");
        drop(first);
    });
    in_namespace(|| {
        ip("link add t0 type veth peer name t1");
        let failure = try_serve(program!(), &[]).expect_err("the name is taken");
        println!("{failure}");
        assert_eq!(failure.exit_code(), 6, "{failure}");
    });
    in_namespace(|| {
        ip("addr add 10.77.0.1/32 dev lo");
        let failure = try_serve(program!(), &[]).expect_err("the address is taken");
        println!("{failure}");
        assert_eq!(failure.exit_code(), 6, "{failure}");
        assert!(failure.to_string().contains("10.77.0.1"), "{failure}");
    });
}

/// Hides `/dev/net/tun`, or replaces it by one that everybody can open.
fn replace_dev_net(tun: bool) {
    mount(
        Some("none"),
        "/dev/net",
        Some("tmpfs"),
        MsFlags::empty(),
        Some("mode=0755"),
    )
    .expect("mount over /dev/net");
    if tun {
        let path = Path::new("/dev/net/tun");
        mknod(
            path,
            SFlag::S_IFCHR,
            Mode::S_IRUSR | Mode::S_IWUSR,
            makedev(10, 200),
        )
        .expect("mknod");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).expect("chmod");
    }
}

#[test]
fn no_tun_device_exits_with_4() {
    in_namespace_with_mounts(|| {
        replace_dev_net(false);
        let sentence = error_message(&run("run --tun t0 --addr 10.77.0.2/24"), 4);
        assert!(
            sentence.contains("/dev/net/tun") && sentence.contains("modprobe"),
            "{sentence}"
        );
        let sentence = error_message(&run("demo"), 4);
        assert!(sentence.contains("/dev/net/tun"), "{sentence}");
    });
}

/// Copies the program to a path that a user without privileges can read.
fn copy_for_everybody(scratch: &Scratch) -> PathBuf {
    let copy = scratch.path("netstackd");
    copy_program(program!(), &copy);
    copy
}

#[test]
fn no_privilege_exits_with_5() {
    require_root();
    let scratch = Scratch::new("unprivileged");
    let program = copy_for_everybody(&scratch);
    in_namespace_with_mounts(|| {
        replace_dev_net(true);
        let output = Command::new(&program)
            .args(["run", "--tun", "t0", "--addr", "10.77.0.2/24"])
            .uid(NOBODY)
            .gid(NOBODY)
            .output()
            .expect("the program runs");
        let sentence = error_message(&output, 5);
        assert!(sentence.contains("CAP_NET_ADMIN"), "{sentence}");
    });
}

#[test]
fn the_demo_matches_for_root_and_for_anybody() {
    require_root();
    let scratch = Scratch::new("demo");
    let program = copy_for_everybody(&scratch);
    in_namespace_with_mounts(|| {
        replace_dev_net(true);
        for user in [0, NOBODY] {
            let output = Command::new(&program)
                .args(["demo", "--seconds", "1"])
                .uid(user)
                .gid(user)
                .output()
                .expect("the program runs");
            let text = String::from_utf8_lossy(&output.stdout);
            println!(
                "as user {user}:\n{text}{}",
                String::from_utf8_lossy(&output.stderr)
            );
            assert!(output.status.success(), "user {user}: {}", output.status);
            assert!(
                text.contains("everything matched") && !text.contains("FAIL"),
                "{text}"
            );
        }
        // The demo has not touched this namespace.
        let links = std::fs::read_dir("/proc/sys/net/ipv4/conf").expect("links");
        let links: Vec<_> = links.flatten().map(|entry| entry.file_name()).collect();
        assert!(!links.iter().any(|name| name == "demo0"), "{links:?}");
    });
}

#[test]
fn one_family_another_subnet_and_a_chosen_host_address_serve() {
    for (flags, target) in [
        ("--tun only4 --addr 192.168.9.1/30", "192.168.9.1"),
        ("--tun only6 --addr6 2001:db8::5/126", "2001:db8::5"),
        (
            "--tun chosen --addr 10.1.2.3/16 --host-addr 10.1.200.200",
            "10.1.2.3",
        ),
        (
            "--tun chosen6 --addr6 fd00::2/64 --host-addr6 fd00::ffff --mtu 1280",
            "fd00::2",
        ),
        (
            "--tun point --addr 10.9.9.1/31 --mtu 576 --offload off",
            "10.9.9.1",
        ),
    ] {
        in_namespace(|| {
            let words: Vec<&str> = flags.split(' ').collect();
            let mut daemon =
                Daemon::start(program!(), &words).unwrap_or_else(|f| panic!("{flags}: {f}"));
            let target = target.parse().expect("an address");
            let sizes = [0, 1_000, 10_000];
            let mut pinger = Pinger::new(target, 0x7005).expect("a raw socket");
            for size in sizes {
                pinger.ping(size).expect(flags);
            }
            let echo = SocketAddr::new(target, port::ECHO);
            stream::echo(echo, 1 << 20).expect(flags);
            datagram::echo(echo, sizes.into_iter()).expect(flags);
            assert!(
                daemon.terminate().expect("it ends").success(),
                "{}",
                daemon.stderr()
            );
        });
    }
}
