//! Each invariant that is checked after every call can fail: a connection that is damaged is found.

use super::rig::{ACK, Rig, plain};
use crate::base::Instant;
use crate::tcp::phase::Phase;
use crate::tcp::recv::assembler::Assembler;
use crate::tcp::tcb::{Flags, Tcb};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A name, and the change to a sound connection.
type Damage = (&'static str, fn(&mut Tcb));

/// Data in flight, data unread, and a delayed acknowledgment owed.
fn busy() -> Rig {
    let mut rig = Rig::established(plain());
    rig.send(3_000);
    rig.out();
    rig.recv(1, 1, ACK, b"abc");
    rig
}

#[test]
fn each_kind_of_damage_is_found() {
    let damages: &[Damage] = &[
        ("a queue that lost bytes", |tcb| {
            tcb.queue.advance(tcb.flight.una() + 1);
        }),
        ("a FIN that nobody queued", |tcb| {
            tcb.flight.on_sent(1, Instant::ZERO);
        }),
        ("an acknowledgment from nowhere", |tcb| {
            tcb.flight.on_probe_accepted(Instant::ZERO);
        }),
        ("no retransmission timer", |tcb| {
            tcb.timers.retransmit = Instant::FAR_FUTURE;
        }),
        ("no delayed ACK timer", |tcb| {
            tcb.timers.delayed_ack = Instant::FAR_FUTURE;
        }),
        ("a timer for no ACK", |tcb| tcb.ack.on_sent()),
        ("more than the window", |tcb| tcb.window.nxt += 70_000),
        ("an empty out-of-order queue", |tcb| {
            tcb.assembler = Some(Box::new(Assembler::new(0, tcb.window.nxt)));
        }),
        ("a phase without its FIN", |tcb| {
            tcb.phase = Phase::FinWait1;
        }),
        ("a FIN without its phase", |tcb| {
            tcb.flags.insert(Flags::FIN_RECEIVED);
        }),
        ("a reset of an open connection", |tcb| {
            tcb.flags.insert(Flags::RST_DUE);
        }),
        ("a reader that left bytes", |tcb| {
            tcb.flags.insert(Flags::RECV_CLOSED);
        }),
        ("CLOSED with a timer", |tcb| tcb.phase = Phase::Closed),
        ("a window beyond the largest", |tcb| tcb.peer.wnd += 1),
        ("segments larger than the window", |tcb| {
            tcb.agreed.mss = u16::MAX;
        }),
        ("a D-SACK block of nothing", |tcb| {
            tcb.duplicates.break_for_test(tcb.window.nxt);
        }),
    ];
    for (damage, inflict) in damages {
        let mut rig = busy();
        rig.tcp.check();
        inflict(rig.tcp.tcb_mut().expect("open"));
        let found = catch_unwind(AssertUnwindSafe(|| rig.tcp.check())).is_err();
        assert!(found, "{damage}");
    }
}

#[test]
fn a_number_that_goes_back_is_found() {
    let mut rig = busy();
    let entry = || {
        rig.tcp.checked(|tcp| {
            let tcb = tcp.tcb_mut().expect("open");
            tcb.window.nxt = tcb.window.nxt.back(1);
        });
    };
    let panic = catch_unwind(AssertUnwindSafe(entry)).expect_err("found");
    assert_eq!(panic.downcast_ref(), Some(&"RCV.NXT went back"));
}
