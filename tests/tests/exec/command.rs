//! The command: its end, its signals, its terminal, its rights.

use std::io::{Read as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::program;
use tests::world::{Scratch, eventually, in_namespace, in_namespace_with_mounts, require_root};

use super::{SERVER, code, outside, run, web};

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
