//! UDP datagrams of every size, from empty to the largest.

use std::io::ErrorKind;

use netstackd::probe::datagram::{self, MAX_DATAGRAM_BYTES};
use tests::program;
use tests::world::{eventually, in_namespace, port, serve, targets};

fn echoes(flags: &[&str]) {
    in_namespace(|| {
        let daemon = serve(program!(), flags);
        for target in targets(port::ECHO) {
            let sizes = (0..=3_000)
                .chain((3_000..MAX_DATAGRAM_BYTES).step_by(61))
                .chain([MAX_DATAGRAM_BYTES - 1, MAX_DATAGRAM_BYTES]);
            let count =
                datagram::echo(target, sizes).unwrap_or_else(|why| panic!("{flags:?}: {why}"));
            println!(
                "{flags:?}: {count} datagrams of 0 to {MAX_DATAGRAM_BYTES} bytes came back from {target}"
            );
        }
        let counts = daemon.counters().expect("counters");
        assert_eq!(
            counts.get("drop.udp_queue_full") + counts.get("drop.udp_checksum"),
            0
        );
    });
}

#[test]
fn echo_of_every_kind_of_size_with_offload() {
    echoes(&["--queues", "2"]);
}

#[test]
fn echo_of_every_kind_of_size_without_offload() {
    echoes(&["--offload", "off", "--queues", "1"]);
}

#[test]
fn the_other_services_answer_as_their_rfcs_say() {
    in_namespace(|| {
        let daemon = serve(program!(), &[]);
        for target in targets(port::CHARGEN) {
            let lens: Vec<usize> = (0..50)
                .map(|_| datagram::ask(target, b"x").expect("characters").len())
                .collect();
            assert!(lens.iter().all(|&len| len <= 512), "{lens:?}");
            assert!(
                lens.iter().any(|&len| len != lens[0]),
                "the lengths are random: {lens:?}"
            );
        }
        for target in targets(port::DAYTIME) {
            let line = datagram::ask(target, b"").expect("a line");
            assert!(line.ends_with(b"-UTC\r\n"), "{line:?}");
        }
        let before = daemon.counters().expect("counters").get("packets_in");
        for target in targets(port::DISCARD) {
            datagram::connect(target)
                .expect("a socket")
                .send(&[7; 100])
                .expect("sent");
        }
        eventually("the discarded datagrams arrive", || {
            daemon.counters().expect("counters").get("packets_in") >= before + 2
        });
        assert_eq!(
            daemon
                .counters()
                .expect("counters")
                .get("drop.udp_no_socket"),
            0
        );
    });
}

#[test]
fn a_closed_port_is_reported() {
    in_namespace(|| {
        let daemon = serve(program!(), &[]);
        for target in targets(port::CLOSED) {
            let socket = datagram::connect(target).expect("a socket");
            socket.send(b"hello").expect("sent");
            let error = socket.recv(&mut [0; 16]).expect_err("no listener");
            assert_eq!(
                error.kind(),
                ErrorKind::ConnectionRefused,
                "{target}: {error}"
            );
        }
        let counts = daemon.counters().expect("counters");
        assert_eq!(counts.get("drop.udp_no_socket"), 2);
        assert_eq!(counts.get("icmp_errors_sent"), 2);
    });
}
