//! A stack that its caller turns: the same one now and in a replay.

use netstack::base::Instant;
use netstack::device::Device;
use netstack::engine::future::Turns;
use netstack::net::{Stack, StackBuilder};

use crate::failure::Failure;
use crate::reload;
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

/// Makes a stack with one worker, which the caller turns, and without services.
///
/// # Errors
/// The configuration cannot be used.
pub(crate) fn start(
    settings: &Settings,
    device: Box<dyn Device>,
    seed: [u8; 32],
    now: Instant,
) -> Result<(Stack, Turns), Failure> {
    let unusable =
        |why: &dyn std::fmt::Display| Failure::Stack(format!("cannot start the stack: {why}"));
    let made = builder(settings).seed(seed).manual(vec![device], now);
    let (stack, mut turns) = made.map_err(|error| unusable(&error))?;
    let turns = turns.pop().ok_or_else(|| unusable(&"it has no worker"))?;
    first_routes(&stack, settings)?;
    Ok((stack, turns))
}
