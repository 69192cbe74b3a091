//! The time of a stack: sleeps, limits and intervals of tasks, on virtual time and on the machine's clock; and what a
//! simulation does with tasks that panic or never end.

use std::future::pending;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::mpsc::channel as list;
use std::time::Duration;

use netstack::base::{Config, Instant};
use netstack::device::Device;
use netstack::device::channel::{ChannelConfig, channel};
use netstack::device::memory::{LinkConfig, pair};
use netstack::engine::sim::{Simulation, Step};
use netstack::net::{EndReason, Stack};
use netstack::stack::Host;
use netstackd::probe::now;
use tests::{forge, pipes};

const START: Instant = Instant::from_millis(1_000);
/// Real time after which a test fails.
const LIMIT: Duration = Duration::from_secs(20);

fn add(sim: &mut Simulation, device: impl Device) -> (Stack, usize) {
    let addresses = [([10, 77, 0, 1].into(), 24)];
    let host = Host::new(Config::default(), &addresses, device.caps(), 1, [1; 32]).expect("a host");
    let place = sim.add(&host, 0, device);
    (Stack::from_host(host), place)
}

fn world() -> (Simulation, Stack, usize) {
    let mut sim = Simulation::new(START);
    let (stack, place) = add(&mut sim, pair(&LinkConfig::default()).0);
    (sim, stack, place)
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn tasks_wake_in_the_order_of_their_deadlines_at_exactly_these() {
    let (mut sim, stack, place) = world();
    let (log, woken) = list();
    // Not in order, two at one time, one in the past, and more than one turn takes up.
    let mut deadlines: Vec<u64> = vec![30, 10, 20, 10, 0];
    deadlines.extend(std::iter::repeat_n(40, 2_000));
    for (number, millis) in (0..).zip(&deadlines) {
        let (time, log) = (stack.time(), log.clone());
        let duration = Duration::from_millis(*millis);
        sim.spawn(place, async move {
            time.sleep(duration).await.expect("the stack runs");
            log.send((number, time.now())).expect("kept");
        });
    }
    sim.run(START + secs(1)).expect("all end");
    let woken: Vec<(u64, Instant)> = woken.try_iter().collect();
    let first: Vec<u64> = woken.iter().take(5).map(|(number, _)| *number).collect();
    assert_eq!(first, [4, 1, 3, 2, 0]);
    assert_eq!(woken.len(), deadlines.len());
    for (number, at) in woken {
        let due = START + Duration::from_millis(deadlines[number as usize]);
        assert_eq!(at, due, "{number}");
    }
}

#[test]
fn a_time_limit_ends_what_is_late_and_nothing_else() {
    let (mut sim, stack, place) = world();
    let time = stack.time();
    sim.spawn(place, async move {
        let slow = time.timeout(secs(2), time.sleep(secs(3))).await;
        assert_eq!(slow.expect_err("late").kind(), ErrorKind::TimedOut);
        assert_eq!(time.now(), START + secs(2));
        let quick = time.timeout(secs(3), time.sleep(secs(2))).await;
        quick.expect("in time").expect("the stack runs");
        assert_eq!(time.now(), START + secs(4));
        // A future that is ready when the time has passed succeeds.
        let both = time.timeout(Duration::ZERO, async { 7 }).await;
        assert_eq!(both.expect("ready"), 7);
    });
    sim.run(START + secs(60)).expect("it ends");
    // Dropped sleeps leave no timer behind.
    assert_eq!(sim.now(), START + secs(4));
    assert_eq!(sim.step(START + secs(60)).expect("a step"), Step::Quiet);
    assert_eq!(sim.now(), START + secs(60));
}

#[test]
fn an_interval_keeps_its_rhythm_and_skips_what_was_missed() {
    let (mut sim, stack, place) = world();
    let (ticks, log) = list();
    let time = stack.time();
    sim.spawn(place, async move {
        let mut interval = time.interval(secs(10));
        for number in 0..5 {
            let due = interval.tick().await.expect("the stack runs");
            ticks.send(due).expect("kept");
            if number == 1 {
                time.sleep(secs(25)).await.expect("the stack runs");
            }
        }
    });
    sim.run(START + secs(60)).expect("it ends");
    let dues: Vec<Duration> = log.try_iter().map(|at| at - START).collect();
    assert_eq!(dues, [0, 10, 20, 40, 50].map(secs));
}

#[test]
fn a_sleep_that_is_moved_or_dropped_leaves_its_place() {
    let (mut sim, stack, place) = world();
    let time = stack.time();
    sim.spawn(place, async move {
        let mut sleep = Box::pin(time.sleep(secs(5)));
        futures::poll!(&mut sleep)
            .is_ready()
            .then(|| panic!("early"));
        sleep.as_mut().get_mut().reset(START + secs(1));
        sleep.as_mut().await.expect("the stack runs");
        assert_eq!(time.now(), START + secs(1));
        let mut other = Box::pin(time.sleep(secs(100)));
        futures::poll!(&mut other)
            .is_ready()
            .then(|| panic!("early"));
    });
    sim.run(START + secs(60)).expect("it ends");
    assert_eq!(sim.now(), START + secs(1));
    assert_eq!(sim.step(START + secs(2)).expect("a step"), Step::Quiet);
}

#[test]
fn a_simulation_fails_if_a_task_panics_unless_that_is_wanted() {
    for contained in [false, true] {
        let (mut sim, _stack, place) = world();
        if contained {
            sim.contain_panics();
        }
        sim.spawn(place, async { panic!("wrong answer") });
        let ran = sim.run(START + secs(1));
        assert_eq!(ran.is_ok(), contained);
        if let Err(error) = ran {
            assert!(error.to_string().contains("wrong answer"), "{error}");
        }
    }
}

#[test]
fn a_service_that_panics_fails_the_simulation_too() {
    let (mut sim, stack, _) = world();
    stack.spawn_on(0, async { panic!("in a service") });
    let error = sim.run_until(START + secs(1), |_| false);
    let error = error.expect_err("a panic").to_string();
    assert!(error.contains("in a service"), "{error}");
}

#[test]
fn a_task_that_never_ends_or_has_no_worker_is_an_error() {
    let (mut sim, _stack, place) = world();
    sim.spawn(place, pending());
    let error = sim.run(START + secs(9)).expect_err("it waits");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.to_string().starts_with("1 task"), "{error}");
    assert_eq!((sim.now(), sim.unfinished()), (START + secs(9), 1));
    sim.spawn(place + 1, async {});
    let error = sim.step(START + secs(10)).expect_err("no such place");
    assert!(error.to_string().contains("place 1"), "{error}");
}

#[test]
fn tasks_that_wait_are_not_run_out_of_the_simulation() {
    let (mut sim, stack, place) = world();
    let (sender, receiver) = futures::channel::oneshot::channel();
    let time = stack.time();
    // Nothing on the network: one task waits for the other, and that one for the time.
    sim.spawn(place, async move { assert_eq!(receiver.await, Ok(7)) });
    sim.spawn(place, async move {
        time.sleep(secs(3)).await.expect("the stack runs");
        sender.send(7).expect("it waits");
    });
    sim.run(START + secs(60)).expect("both end");
    assert_eq!(sim.now(), START + secs(3));
}

#[test]
fn any_device_takes_part() {
    let mut sim = Simulation::new(START);
    let (device, mut pipe) = channel(ChannelConfig::default());
    let (_stack, _) = add(&mut sim, device);
    let (peer, ours) = ([10, 77, 0, 9], [10, 77, 0, 1]);
    let message = forge::icmp(8, 0, [1, 2, 3, 4], b"ping");
    let request = forge::packet_to(peer.into(), ours.into(), 1, &message);
    pipe.try_send(forge::sealed(request)).expect("room");
    sim.step(START + secs(1)).expect("a step");
    let answer = pipe.try_recv().expect("an answer");
    assert_eq!(answer.get(16..20), Some(&peer[..]));
}

/// On the machine's clock, from threads that are not the worker's: an earlier deadline wakes a worker that sleeps
/// until a later one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sleeps_from_other_threads_end_on_time_and_with_the_stack() {
    let (stack, _pipe) = pipes::stack(&["10.77.0.1/24"], ChannelConfig::default());
    let time = stack.time();
    let long = tokio::spawn({
        let time = time.clone();
        async move { time.sleep(secs(3_600)).await }
    });
    let start = now();
    for millis in [50, 30, 10, 1] {
        let before = time.now();
        let slept = time.sleep(Duration::from_millis(millis));
        let slept = tokio::time::timeout(LIMIT, slept).await;
        slept.expect("it wakes").expect("the stack runs");
        assert!(time.now() - before >= Duration::from_millis(millis));
    }
    assert!(now() - start < LIMIT && !long.is_finished());
    let on_worker = tokio::sync::oneshot::channel();
    let clock = time.clone();
    stack.spawn_on(0, async move {
        let slept = clock.sleep(Duration::from_millis(5)).await;
        let _ = on_worker.0.send(slept.is_ok());
    });
    let slept = tokio::time::timeout(LIMIT, on_worker.1).await;
    assert_eq!(slept.expect("it wakes"), Ok(true));

    stack.abort().expect("asked for");
    let ended = tokio::time::timeout(LIMIT, long).await;
    let error = ended.expect("it ends").expect("no panic").expect_err("why");
    let reason = error.get_ref().and_then(|e| e.downcast_ref::<EndReason>());
    assert!(matches!(reason, Some(EndReason::Aborted)), "{error}");
    let late = time.sleep(secs(3_600)).await.expect_err("at once");
    assert_eq!(late.kind(), ErrorKind::ConnectionAborted);
    let late = time.timeout(secs(1), pending::<SocketAddr>()).await;
    assert_eq!(
        late.expect_err("at once").kind(),
        ErrorKind::ConnectionAborted
    );
}
