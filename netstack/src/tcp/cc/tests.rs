use super::*;
use crate::base::Instant;

const MSS: u32 = 1_460;
const UNA: SeqNum = SeqNum(u32::MAX - 9);

fn cx() -> Context<'static> {
    Context::new(Instant::ZERO)
}

fn controller(algorithm: Algorithm) -> Controller {
    Controller::new(algorithm, &Start::new(MSS, 10 * MSS, None, 0), UNA, false)
}

fn ack(bytes: u32, millis: u64) -> Acked {
    Acked {
        bytes,
        now: Instant::from_millis(millis),
        srtt: Duration::from_millis(50),
        mss: MSS,
        ..Acked::default()
    }
}

#[test]
fn slow_start_doubles_per_round_trip_with_one_ack() {
    let mut cc = controller(Algorithm::CUBIC);
    for round in 1..6 {
        let cwnd = cc.cwnd();
        cc.on_sent(cwnd, UNA, UNA + 1);
        cc.on_limited(0, UNA, UNA + 1);
        cc.on_ack(ack(cwnd, round * 50), &mut cx());
        assert_eq!(cc.cwnd(), 2 * cwnd);
    }
}

#[test]
fn an_unused_window_does_not_grow() {
    for algorithm in [Algorithm::CUBIC, Algorithm::NEW_RENO] {
        let mut cc = controller(algorithm);
        for i in 0..1_000 {
            cc.on_sent(MSS, UNA, UNA + 1);
            cc.on_ack(ack(MSS, i), &mut cx());
        }
        assert_eq!(cc.cwnd(), 10 * MSS);
    }
}

#[test]
fn loss_and_timeout_have_floors() {
    for algorithm in [Algorithm::CUBIC, Algorithm::NEW_RENO] {
        let mut cc = controller(algorithm);
        cc.on_loss(&Loss::new(10 * MSS, MSS), &mut cx());
        assert!(cc.cwnd() < 10 * MSS && cc.cwnd() >= 5 * MSS);
        for _ in 0..50 {
            cc.on_loss(&Loss::new(MSS, MSS), &mut cx());
        }
        assert_eq!(cc.ssthresh(), 2 * MSS);
        assert_eq!(cc.cwnd(), 2 * MSS);
        cc.on_timeout(&Loss::new(MSS, MSS), &mut cx());
        assert_eq!((cc.cwnd(), cc.ssthresh()), (MSS, 2 * MSS));
    }
}

#[test]
fn a_recovery_does_not_end_in_a_burst() {
    let mut cc = controller(Algorithm::NEW_RENO);
    cc.on_sent(10 * MSS, UNA, UNA + 1);
    cc.on_limited(0, UNA, UNA + 1);
    cc.on_ack(ack(90 * MSS, 1), &mut cx());
    cc.on_loss(&Loss::new(100 * MSS, MSS), &mut cx());
    assert_eq!(cc.cwnd(), 50 * MSS);
    cc.on_recovered(45 * MSS, MSS, &mut cx());
    assert_eq!(cc.cwnd(), 50 * MSS);
    cc.on_recovered(5 * MSS, MSS, &mut cx());
    assert_eq!((cc.cwnd(), cc.ssthresh()), (15 * MSS, 50 * MSS));
}

#[test]
fn idle_restarts_from_the_initial_window_and_remembers() {
    let mut cc = controller(Algorithm::NEW_RENO);
    cc.on_sent(10 * MSS, UNA, UNA + 1);
    cc.on_limited(0, UNA, UNA + 1);
    cc.on_ack(ack(90 * MSS, 1), &mut cx());
    assert_eq!(cc.cwnd(), 100 * MSS);
    let (idle, rto) = (Duration::from_secs(60), Duration::from_millis(200));
    cc.on_idle(idle, rto, MSS, &mut cx());
    assert_eq!(cc.cwnd(), 10 * MSS);
    assert!(cc.ssthresh() >= 75 * MSS);
}

#[test]
fn each_acknowledgment_of_a_round_trip_grows_the_window() {
    let mut cc = controller(Algorithm::CUBIC);
    let mut una = UNA;
    let end = una + 10 * MSS;
    cc.on_sent(10 * MSS, una, end);
    for i in 0..10 {
        una += MSS;
        cc.on_ack(ack(MSS, 50), &mut cx());
        assert_eq!(cc.cwnd(), (11 + i) * MSS);
        // The application has less to send than the window lets out.
        cc.on_sent(MSS, una, end + (i + 1) * MSS);
    }
    // The next round trip knows nothing of this one.
    cc.on_sent(MSS, end + 10 * MSS, end + 11 * MSS);
    cc.on_ack(ack(MSS, 100), &mut cx());
    assert_eq!(cc.cwnd(), 20 * MSS);
}

#[test]
fn slow_start_of_a_slow_application_ends_at_twice_its_flight() {
    let mut cc = controller(Algorithm::CUBIC);
    let mut una = UNA;
    for round in 1..10 {
        cc.on_sent(8 * MSS, una, una + 8 * MSS);
        for _ in 0..8 {
            una += MSS;
            cc.on_ack(ack(MSS, round * 50), &mut cx());
        }
    }
    assert_eq!(cc.cwnd(), 16 * MSS);
}

#[test]
fn what_a_recovery_holds_back_is_no_use_of_the_window() {
    let mut cc = controller(Algorithm::NEW_RENO);
    cc.on_sent(10 * MSS, UNA, UNA + 10 * MSS);
    cc.on_loss(&Loss::new(10 * MSS, MSS), &mut cx());
    cc.begin_recovery(10 * MSS);
    cc.on_limited(6 * MSS, UNA, UNA + 10 * MSS);
    cc.undo(MSS, &mut cx());
    assert_eq!(cc.cwnd(), 10 * MSS);
    cc.on_ack(ack(20 * MSS, 50), &mut cx());
    assert!(cc.cwnd() <= 20 * MSS, "{}", cc.cwnd());
    cc.on_ack(ack(20 * MSS, 60), &mut cx());
    assert!(cc.cwnd() <= 20 * MSS, "{}", cc.cwnd());
}
