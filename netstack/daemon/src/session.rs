//! A stack that its caller turns: the same one now and in a replay.

use std::time::Duration;

use netstack::base::Instant;
use netstack::device::Device;
use netstack::engine::future::Turns;
use netstack::net::{Begin, Checkpoint, Stack, StackBuilder};

use crate::failure::Failure;
use crate::reload;
use crate::services::{self, Running, Wall};
use crate::settings::Settings;

/// Begins to describe the stack of these settings.
pub(crate) fn builder(settings: &Settings) -> StackBuilder {
    let mut builder = Stack::builder().config(settings.stack.clone());
    for net in settings.addresses() {
        builder = builder.address(net.address(), net.len());
    }
    builder
}

/// Sets the routes of a stack that has just been made.
///
/// # Errors
/// A route cannot be used.
pub(crate) fn first_routes(stack: &Stack, settings: &Settings) -> Result<(), Failure> {
    reload::first_routes(stack, settings).map_err(|(route, error)| {
        settings
            .sources
            .fault("routes", &format!("'{route}' cannot be used: {error}"))
    })
}

/// The beginning of a stack with one worker, which its caller turns.
#[derive(Debug)]
pub(crate) struct Start {
    /// The seed of all randomness.
    pub(crate) seed: [u8; 32],
    /// The time on the stack's clock.
    pub(crate) now: Instant,
    /// The state of the stack whose place it takes, if it takes one's.
    pub(crate) checkpoint: Option<Checkpoint>,
}

/// Makes a stack with one worker, which the caller turns, and without services.
///
/// # Errors
/// The configuration cannot be used, or the checkpoint cannot be restored.
pub(crate) fn start(
    settings: &Settings,
    device: Box<dyn Device>,
    start: Start,
) -> Result<(Stack, Turns), Failure> {
    let unusable =
        |why: &dyn std::fmt::Display| Failure::Stack(format!("cannot start the stack: {why}"));
    let mut builder = builder(settings).seed(start.seed);
    if let Some(checkpoint) = start.checkpoint {
        builder = builder.restore(checkpoint);
    }
    let made = builder.manual(vec![device], start.now);
    let (stack, mut turns) = made.map_err(|error| unusable(&error))?;
    let turns = turns.pop().ok_or_else(|| unusable(&"it has no worker"))?;
    first_routes(&stack, settings)?;
    Ok((stack, turns))
}

/// The services of a stack that its caller turns.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) services: Running,
    /// Connections of the stack before that go on.
    pub(crate) resumed: usize,
    /// Connections of the stack before that its services could not hand over: they are reset.
    pub(crate) cut_off: usize,
    /// Lets a stack begin that has taken another one's place.
    pub(crate) begin: Option<Begin>,
}

/// Starts the services of such a stack. `origin` is the Unix time of its time zero.
///
/// # Errors
/// They cannot be started.
pub(crate) fn serve(
    stack: &Stack,
    settings: &Settings,
    origin: Duration,
) -> Result<Served, Failure> {
    let wall = Wall::of_stack(stack, origin);
    let opened = services::open(settings)?;
    let prepared = services::prepare(stack, settings, opened, &wall)?;
    let services = services::start(stack, settings, prepared, wall)?;
    let Some((streams, begin)) = stack.take_restored() else {
        return Ok(Served {
            services,
            resumed: 0,
            cut_off: 0,
            begin: None,
        });
    };
    let all = streams.len();
    let resumed = services.resume(stack, streams);
    Ok(Served {
        services,
        resumed,
        cut_off: all.saturating_sub(resumed),
        begin: Some(begin),
    })
}
