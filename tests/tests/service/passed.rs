//! Descriptors that a supervisor passes on.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use netstackd::child::Daemon;
use tests::program;
use tests::supervisor::passing;
use tests::world::{Scratch, in_namespace};

use super::{output, sentence, serves};

#[test]
fn a_daemon_takes_its_device_and_sockets_by_their_names() {
    let scratch = Scratch::new("passed");
    in_namespace(|| {
        let path = scratch.path("control.sock").display().to_string();
        let control = format!("control|unix|{path}");
        let descriptors = ["admin|tcp|9100", &control, "tun|tun|t0"];
        let mut command = passing(program!(), &descriptors);
        command.args(["run", "--exit-with-parent", "--addr=10.77.0.2/24"]);
        let mut daemon = Daemon::launch(&mut command).expect("it serves");
        serves();

        let mut metrics = TcpStream::connect("127.0.0.1:9100").expect("the admin socket");
        metrics
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .expect("written");
        let mut answer = String::new();
        metrics.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");

        let listed = output(Command::new(program!()).args(["ss", "-tln", "--control", &path]));
        let text = String::from_utf8_lossy(&listed.stdout);
        assert!(
            listed.status.success() && text.contains("10.77.0.2:7"),
            "{listed:?}"
        );

        let printed = output(passing(program!(), &["tun|tun|t1"]).args([
            "config",
            "print",
            "--addr=10.77.0.2/24",
        ]));
        let text = String::from_utf8_lossy(&printed.stdout);
        let line = text.lines().find(|line| line.starts_with("tun-fd ="));
        let line = line.unwrap_or_else(|| panic!("{text}"));
        assert!(
            line.starts_with("tun-fd = \"3\"") && line.ends_with("# LISTEN_FDS"),
            "{line}"
        );

        assert!(daemon.terminate().expect("it ends").success());
        // Its name is the supervisor's.
        assert!(std::path::Path::new(&path).exists());
    });
}

#[test]
fn each_wrong_descriptor_is_named() {
    let scratch = Scratch::new("misnamed");
    in_namespace(|| {
        let path = scratch.path("c.sock").display().to_string();
        let control = format!("control|unix|{path}");
        let unix_admin = format!("admin|unix|{path}");
        for (descriptors, flags, says) in [
            (
                &["netstackd.socket|tcp|9100"][..],
                &["--tun=t0"][..],
                "descriptor 3 of LISTEN_FDS is named 'netstackd.socket': name it tun",
            ),
            (
                &["admin|tcp|9100", "admin|tcp|9101"],
                &["--tun=t0"],
                "descriptors 3 and 4 of LISTEN_FDS are both named admin: pass one of them on",
            ),
            (
                &["control|tcp|9100"],
                &["--tun=t0"],
                "descriptor 3 of LISTEN_FDS, named control, cannot be used: it is a socket of another family: pass a listening Unix socket on",
            ),
            (
                &["control|file|/dev/null"],
                &["--tun=t0"],
                "named control, cannot be used: it is no socket",
            ),
            (
                &[&unix_admin],
                &["--tun=t0", "--control=none"],
                "named admin, cannot be used: it is a socket of another family",
            ),
            (
                &["admin|open|9100"],
                &["--tun=t0", "--control=none"],
                "named admin, listens on 0.0.0.0:9100: it is no loopback address",
            ),
            (
                &["tun|file|/dev/null"],
                &[],
                "LISTEN_FDS: descriptor 3 cannot be used: it is not of /dev/net/tun: pass an open queue of a TUN device",
            ),
            (&["tun|file|/dev/net/tun"], &[], "it has no interface yet"),
            (
                &["tun|tun|t7", &control],
                &["--tun-fd=3"],
                "--tun-fd 3 is given, and LISTEN_FDS passes a device on, too: leave one of them out",
            ),
        ] {
            let _ = std::fs::remove_file(&path);
            let mut command = passing(program!(), descriptors);
            command.args(["run", "--addr=10.77.0.2/24"]).args(flags);
            let sentence = sentence(&output(&mut command), 2);
            assert!(sentence.contains(says), "{says}: {sentence}");
        }
        // As many names as descriptors.
        let mut command = Command::new("sh");
        let script = "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=a:b exec \"$0\" \"$@\" 3</dev/null";
        command.args(["-c", script]).arg(program!()).args([
            "check",
            "--tun=t0",
            "--addr=10.77.0.2/24",
        ]);
        let sentence = sentence(&output(&mut command), 2);
        assert!(
            sentence.contains("as many names in LISTEN_FDNAMES"),
            "{sentence}"
        );
    });
}
