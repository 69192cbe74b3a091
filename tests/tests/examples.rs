//! The examples of the library work as they stand. That of the README has a test file of its own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;

use tests::world::{Running, in_namespace, ip};

/// Runs a program to its end; returns what it prints.
fn output_of(program: &str) -> String {
    let output = Command::new(program).output().expect("start the example");
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_tunnel_carries_a_stream_between_two_hosts() {
    let printed = output_of(env!("CARGO_BIN_EXE_example-tunnel"));
    assert_eq!(printed, "through the tunnel\n");
}

/// The example asserts the memory of each stack.
#[test]
fn a_thousand_stacks_fit_into_one_thread_and_64_mib() {
    let printed = output_of(env!("CARGO_BIN_EXE_example-thousand-stacks"));
    assert!(
        printed.starts_with("1000 stacks, one thread, "),
        "{printed}"
    );
}

#[test]
fn a_run_on_virtual_time_repeats() {
    let run = || output_of(env!("CARGO_BIN_EXE_example-virtual-time"));
    let first = run();
    assert!(first.starts_with("100 answers in "), "{first}");
    assert_eq!(run(), first);
}

#[test]
fn a_forwarder_makes_each_connection_again_and_keeps_half_closes() {
    in_namespace(|| {
        let server = TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = server.local_addr().expect("an address").port();
        let serving = thread::spawn(move || {
            let (mut stream, _) = server.accept().expect("accept");
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("to the end");
            stream
                .write_all(text.to_uppercase().as_bytes())
                .expect("answer");
        });
        let mut example = Command::new(env!("CARGO_BIN_EXE_example-forward"))
            .env("FORWARD_TO", "127.0.0.1")
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the example");
        let printed = example.stdout.take().expect("its output");
        let _example = Running(example);
        let mut line = String::new();
        BufReader::new(printed)
            .read_line(&mut line)
            .expect("a line");
        assert_eq!(line, "ready\n");
        ip("route add 203.0.113.0/24 dev t0");
        let mut stream = TcpStream::connect(("203.0.113.9", port)).expect("connect");
        stream.write_all(b"whoever you are").expect("write");
        stream.shutdown(Shutdown::Write).expect("half close");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("read");
        assert_eq!(answer, "WHOEVER YOU ARE");
        serving.join().expect("the server");
    });
}
