//! The reader of captures finds both streams of a captured session complete.

mod support;

use std::net::TcpStream;

use support::{Wire, captured, pattern, receive, send};
use tools::capture::{Direction, sessions};

const REQUEST: usize = 300_000;
const ANSWER: usize = 700_000;

fn client(stream: TcpStream) {
    send(&stream, &pattern(1, REQUEST));
    assert!(receive(&stream) == pattern(2, ANSWER));
}

fn server(stream: TcpStream) {
    assert!(receive(&stream) == pattern(1, REQUEST));
    send(&stream, &pattern(2, ANSWER));
}

#[test]
fn a_captured_session_has_both_streams_whole() {
    for (wire, v6) in [
        (Wire::Loopback, false),
        (Wire::Loopback, true),
        (Wire::Veth, false),
        (Wire::Veth, true),
    ] {
        let packets = captured(wire, v6, client, server);
        let sessions = sessions(&packets);
        assert_eq!(sessions.len(), 1, "{wire:?} v6={v6}");
        let session = &sessions[0];
        assert!(!session.headless);
        assert_eq!(session.client.is_ipv6(), v6);
        assert_eq!(session.segments[0].direction, Direction::FromClient);
        let from_server = session.from_server.as_ref().expect("a server");
        for (stream, expected) in [
            (&session.from_client, pattern(1, REQUEST)),
            (from_server, pattern(2, ANSWER)),
        ] {
            assert_eq!(stream.first_gap(), None);
            assert!(stream.bytes() == expected, "{wire:?} v6={v6}");
            assert_eq!(stream.end(), Some(expected.len() as u64));
            assert_eq!(stream.conflicts(), 0);
        }
        assert!(session.ended_by(Direction::FromClient) && session.ended_by(Direction::FromServer));
    }
}
