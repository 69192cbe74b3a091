//! The control connection: a test from its parameters to its results.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use netstack::base::Instant;
use netstack::net::TcpStream;
use netstack::net::time::Time;
use tokio::sync::{mpsc, watch};

use super::params::Params;
use super::results::{Load, Outcome};
use super::stream::{Counts, Phase, Role, Snapshot, Test};
use super::wire::{Control, End, Fault, PATIENCE, State};
use super::{Arrival, Reservation};

/// Most bytes of the parameters, and of the client's results.
const PARAMS_MAX: usize = 8 << 10;
const RESULTS_MAX: usize = 256 << 10;
/// Time that a test may take beyond what it was to take.
const GRACE: Duration = Duration::from_secs(40);
/// Longest test of a given number of bytes.
const LONGEST: Duration = Duration::from_secs(86_400);
/// Time without data after which a test ends.
const SILENCE: Duration = Duration::from_secs(120);
/// Pause between two looks whether data flows.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Keepalive of the control connection, on which nothing is sent while data flows.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// The streams of a test, in the client's order, and what they had when the uncounted beginning was over.
type Streams = Vec<(Arc<Counts>, Snapshot)>;

/// Holds a test. Its place is free again before the client hears how it ended.
pub(super) async fn run(
    stream: TcpStream,
    peer: SocketAddr,
    time: &Time,
    reservation: Reservation,
    arrived: mpsc::Receiver<Arrival>,
) {
    // Each fails only if the connection is at its end already.
    let _ = stream.set_nodelay(true);
    let _ = stream.set_keepalive(Some(KEEPALIVE));
    let _ = stream.set_keepalive_interval(KEEPALIVE);
    let _ = stream.set_keepalive_count(3);
    let mut control = Control::new(stream, time);
    match test(&mut control, peer, time, reservation, arrived).await {
        Ok(()) => tracing::debug!(target: "netstackd::services", %peer, "iperf3: a test has ended"),
        Err(End::Gone) => {
            tracing::info!(target: "netstackd::services", %peer, "iperf3: the client has gone");
        }
        Err(End::Fault(fault)) => {
            tracing::info!(target: "netstackd::services", %peer, ?fault, "iperf3: a test failed");
            control.fail(fault).await;
        }
    }
}

async fn test(
    control: &mut Control<'_>,
    peer: SocketAddr,
    time: &Time,
    reservation: Reservation,
    arrived: mpsc::Receiver<Arrival>,
) -> Result<(), End> {
    control.send(State::ParamExchange).await?;
    let params = control.read_json(PARAMS_MAX, Fault::Params).await?;
    let test = Arc::new(Test::new(Params::parse(params)?));
    let params = &test.params;
    reservation.gather(Some(params.protocol));
    control.send(State::CreateStreams).await?;
    let arrivals = gather(control, time, params.streams(), arrived).await?;
    reservation.gather(None);
    let (phase, phases) = watch::channel(Phase::Gathering);
    let mut streams = assign(&test, arrivals, &reservation.order(), &phases);
    drop(phases);
    control.send(State::TestStart).await?;
    control.send(State::TestRunning).await?;
    let (begin, before) = (time.now(), Load::now());
    phase.send_replace(Phase::Running);
    let counted_from = watch_over(control, time, params, &mut streams).await?;
    // The streams end with it.
    drop(phase);
    let end = time.now();
    control.send(State::ExchangeResults).await?;
    control.read_json(RESULTS_MAX, Fault::Results).await?;
    let outcome = Outcome {
        params,
        peer,
        streams: &streams,
        counted: end.saturating_since(counted_from),
        elapsed: end.saturating_since(begin),
        before,
    };
    control.write_json(&outcome.json()).await?;
    // A client that has ended leaves the place free for the next one.
    drop(reservation);
    control.send(State::DisplayResults).await?;
    // It says that it is done, or closes the connection.
    let done = time.timeout(PATIENCE, control.state()).await?;
    done.map(drop).or_else(|end| match end {
        End::Gone => Ok(()),
        fault => Err(fault),
    })
}

/// Waits for the streams of a test.
async fn gather(
    control: &mut Control<'_>,
    time: &Time,
    count: usize,
    mut arrived: mpsc::Receiver<Arrival>,
) -> Result<Vec<Arrival>, End> {
    let all = pin!(time.timeout(PATIENCE, async {
        let mut arrivals = Vec::with_capacity(count);
        while arrivals.len() < count {
            arrivals.push(arrived.recv().await?);
        }
        Some(arrivals)
    }));
    // The client says nothing meanwhile, unless it gives up.
    match select(all, pin!(control.state())).await {
        Either::Left((Ok(Some(arrivals)), _)) => Ok(arrivals),
        Either::Left(_) => Err(End::Fault(Fault::Missing)),
        Either::Right((state, _)) => Err(state.map_or_else(|end| end, |_| End::Gone)),
    }
}

/// Tells each stream what it is to do: the first ones bring data, the others take it.
fn assign(
    test: &Arc<Test>,
    mut arrivals: Vec<Arrival>,
    order: &[SocketAddr],
    phases: &watch::Receiver<Phase>,
) -> Streams {
    let place = |peer: SocketAddr| order.iter().position(|one| *one == peer);
    arrivals.sort_by_key(|arrival| place(arrival.peer).unwrap_or(usize::MAX));
    let mut streams = Streams::with_capacity(arrivals.len());
    for (place, arrival) in arrivals.into_iter().enumerate() {
        let counts = Arc::new(Counts::new(place, place >= test.params.receive));
        let role = Role {
            test: Arc::clone(test),
            counts: Arc::clone(&counts),
            phase: phases.clone(),
        };
        // One that has gone already counts nothing.
        let _ = arrival.role.send(role);
        streams.push((counts, Snapshot::default()));
    }
    streams
}

/// Waits until the client ends the test. Returns since when it counts.
async fn watch_over(
    control: &mut Control<'_>,
    time: &Time,
    params: &Params,
    streams: &mut Streams,
) -> Result<Instant, End> {
    let begin = time.now();
    let omit = Duration::from_secs(params.omit.into());
    let length = match params.seconds {
        0 => LONGEST,
        seconds => Duration::from_secs(seconds.into()),
    };
    let deadline = begin + length + omit + GRACE;
    let counted_from = begin + omit;
    let mut is_omitting = !omit.is_zero();
    let (mut moved, mut moved_at) = (0, begin);
    loop {
        let now = time.now();
        let mut next = (now + LOOK_EVERY).min(deadline);
        if is_omitting {
            next = next.min(counted_from);
        }
        let sleep = pin!(time.sleep_until(next));
        match select(pin!(control.state()), sleep).await {
            Either::Left((Ok(State::TestEnd), _)) => return Ok(counted_from),
            Either::Left((Ok(State::ClientTerminate | State::IperfDone), _)) => {
                return Err(End::Gone);
            }
            Either::Left((Ok(_), _)) => return Err(End::Fault(Fault::Message)),
            Either::Left((Err(end), _)) => return Err(end),
            Either::Right((slept, _)) => slept?,
        }
        let now = time.now();
        if is_omitting && now >= counted_from {
            is_omitting = false;
            for (counts, omitted) in streams.iter_mut() {
                *omitted = counts.snapshot();
            }
        }
        let bytes: u64 = streams
            .iter()
            .map(|(counts, _)| counts.snapshot().bytes)
            .sum();
        if bytes != moved {
            (moved, moved_at) = (bytes, now);
        }
        if now >= deadline {
            return Err(End::Fault(Fault::Expired));
        }
        if now.saturating_since(moved_at) >= SILENCE {
            return Err(End::Fault(Fault::Silence));
        }
    }
}
