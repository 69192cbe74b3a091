//! `check` and `config`: what is in force, and where it came from.

use clap::Subcommand;
use serde::Serialize;

use crate::cli::RunArgs;
use crate::confine;
use crate::console::print_line;
use crate::failure::Failure;
use crate::file::{EXAMPLE, quoted, show_limits};
use crate::proxy::upstream::Upstream;
use crate::reload;
use crate::settings::Settings;
use crate::sources::Origin;

/// A command about the configuration.
#[derive(Debug, Subcommand)]
// One value exists per process: its size does not matter.
#[allow(clippy::large_enum_variant)]
pub enum ConfigCommand {
    /// Prints each key with its value, as a configuration file, and where the value came from.
    Print(RunArgs),
    /// Prints a configuration file that documents each key.
    Example,
}

/// Runs a command.
///
/// # Errors
/// The configuration is wrong.
pub(crate) fn run(command: &ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Print(args) => print_line(&text_of(&args.settings()?)),
        ConfigCommand::Example => print_line(EXAMPLE),
    }
    Ok(())
}

/// Checks the configuration and opens nothing.
///
/// # Errors
/// It is wrong.
pub(crate) fn check(args: &RunArgs) -> Result<(), Failure> {
    let settings = args.settings()?;
    confine::identity::of(&settings)?;
    let addresses: Vec<String> = settings
        .addresses()
        .iter()
        .map(ToString::to_string)
        .collect();
    print_line(&format!(
        "the configuration is good: {} {}",
        settings.tun,
        addresses.join(" ")
    ));
    Ok(())
}

/// Returns each key of the daemon with its value as the file writes it; an empty one is none.
pub(crate) fn show_parts(settings: &Settings) -> Vec<(&'static str, String)> {
    let text = |value: Option<String>| value.map(quoted).unwrap_or_default();
    let list = |texts: Vec<String>| {
        let texts: Vec<String> = texts.into_iter().map(quoted).collect();
        format!("[{}]", texts.join(", "))
    };
    let host = |host: Option<String>| text(host.filter(|_| !settings.prepared));
    let routes = settings.routes.iter().map(ToString::to_string);
    let further = settings.further.iter().map(ToString::to_string);
    let rules = settings.policy.rules().iter().map(ToString::to_string);
    let services = settings
        .services
        .iter()
        .map(|service| service.name().to_owned());
    vec![
        ("tun", quoted(&settings.tun)),
        (
            "tun-fd",
            text(settings.tun_fd.as_ref().map(ToString::to_string)),
        ),
        ("prepared", settings.prepared.to_string()),
        ("addr", text(settings.v4.map(|link| link.ours.to_string()))),
        ("addr6", text(settings.v6.map(|link| link.ours.to_string()))),
        ("addresses", list(further.collect())),
        ("routes", list(routes.collect())),
        (
            "host-addr",
            host(settings.v4.map(|link| link.host.to_string())),
        ),
        (
            "host-addr6",
            host(settings.v6.map(|link| link.host.to_string())),
        ),
        ("mtu", settings.mtu.to_string()),
        ("queues", settings.queues.get().to_string()),
        ("offload", quoted(settings.offload)),
        ("services", list(services.collect())),
        (
            "pcap",
            text(
                settings
                    .pcap
                    .as_ref()
                    .map(|path| path.display().to_string()),
            ),
        ),
        (
            "admin",
            text(settings.admin.map(|address| address.to_string())),
        ),
        (
            "dashboard",
            text(settings.dashboard.map(|address| address.to_string())),
        ),
        ("log", quoted(&settings.log)),
        ("log-format", quoted(settings.log_format)),
        ("control", quoted(&settings.control)),
        (
            "control-mode",
            quoted(format!("{:04o}", settings.control_mode)),
        ),
        (
            "user",
            text(settings.user.as_ref().map(ToString::to_string)),
        ),
        (
            "group",
            text(settings.group.as_ref().map(ToString::to_string)),
        ),
        ("sandbox", quoted(settings.sandbox)),
        ("grace", quoted(humantime::format_duration(settings.grace))),
        (
            "http-root",
            text(
                settings
                    .http
                    .root
                    .as_ref()
                    .map(|path| path.display().to_string()),
            ),
        ),
        ("http-listing", settings.http.listing.to_string()),
        (
            "http-header-timeout",
            quoted(humantime::format_duration(settings.http.header_timeout)),
        ),
        ("http-requests", settings.http.requests.to_string()),
        (
            "connections-per-peer",
            settings
                .per_peer
                .given()
                .map(|count| count.to_string())
                .unwrap_or_default(),
        ),
        (
            "upstream",
            text(settings.policy.upstream.as_ref().map(Upstream::url)),
        ),
        ("rules", list(rules.collect())),
    ]
}

/// A key, as the dashboard shows it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct KeyRow {
    key: String,
    /// As the file writes it; an empty one is none.
    value: String,
    /// The flag, the variable, or the line of the file that the value comes from.
    origin: String,
    is_default: bool,
    /// SIGHUP changes it while the daemon runs.
    is_changeable: bool,
}

/// Returns each key with its value, and where the value came from.
pub(crate) fn rows(settings: &Settings) -> Vec<KeyRow> {
    let row = |(key, value): (&'static str, String)| {
        let origin = settings.sources.origin(key);
        KeyRow {
            key: key.to_owned(),
            value,
            origin: origin.to_string(),
            is_default: origin == Origin::Default,
            is_changeable: reload::can_change(key),
        }
    };
    let limits = show_limits(&settings.stack);
    let keys = show_parts(settings).into_iter().chain(limits);
    keys.map(row).collect()
}

/// Returns the whole configuration in force as a file.
pub(crate) fn text_of(settings: &Settings) -> String {
    let limits = show_limits(&settings.stack);
    let (tcp, top): (Vec<_>, Vec<_>) = limits
        .into_iter()
        .partition(|(key, _)| key.starts_with("tcp."));
    let mut text = String::new();
    for (key, value) in show_parts(settings).iter().chain(&top) {
        text.push_str(&line_of(settings, key, value));
    }
    text.push_str("\n[tcp]\n");
    for (key, value) in &tcp {
        text.push_str(&line_of(settings, key, value));
    }
    text
}

fn line_of(settings: &Settings, key: &str, value: &str) -> String {
    let name = key.strip_prefix("tcp.").unwrap_or(key);
    let origin = settings.sources.origin(key);
    match (value, origin) {
        ("", _) => format!("{:<48} # default: none\n", format!("#{name} =")),
        (_, origin) => format!("{:<48} # {origin}\n", format!("{name} = {value}")),
    }
}
