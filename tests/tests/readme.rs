//! The README's example: it is the file that it says it is, and it works as it stands.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use netstackd::probe::now;
use netstackd::probe::ping::Pinger;
use tests::world::{Running, in_namespace};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// The example's source, relative to the workspace. The README names it, too.
const EXAMPLE: &str = "netstack/examples/echo.rs";
const START_WITHIN: Duration = Duration::from_secs(20);

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::read_to_string(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn the_readme_shows_the_example_word_for_word() {
    let readme = read("README.md");
    let (_, from) = readme.split_once("```rust\n").expect("a Rust block");
    let (shown, _) = from.split_once("```").expect("the block's end");
    assert_eq!(shown, read(EXAMPLE), "the README and {EXAMPLE} differ");
    assert!(readme.contains(EXAMPLE), "the README names no {EXAMPLE}");
    assert_eq!(
        readme.matches("```rust").count(),
        1,
        "one Rust block, which is run"
    );
}

#[test]
fn the_example_answers_ping_and_echoes() {
    in_namespace(|| {
        let program = env!("CARGO_BIN_EXE_readme-example");
        let mut example = Running(Command::new(program).spawn().expect("start the example"));
        let deadline = now() + START_WITHIN;
        let answered = |ident: u16| {
            let mut pinger = Pinger::new(ADDRESS.into(), ident)?;
            pinger.ping(56)
        };
        // Until the example has made its device there is no route.
        let mut ident = 1;
        while let Err(why) = answered(ident) {
            let ended = example.0.try_wait().expect("ask for the example's end");
            assert!(ended.is_none(), "the example ended: {ended:?}");
            assert!(now() < deadline, "no answer in {START_WITHIN:?}: {why}");
            thread::sleep(Duration::from_millis(20));
            ident += 1;
        }

        let target = SocketAddr::from((ADDRESS, 7));
        let mut stream = TcpStream::connect_timeout(&target, START_WITHIN).expect("connect");
        stream
            .set_read_timeout(Some(START_WITHIN))
            .expect("a timeout");
        stream.write_all(b"as it stands").expect("write");
        stream.shutdown(Shutdown::Write).expect("shut down");
        let mut echoed = String::new();
        stream.read_to_string(&mut echoed).expect("read");
        assert_eq!(echoed, "as it stands");
    });
}
