//! The end of the daemon: by one signal, by two, killed, and started again under load.

use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use netstackd::probe::{noise, stream};
use nix::sys::signal::Signal;
use tests::program;
use tests::world::{Scratch, SetOnDrop, eventually, in_namespace, port, serve, targets};

/// Connects and echoes until `stop`, and counts successes and failures.
fn load(target: SocketAddr, stop: &AtomicBool, good: &AtomicU64, bad: &AtomicU64) {
    let message = noise(5, 20_000);
    let mut answer = vec![0; message.len()];
    while !stop.load(Ordering::Relaxed) {
        // A killed daemon does not answer: a short limit.
        let limit = Duration::from_millis(300);
        let result = stream::connect_within(target, limit).and_then(|mut stream| {
            (0..20).try_for_each(|_| stream::exchange(&mut stream, &message, &mut answer))
        });
        match result {
            Ok(()) => good.fetch_add(1, Ordering::Relaxed),
            Err(error) => {
                assert_ne!(error.kind(), std::io::ErrorKind::InvalidData, "{error}");
                thread::sleep(Duration::from_millis(5));
                bad.fetch_add(1, Ordering::Relaxed)
            }
        };
    }
}

#[test]
fn killed_and_started_again_under_load() {
    in_namespace(|| {
        let (stop, good, bad) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        let mut daemon = serve(program!(), &[]);
        thread::scope(|scope| {
            let stopping = SetOnDrop(&stop);
            for target in targets(port::ECHO).into_iter().cycle().take(4) {
                let (stop, good, bad) = (&stop, &good, &bad);
                scope.spawn(move || load(target, stop, good, bad));
            }
            for round in 0..3 {
                let served = good.load(Ordering::Relaxed);
                eventually("load is served", || {
                    good.load(Ordering::Relaxed) > served + 50
                });
                daemon.signal(Signal::SIGKILL);
                let status = daemon.wait(Duration::from_secs(20)).expect("it is dead");
                assert!(!status.success());
                let failed = bad.load(Ordering::Relaxed);
                eventually("load notices", || bad.load(Ordering::Relaxed) > failed);
                daemon = serve(program!(), &[]);
                println!("round {round}: started again");
            }
            let served = good.load(Ordering::Relaxed);
            eventually("load is served again", || {
                good.load(Ordering::Relaxed) > served + 50
            });
            drop(stopping);
        });
        println!("{good:?} connections served, {bad:?} cut off");
        let status = daemon.terminate().expect("it ends");
        assert!(status.success(), "{status}: {}", daemon.stderr());
    });
}

#[test]
fn sigterm_under_load_ends_well() {
    in_namespace(|| {
        let (stop, good, bad) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        let mut daemon = serve(program!(), &[]);
        thread::scope(|scope| {
            let _stopping = SetOnDrop(&stop);
            for target in targets(port::ECHO) {
                let (stop, good, bad) = (&stop, &good, &bad);
                scope.spawn(move || load(target, stop, good, bad));
            }
            eventually("load is served", || good.load(Ordering::Relaxed) > 50);
            let status = daemon.terminate().expect("it ends");
            assert!(status.success(), "{status}: {}", daemon.stderr());
        });
    });
}

#[test]
fn a_stop_closes_connections_gracefully() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        in_namespace(|| {
            let mut daemon = serve(program!(), &[]);
            let mut streams = targets(port::ECHO).map(|t| stream::connect(t).expect("connected"));
            for stream in &mut streams {
                stream::exchange(stream, b"hello", &mut [0; 5]).expect("an echo");
            }
            daemon.signal(signal);
            for stream in &mut streams {
                // The end of the stream, not a reset.
                assert_eq!(stream.read(&mut [0; 16]).expect("a FIN"), 0);
            }
            drop(streams);
            let status = daemon.wait(Duration::from_secs(20)).expect("it ends");
            assert_eq!(status.code(), Some(0), "{}", daemon.stderr());
        });
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    in_namespace(|| {
        let mut daemon = serve(program!(), &[]);
        // A client that never closes its half: the graceful stop waits for it.
        let mut stream = stream::connect(targets(port::ECHO)[0]).expect("connected");
        stream::exchange(&mut stream, b"hello", &mut [0; 5]).expect("an echo");
        daemon.signal(Signal::SIGTERM);
        assert_eq!(stream.read(&mut [0; 16]).expect("a FIN"), 0);
        // Within a moment it would be the same signal.
        thread::sleep(Duration::from_secs(1));
        daemon.signal(Signal::SIGTERM);
        let status = daemon.wait(Duration::from_secs(20)).expect("it ends");
        assert_eq!(status.code(), Some(8), "{}", daemon.stderr());
        let text = daemon.stderr();
        assert!(
            text.contains("second signal") && text.trim().lines().count() == 1,
            "{text}"
        );
    });
}

#[test]
fn a_stop_gives_up_on_peers_that_do_not_read() {
    let scratch = Scratch::new("grace");
    // Long enough for the client that reads, on a busy machine too.
    let config = scratch.write("grace.toml", "grace = \"4s\"\n");
    in_namespace(|| {
        let mut daemon = serve(program!(), &["--config", &config]);
        let mut reading = stream::connect(targets(port::CHARGEN)[0]).expect("connected");
        let mut stuck = stream::connect(targets(port::CHARGEN)[1]).expect("connected");
        stuck.read_exact(&mut [0; 100]).expect("characters");
        reading.read_exact(&mut [0; 100]).expect("characters");
        daemon.signal(Signal::SIGTERM);
        let mut rest = Vec::new();
        // Everything that was queued, then the end of the stream.
        reading.read_to_end(&mut rest).expect("a FIN");
        println!("{} characters and a FIN", rest.len());
        drop(reading);
        let status = daemon.wait(Duration::from_secs(20)).expect("it ends");
        assert_eq!(status.code(), Some(0), "{}", daemon.stderr());
        // The other client still has what it received; then comes the reset.
        let error = stuck.read_to_end(&mut rest).expect_err("a reset");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    });
}

#[test]
fn a_device_that_is_removed_is_reported() {
    in_namespace(|| {
        let mut daemon = serve(program!(), &[]);
        tests::world::ip("link del t0");
        let status = daemon.wait(Duration::from_secs(20)).expect("it ends");
        let text = daemon.stderr();
        assert_eq!(status.code(), Some(7), "{text}");
        assert!(
            text.contains("t0") && text.trim().lines().count() == 1,
            "{text}"
        );
    });
}
