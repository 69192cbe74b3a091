//! The replay reports each fault of a host, and none of a host without faults.
//!
//! The host here is a minimal server without loss recovery.

mod support;

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use etherparse::PacketBuilder;
use support::made::{ACK, From::*, Made, PSH, RST};
use support::{Wire, captured, pattern, receive, send};
use tools::capture::{Captured, Segment, tcp_segment};
use tools::replay::{
    Difference, Host, Opening, Part, Plan, PlanError, Reading, Which, prepare, run,
};

const REQUEST: usize = 100_000;
const ANSWER: usize = 250_000;

fn client(stream: TcpStream) {
    send(&stream, &pattern(3, REQUEST));
    assert!(receive(&stream) == pattern(4, ANSWER));
}

fn server(stream: TcpStream) {
    assert!(receive(&stream) == pattern(3, REQUEST));
    send(&stream, &pattern(4, ANSWER));
}

/// A fault of the host.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    FlipsAByteOut,
    LosesAByteIn,
    NeverEnds,
    StopsSending,
    Resets,
}

struct Simple {
    fault: Fault,
    us: SocketAddr,
    them: SocketAddr,
    next_in: u32,
    next_out: u32,
    inbox: Vec<u8>,
    taken: usize,
    out: Vec<Vec<u8>>,
    peer_ended: bool,
    sent: usize,
}

const ISN: u32 = 0xffff_ff00;

impl Simple {
    fn new(fault: Fault, us: SocketAddr, them: SocketAddr) -> Self {
        Self {
            fault,
            us,
            them,
            next_in: 0,
            next_out: ISN,
            inbox: Vec::new(),
            taken: 0,
            out: Vec::new(),
            peer_ended: false,
            sent: 0,
        }
    }

    fn emit(&mut self, syn: bool, fin: bool, rst: bool, payload: &[u8]) {
        let (IpAddr::V4(us), IpAddr::V4(them)) = (self.us.ip(), self.them.ip()) else {
            panic!("IPv4 only");
        };
        let mut builder = PacketBuilder::ipv4(us.octets(), them.octets(), 64)
            .tcp(self.us.port(), self.them.port(), self.next_out, 65_535)
            .ack(self.next_in);
        if syn {
            builder = builder.syn();
        }
        if fin {
            builder = builder.fin();
        }
        if rst {
            builder = builder.rst();
        }
        let mut packet = Vec::new();
        builder.write(&mut packet, payload).expect("a packet");
        self.next_out = self
            .next_out
            .wrapping_add(payload.len() as u32 + u32::from(syn) + u32::from(fin));
        self.out.push(packet);
    }

    fn on_segment(&mut self, segment: &Segment) {
        if segment.syn {
            self.next_in = segment.seq.wrapping_add(1);
            self.emit(true, false, false, &[]);
            return;
        }
        if segment.has_ack {
            let ahead = segment.ack.wrapping_sub(self.next_out) as i32;
            assert!(ahead <= 0, "acknowledged before it was sent");
        }
        if segment.seq != self.next_in {
            return;
        }
        let mut payload = segment.payload.clone();
        self.next_in = self.next_in.wrapping_add(payload.len() as u32);
        if self.fault == Fault::LosesAByteIn && self.inbox.len() > 5_000 {
            payload.pop();
            self.fault = Fault::None;
        }
        self.inbox.extend(payload);
        if segment.fin {
            self.next_in = self.next_in.wrapping_add(1);
            self.peer_ended = true;
        }
        if segment.fin || !segment.payload.is_empty() {
            self.emit(false, false, false, &[]);
        }
    }
}

impl Host for Simple {
    fn open(&mut self, _session: usize, opening: Opening, ours: SocketAddr, peer: SocketAddr) {
        assert_eq!(
            (opening, ours, peer),
            (Opening::Listens, self.us, self.them)
        );
    }

    fn deliver(&mut self, packet: Vec<u8>, _gso_size: u16) {
        let captured = Captured {
            number: 0,
            time: Duration::ZERO,
            ip: packet,
            cut: false,
        };
        let (from, to, segment) = tcp_segment(&captured).expect("a segment");
        assert_eq!((from, to), (self.them, self.us));
        self.on_segment(&segment);
    }

    fn turn(&mut self, _now: Duration, sent: &mut Vec<Vec<u8>>) -> Option<Duration> {
        sent.append(&mut self.out);
        None
    }

    fn read(&mut self, _session: usize, into: &mut Vec<u8>) -> Reading {
        into.extend_from_slice(&self.inbox[self.taken..]);
        self.taken = self.inbox.len();
        if self.peer_ended {
            Reading::Ended
        } else {
            Reading::Waiting
        }
    }

    fn write(&mut self, _session: usize, bytes: &[u8]) -> usize {
        let mut piece = bytes[..bytes.len().min(1_000)].to_vec();
        if self.sent > 50_000 && self.fault == Fault::StopsSending {
            return 0;
        }
        if self.sent > 50_000 && self.fault == Fault::FlipsAByteOut {
            piece[0] ^= 1;
            self.fault = Fault::None;
        }
        self.emit(false, false, false, &piece);
        self.sent += piece.len();
        piece.len()
    }

    fn receive(&mut self, _session: usize) -> Option<Vec<u8>> {
        None
    }

    fn shut_down(&mut self, _session: usize) {
        match self.fault {
            Fault::NeverEnds => {}
            Fault::Resets => self.emit(false, false, true, &[]),
            _ => self.emit(false, true, false, &[]),
        }
    }

    fn close(&mut self, session: usize) {
        self.shut_down(session);
    }

    fn abort(&mut self, _session: usize) {}

    fn failure(&self) -> Option<&str> {
        None
    }

    fn drops(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}

/// Returns the plan of the first session, with the host as its server.
fn plan(packets: &[Captured]) -> Result<Plan, PlanError> {
    match prepare(packets, Which::Servers).remove(0).part? {
        Part::Tcp(plan) => Ok(*plan),
        Part::Datagrams(_) => panic!("a TCP session comes first"),
    }
}

#[test]
fn each_fault_is_found_and_no_other() {
    let packets = captured(Wire::Loopback, false, client, server);
    let plan = plan(&packets).expect("a plan");
    let play = |fault| {
        let mut host = Simple::new(fault, plan.place.ours, plan.place.peer);
        let mut report = run(&plan, &mut host);
        // It has no options at all, unlike the captured host, and that is found each time.
        let before = report.differences.len();
        let is_option = |difference: &Difference| matches!(difference, Difference::Option { .. });
        report
            .differences
            .retain(|difference| !is_option(difference));
        assert_eq!(before - report.differences.len(), 4, "{report}");
        report
    };

    let report = play(Fault::None);
    assert!(report.is_same(), "{report}");
    assert_eq!(report.peer_bytes, REQUEST as u64);
    assert_eq!(report.our_bytes, ANSWER as u64);
    assert_eq!(report.played, plan.packets());

    let first = |fault| play(fault).differences.into_iter().next();
    assert!(matches!(
        first(Fault::FlipsAByteOut),
        Some(Difference::Bytes {
            side: "server",
            offset: 50_001..52_000,
            ..
        })
    ));
    assert!(matches!(
        first(Fault::LosesAByteIn),
        Some(Difference::Bytes { side: "client", .. } | Difference::Stuck { .. })
    ));
    assert!(matches!(
        first(Fault::StopsSending),
        Some(Difference::Stuck { .. })
    ));
    assert!(matches!(
        first(Fault::NeverEnds),
        Some(Difference::Stuck { .. } | Difference::NotClosed)
    ));
    assert!(play(Fault::Resets).differences.contains(&Difference::Reset));
}

#[test]
fn an_incomplete_session_is_refused_with_what_to_do() {
    let mut packets = captured(Wire::Veth, false, client, server);
    // A new link also carries packets of the kernel's own.
    packets.retain(|packet| tcp_segment(packet).is_some());
    let refused = |packets: &[Captured]| plan(packets).expect_err("an incomplete session");
    assert!(matches!(refused(&packets[1..]), PlanError::Headless { .. }));
    assert!(matches!(
        refused(&packets[..1]),
        PlanError::Unanswered { .. }
    ));
    let data = packets
        .iter()
        .position(|packet| tcp_segment(packet).is_some_and(|(_, _, s)| !s.payload.is_empty()))
        .expect("data");
    let mut torn = packets.clone();
    torn.remove(data);
    let error = refused(&torn);
    assert_eq!(
        error,
        PlanError::Missing {
            side: "client",
            offset: 0
        },
        "{error}"
    );
}

#[test]
fn a_reset_that_does_not_come_is_found() {
    let mut made = Made::new("10.1.0.1:40000", "10.1.0.2:80");
    made.handshake().add(Client, PSH | ACK, b"hello");
    made.add(Server, ACK, &[]).add(Server, RST | ACK, &[]);
    let plan = plan(&made.captured()).expect("a plan");
    let mut host = Simple::new(Fault::None, plan.place.ours, plan.place.peer);
    let report = run(&plan, &mut host);
    assert!(
        report.differences.contains(&Difference::NotReset),
        "{report}"
    );
}
