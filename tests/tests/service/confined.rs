//! The rights that a daemon gives up.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use netstackd::child::Daemon;
use nix::sys::signal::Signal;
use seccompiler::{SeccompAction, SeccompFilter};
use tests::program;
use tests::world::{Scratch, copy_program, in_namespace, require_root};

use super::{NET, NOBODY, output, sentence, serves, threads};

const CAP_NET_ADMIN: u64 = 1 << 12;
const CAP_NET_RAW: u64 = 1 << 13;

/// Checks that no thread has more rights than these.
#[track_caller]
pub(crate) fn assert_confined(daemon: &Daemon, id: u32, capabilities: u64) {
    let threads = threads(daemon);
    assert!(threads.len() > 3, "{threads:?}");
    for thread in &threads {
        let name = &thread["Name"];
        assert_ne!(name, "set-up", "it has ended");
        let ids = format!("{id} {id} {id} {id}");
        assert_eq!((&thread["Uid"], &thread["Gid"]), (&ids, &ids), "{name}");
        let of = |set: &str| u64::from_str_radix(&thread[set], 16).expect("digits");
        assert_eq!(
            (of("CapPrm"), of("CapEff")),
            (capabilities, capabilities),
            "{name}"
        );
        assert_eq!((of("CapInh"), of("CapAmb")), (0, 0), "{name}");
        assert_eq!(
            (&*thread["NoNewPrivs"], &*thread["Seccomp"]),
            ("1", "2"),
            "{name}"
        );
    }
}

fn start(words: &[&str]) -> Daemon {
    let mut command = Command::new(program!());
    Daemon::launch(command.args(words)).expect("it serves")
}

#[test]
fn a_daemon_becomes_another_user_and_keeps_no_capability() {
    require_root();
    let scratch = Scratch::new("user");
    let path = scratch.write(
        "net.toml",
        "tun = \"t0\"\naddr = \"10.77.0.2/24\"\nuser = \"nobody\"\n",
    );
    in_namespace(|| {
        // As systemd does, it says where its socket is to be.
        let directory = scratch.path("runtime");
        let mut command = Command::new(program!());
        command
            .args(["run", "--exit-with-parent", "--config", &path])
            .env("RUNTIME_DIRECTORY", &directory);
        let mut daemon = Daemon::launch(&mut command).expect("it serves");
        serves();
        assert_confined(&daemon, NOBODY, 0);
        let groups: Vec<String> = threads(&daemon)
            .into_iter()
            .map(|thread| thread["Groups"].clone())
            .collect();
        assert!(
            groups.iter().all(|ids| *ids == NOBODY.to_string()),
            "{groups:?}"
        );
        let socket = directory.join(format!("t0-{}.sock", daemon.pid()));
        let of = |path| {
            fs::metadata(path)
                .map(|file| (file.uid(), file.gid()))
                .expect("it is there")
        };
        assert_eq!(of(&socket), (NOBODY, NOBODY));
        assert_eq!(of(&directory), (NOBODY, NOBODY));
        let listed = output(
            Command::new(program!())
                .args(["ss", "-tln", "--control"])
                .arg(&socket),
        );
        assert!(listed.status.success(), "{listed:?}");

        // What can change still changes.
        fs::write(&path, "tun = \"t0\"\naddr = \"10.77.0.2/24\"\nuser = \"nobody\"\naddresses = [\"10.77.0.9/24\"]\nservices = [\"echo\"]\n").expect("written");
        daemon.signal(Signal::SIGHUP);
        assert_eq!(
            daemon.line().expect("a line"),
            "reloaded changed=addresses,services restart-for=none"
        );
        assert!(std::net::TcpStream::connect("10.77.0.9:7").is_ok());

        assert!(daemon.terminate().expect("it ends").success());
        assert_eq!(daemon.stderr(), "");
        assert!(!socket.exists(), "its name goes with it");
    });
}

#[test]
fn a_job_keeps_the_capability_that_it_needs_and_no_other() {
    require_root();
    let flags = ["--exit-with-parent", "--control=none", "--sandbox=on"];
    in_namespace(|| {
        let job = |words: &[&str]| start(&[words, &flags, &NET].concat());
        let daemon = job(&["run"]);
        assert_confined(&daemon, 0, 0);
        drop(daemon);
        let daemon = job(&["proxy", "--mark=7", "--user=65534"]);
        assert_confined(&daemon, NOBODY, CAP_NET_ADMIN | CAP_NET_RAW);
        drop(daemon);
        // A port that only root may use is open before root is given up.
        let daemon = job(&[
            "forward",
            "--publish=81=10.77.0.1:80",
            "--user=nobody",
            "--group=65534",
        ]);
        assert_confined(&daemon, NOBODY, 0);
        assert!(std::net::TcpStream::connect("127.0.0.1:81").is_ok());
    });
}

#[test]
fn users_that_cannot_be_are_named() {
    require_root();
    let scratch = Scratch::new("users");
    let program = scratch.path("netstackd");
    copy_program(program!(), &program);
    let file = scratch.write(
        "net.toml",
        "tun = \"t0\"\naddr = \"10.77.0.2/24\"\nuser = \"no-such-one\"\n",
    );
    let run = |command: &str, flags: &[&str]| {
        let mut run = Command::new(&program);
        run.arg(command).args(flags);
        run
    };
    for command in ["run", "check"] {
        let text = sentence(&output(&mut run(command, &["--config", &file])), 3);
        let says = format!(
            "{file}, line 3: key 'user': 'no-such-one' is no user of this system: create it"
        );
        assert!(text.contains(&says), "{text}");
        for (flags, says) in [
            (
                &["--user=a:b"][..],
                "--user 'a:b' cannot be used: write a name or a number",
            ),
            (
                &["--user=54321"],
                "--user '54321' has no entry that names its group: give group, too",
            ),
            (
                &["--user=root", "--group=no-such-one"],
                "--group 'no-such-one' is no group of this system",
            ),
            (
                &["--group=root"],
                "--group 'root' is given without a user: give user, too",
            ),
            (
                &["--sandbox=maybe"],
                "--sandbox 'maybe' cannot be used: use auto, on or off",
            ),
        ] {
            let text = sentence(&output(run(command, &NET).args(flags)), 2);
            assert!(text.contains(says), "{text}");
        }
    }
    let mut other = run("run", &NET);
    other.arg("--user=root").uid(NOBODY).gid(NOBODY);
    let text = sentence(&output(&mut other), 5);
    assert!(
        text.contains(
            "--user: netstackd cannot become root (0:0) (operation not permitted): start it as root"
        ),
        "{text}"
    );
}

#[test]
fn a_sandboxed_daemon_reads_no_file_beyond_its_own() {
    let scratch = Scratch::new("sandbox");
    let directory = scratch.path("config");
    fs::create_dir_all(&directory).expect("a directory");
    let path = directory.join("net.toml");
    let text = "tun = \"t0\"\naddr = \"10.77.0.2/24\"\n";
    let changed = format!("{text}grace = \"9s\"\n");
    let elsewhere = scratch.write("elsewhere.toml", &changed);
    for (sandbox, may_read) in [("on", false), ("off", true)] {
        in_namespace(|| {
            let _ = fs::remove_file(&path);
            fs::write(&path, text).expect("written");
            let config = path.display().to_string();
            let flag = format!("--sandbox={sandbox}");
            let daemon = start(&[
                "run",
                "--exit-with-parent",
                "--control=none",
                &flag,
                "--config",
                &config,
            ]);
            // The same name leads out of the directory now. Whoever runs the daemon may read what is there.
            fs::remove_file(&path).expect("removed");
            symlink(&elsewhere, &path).expect("a link");
            daemon.signal(Signal::SIGHUP);
            let line = daemon.line().expect("a line");
            if may_read {
                assert_eq!(line, "reloaded changed=grace restart-for=none");
            } else {
                let says = format!(
                    "not-reloaded cannot read the configuration file {config}: permission denied"
                );
                assert!(line.starts_with(&says), "{line}");
            }
            // A file that an editor puts in its place is as good as the first.
            fs::remove_file(&path).expect("removed");
            fs::write(directory.join("new"), &changed).expect("written");
            fs::rename(directory.join("new"), &path).expect("renamed");
            daemon.signal(Signal::SIGHUP);
            let line = daemon.line().expect("a line");
            assert!(line.starts_with("reloaded changed="), "{line}");
            serves();
        });
    }
}

/// Makes the calling thread, and what it starts, live on a kernel that does not know a system call.
fn without(call: i64) {
    let filter = SeccompFilter::new(
        BTreeMap::from([(call, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(nix::libc::ENOSYS as u32),
        std::env::consts::ARCH.try_into().expect("an architecture"),
    );
    let program: seccompiler::BpfProgram = filter.expect("a filter").try_into().expect("a program");
    seccompiler::apply_filter(&program).expect("this test needs a kernel with seccomp");
}

#[test]
fn a_kernel_without_a_sandbox_is_told_and_refused_only_where_it_is_demanded() {
    for (call, feature, what) in [
        (nix::libc::SYS_landlock_create_ruleset, "landlock", "files"),
        (nix::libc::SYS_seccomp, "seccomp", "system calls"),
    ] {
        in_namespace(|| {
            without(call);
            let mut daemon =
                start(&[&["run", "--exit-with-parent", "--control=none"][..], &NET].concat());
            serves();
            assert!(daemon.terminate().expect("it ends").success());
            let says = daemon.stderr();
            let missing = format!("{what} are not restricted, because {feature} does not work");
            assert!(says.contains(&missing), "{says}");
            assert_eq!(says.trim_end().lines().count(), 1, "{says}");

            let mut demanded = Command::new(program!());
            demanded
                .args(["run", "--control=none", "--sandbox=on"])
                .args(NET);
            let text = sentence(&output(&mut demanded), 5);
            assert!(
                text.contains(&format!(
                    "sandbox 'on' cannot be kept, because {feature} does not work"
                )),
                "{text}"
            );
        });
    }
}
