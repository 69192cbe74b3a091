//! Reloading on SIGHUP: the configuration is read again, what can change at once is changed, and what cannot is named.

use std::io;

use netstack::base::Limits;
use netstack::net::{Route, Stack};

use crate::config::show_parts;
use crate::file::show_limits;
use crate::logs::Logs;
use crate::services::{Opened, Running};
use crate::settings::Settings;

/// The keys that can change while the daemon runs.
const CHANGEABLE: [&str; 12] = [
    "addresses",
    "routes",
    "services",
    "log",
    "grace",
    "http-root",
    "http-listing",
    "http-header-timeout",
    "http-requests",
    "connections-per-peer",
    "upstream",
    "rules",
];

/// Those of the stack's limits that can, all or none.
const LIMITS: [&str; 7] = [
    "max_connections",
    "max_half_open",
    "max_time_wait",
    "memory_bytes",
    "icmp_errors_per_second",
    "icmp_error_burst",
    "tcp.backlog",
];

/// Returns true if a key can change while the daemon runs.
pub(crate) fn can_change(key: &str) -> bool {
    CHANGEABLE.contains(&key) || LIMITS.contains(&key)
}

/// The result of a reload.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    changed: Vec<&'static str>,
    /// Keys that have another value now, and keep the old one until the daemon is started again.
    restart: Vec<&'static str>,
    /// The keys that could not be changed, and why.
    failed: Vec<String>,
}

impl Outcome {
    /// Adds what changed beside the settings.
    pub(crate) fn also(&mut self, key: &'static str) {
        if !self.changed.contains(&key) {
            self.changed.push(key);
        }
    }

    /// Returns the line for stdout.
    pub(crate) fn line(&self) -> String {
        let list = |keys: &[&str]| {
            if keys.is_empty() {
                "none".to_owned()
            } else {
                keys.join(",")
            }
        };
        let mut line = format!(
            "reloaded changed={} restart-for={}",
            list(&self.changed),
            list(&self.restart)
        );
        if !self.failed.is_empty() {
            line += &format!(" failed: {}", self.failed.join("; "));
        }
        line
    }
}

/// Brings a running stack from the settings `old` to `new`, as far as that can be done, and `old` to what is in force then.
pub(crate) fn apply(
    old: &mut Settings,
    (new, opened): (Settings, Opened),
    stack: &Stack,
    services: &mut Running,
    logs: &Logs,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut next = old.clone();
    let differing = differing(old, &new);
    let limits_changed = change_limits(stack, &mut next, &new, &differing, &mut outcome.failed);
    for (key, _) in differing {
        // Memory of which the file says nothing is a part of the machine's, as of the start.
        let is_unsaid = key == "memory_bytes" && new.stack.memory_bytes.is_none();
        if CHANGEABLE.contains(&key) || (LIMITS.contains(&key) && limits_changed && !is_unsaid) {
            outcome.changed.push(key);
        } else if is_unsaid || !LIMITS.contains(&key) {
            outcome.restart.push(key);
        }
    }
    let failed = &mut outcome.failed;
    // Addresses come first and go last: a route may have one as its source, and services are bound to them.
    let added = missing(&new.further, &old.further);
    for &address in &added {
        note(failed, &address, stack.add_address(address));
    }
    change_routes(stack, &old.routes, &new, failed);
    next.further = new.further;
    next.routes = new.routes;
    next.services = new.services;
    next.grace = new.grace;
    next.log = new.log;
    next.http = new.http;
    next.per_peer = new.per_peer;
    next.policy = new.policy;
    next.sources = new.sources;
    if let Err(failure) = services.follow(stack, &next, opened) {
        failed.push(failure.to_string());
    }
    for address in missing(&old.further, &next.further) {
        note(failed, &address, stack.remove_address(address));
    }
    logs.set_levels(&next.log);
    *old = next;
    outcome
}

/// Returns the keys whose values differ, with the new values.
fn differing(old: &Settings, new: &Settings) -> Vec<(&'static str, String)> {
    let values = |settings: &Settings| {
        let mut values = show_parts(settings);
        values.extend(show_limits(&settings.stack));
        values
    };
    let pairs = values(old).into_iter().zip(values(new));
    pairs
        .filter(|(old, new)| old.1 != new.1)
        .map(|(_, new)| new)
        .collect()
}

/// Returns what `these` have and `others` lack.
fn missing<T: PartialEq + Copy>(these: &[T], others: &[T]) -> Vec<T> {
    these
        .iter()
        .copied()
        .filter(|one| !others.contains(one))
        .collect()
}

/// Changes the limits that differ; false if they stay as they were.
fn change_limits(
    stack: &Stack,
    next: &mut Settings,
    new: &Settings,
    differing: &[(&'static str, String)],
    failed: &mut Vec<String>,
) -> bool {
    if !differing.iter().any(|(key, _)| LIMITS.contains(key)) {
        return true;
    }
    let limits = Limits::of(&new.stack);
    let result = stack.set_limits(limits);
    let changed = result.is_ok();
    note(failed, &"limits", result);
    if changed {
        limits.apply_to(&mut next.stack);
    }
    changed
}

fn note<E: std::fmt::Display>(
    failed: &mut Vec<String>,
    what: &dyn std::fmt::Display,
    result: Result<(), E>,
) {
    if let Err(error) = result {
        failed.push(format!("{what}: {error}"));
    }
}

fn change_routes(stack: &Stack, old: &[Route], new: &Settings, failed: &mut Vec<String>) {
    let kept = |route: &Route| new.routes.iter().any(|one| one.prefix == route.prefix);
    for route in old.iter().filter(|route| !kept(route)) {
        // The routes that a stack begins with take their place again.
        let is_first = route.prefix.is_empty()
            || new
                .addresses()
                .iter()
                .any(|address| address.network() == route.prefix);
        let result = match is_first {
            true => stack.replace_route(Route::new(route.prefix)),
            false => stack.remove_route(route.prefix),
        };
        note(failed, &route.prefix, result);
    }
    for route in missing(&new.routes, old) {
        note(failed, &route, stack.replace_route(route));
    }
}

/// Adds the routes of the settings to a stack that has just begun.
///
/// # Errors
/// Returns the route that cannot be added, and why.
pub(crate) fn first_routes(stack: &Stack, settings: &Settings) -> Result<(), (Route, io::Error)> {
    for &route in &settings.routes {
        stack
            .replace_route(route)
            .map_err(|error| (route, io::Error::other(error)))?;
    }
    Ok(())
}
