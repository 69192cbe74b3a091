//! The command line. Each of its errors is one sentence.

use std::ffi::OsString;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, Args, Parser, Subcommand};
use netstack::device::OffloadMode;

use crate::client::ClientCommand;
use crate::config::ConfigCommand;
use crate::documents::{self, DocumentCommand};
use crate::exec::inside::InsideArgs;
use crate::exec::{self, ExecArgs};
use crate::failure::{EXIT_CODES, Failure};
use crate::file::{File, layers};
use crate::flags::FileArgs;
use crate::forward::{self, ForwardArgs};
use crate::places::Descriptors;
use crate::proxy::ProxyArgs;
use crate::proxy::rules::Policy;
use crate::record::RecordArgs;
use crate::replay::{self, ReplayArgs};
use crate::settings::{MIN_MTU_V6, Settings};
use crate::sources::Sources;
use crate::supervisor::passed::{self, Passed};
use crate::values::{Queues, parse_offload};

/// A host of its own behind a TUN device: IPv4, IPv6, ICMP, UDP and TCP in user space.
#[derive(Debug, Parser)]
#[command(name = "netstackd", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The command to run.
#[derive(Debug, Subcommand)]
// One value exists per process: its size does not matter.
#[allow(clippy::large_enum_variant)]
pub enum Command {
    /// Opens the TUN device in this network namespace and serves until SIGTERM or SIGINT.
    ///
    /// Prints one line `ready …` to stdout as soon as it serves. SIGTERM and SIGINT close every
    /// connection gracefully; a second one, half a second later or more, ends the program at once. SIGHUP reads the
    /// configuration file again and prints one line `reloaded …`. SIGUSR1 prints one line
    /// `counters …` to stdout. SIGUSR2 prints the counters of the MIBs as `nstat -a` does, with an empty line behind
    /// them.
    #[command(after_help = EXIT_CODES)]
    Run(StartArgs),
    /// Brings every TCP and UDP flow that enters the device to its destination, directly or through a proxy.
    ///
    /// A connection is answered when its destination has answered. SIGHUP reads the rules again; flows that are there
    /// stay. Everything else is as with run, without services unless --services names some.
    #[command(after_help = EXIT_CODES)]
    Proxy(ProxyArgs),
    /// Brings ports of this machine into the stack's network, and ports of the stack to this machine.
    ///
    /// A connection to the stack is answered when the server has answered. Everything else is as with run, without services
    /// unless --services names some.
    #[command(after_help = forward::EXAMPLES)]
    Forward(ForwardArgs),
    /// Runs a command in a network namespace of its own, whose only network is the stack.
    ///
    /// Everything that the command sends goes to its destination through this machine, or through a proxy, with the rules of
    /// proxy. It needs no root where user namespaces are allowed. The command has the terminal; signals go on to it; the
    /// network ends with it.
    #[command(after_help = exec::EXIT_CODES)]
    Exec(ExecArgs),
    /// The program that exec starts inside.
    #[command(hide = true)]
    ExecInside(InsideArgs),
    /// Checks flags, environment and configuration file as run would, and opens nothing.
    #[command(after_help = EXIT_CODES)]
    Check(RunArgs),
    /// Shows the configuration.
    #[command(subcommand, after_help = EXIT_CODES)]
    Config(ConfigCommand),
    /// Shows the stack at work in namespaces of its own; needs no root and touches no host network.
    #[command(after_help = EXIT_CODES)]
    Demo(DemoArgs),
    /// Runs a recording of run --record again, and compares every packet that the stack sends with the recorded one.
    #[command(after_help = replay::EXAMPLES)]
    Replay(ReplayArgs),
    /// Asks a running daemon.
    #[command(flatten)]
    Client(ClientCommand),
    /// Writes documentation.
    #[command(flatten)]
    Documents(DocumentCommand),
}

/// Flags of `run`.
#[derive(Clone, Debug, Args)]
pub struct StartArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(flatten)]
    pub(crate) take_over: TakeOverArgs,
    #[command(flatten)]
    pub(crate) record: RecordArgs,
}

/// The flag of a daemon that begins in the place of another one.
#[derive(Clone, Debug, Args)]
pub struct TakeOverArgs {
    /// Control socket of a running netstackd whose place this one takes: its device and its connections go over, and it ends.
    /// If that fails, it goes on as it was.
    #[arg(long = "take-over", value_name = "PATH")]
    pub(crate) path: Option<PathBuf>,
}

/// Flags of `run`, of `check` and of `config print`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Any key of the configuration file, e.g. tcp.time_wait=30s; netstackd config example lists them.
    #[arg(long, value_name = "KEY=VALUE", action = ArgAction::Append)]
    set: Vec<String>,
    /// TOML file with the same keys, `grace` and the stack's limits; netstackd config example documents each. Variables of
    /// the environment, e.g. NETSTACKD_MTU or NETSTACKD_TCP_TIME_WAIT, override it, and flags override both.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Ends the program with the thread that started it, so that tests and the demo leave nothing behind.
    #[arg(long, hide = true)]
    pub(crate) exit_with_parent: bool,
}

impl RunArgs {
    /// Leaves services out that are not named.
    pub(crate) fn without_services(self) -> Self {
        Self {
            file: self.file.without_services(),
            ..self
        }
    }

    /// Asks for a single queue.
    ///
    /// # Errors
    /// Several are asked for. The sentence says that `flag` wants one, and why.
    pub(crate) fn with_one_queue(self, flag: &str, why: &str) -> Result<Self, Failure> {
        Ok(Self {
            file: self.file.with_one_queue(flag, why)?,
            ..self
        })
    }

    /// Reads the environment, and the configuration file if one is given, and checks all settings together. Flags win over
    /// the environment, and that over the file.
    ///
    /// # Errors
    ///
    /// Returns [`Failure::Config`] for an error in the file, [`Failure::Usage`] for one in the flags or the environment.
    pub fn settings(&self) -> Result<Settings, Failure> {
        self.settings_in(std::env::vars_os(), passed::read()?)
    }

    fn settings_in(
        &self,
        environment: impl Iterator<Item = (OsString, OsString)>,
        passed: Passed,
    ) -> Result<Settings, Failure> {
        let flags = self.file.clone().into_file();
        let mut set = File::default();
        for text in &self.set {
            set = layers::of_flag(text)?.or(set);
        }
        let below = layers::below_flags(self.config.as_deref(), environment)?;
        let mut sources = Sources {
            flags: flags.given(),
            set: set.given(),
            variables: below.variables.given(),
            file: below.text.clone(),
            passed: Vec::new(),
        };
        let merged = flags.or(set).or(below.merged());
        let (mut parts, stack) = merged.split();
        if !passed.tun.is_empty() {
            if let Some(fds) = &parts.tun_fd {
                let text = format!(
                    "{fds} is given, and LISTEN_FDS passes a device on, too: leave one of them out"
                );
                return Err(sources.fault("tun-fd", &text));
            }
            parts.tun_fd = Some(Descriptors(passed.tun.clone()));
            sources.passed.push("tun-fd");
        }
        let settings = Settings::from_parts(parts, stack, sources)?;
        Ok(Settings { passed, ..settings })
    }
}

/// Returns the rules and the upstream proxy of the environment and of a configuration file.
///
/// # Errors
/// As [`RunArgs::settings`].
pub(crate) fn configured_policy(config: Option<&Path>) -> Result<Policy, Failure> {
    let below = layers::below_flags(config, std::env::vars_os())?;
    let (parts, _) = below.merged().split();
    Ok(parts.policy())
}

/// Flags of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Length of each throughput run, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = parse_seconds)]
    pub(crate) seconds: u8,
    /// Queues of the device, each with a worker thread [default: one per core].
    #[arg(long, value_name = "N")]
    pub(crate) queues: Option<Queues>,
    /// Segmentation and checksum offload: auto, on or off [default: auto].
    #[arg(long, value_name = "WHEN", value_parser = parse_offload)]
    pub(crate) offload: Option<OffloadMode>,
    /// Largest IP packet on the link, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 1500, value_parser = parse_demo_mtu)]
    pub(crate) mtu: u16,
}

/// Parses a whole number from `least` to `most`.
fn parse_within<T: FromStr + PartialOrd + Display>(
    text: &str,
    least: T,
    most: T,
) -> Result<T, String> {
    let number = text.parse().ok().filter(|n| (&least..=&most).contains(&n));
    number.ok_or_else(|| format!("use {least} to {most}"))
}

fn parse_seconds(text: &str) -> Result<u8, String> {
    parse_within(text, 1, 60)
}

/// The demo uses both families, so IPv6 sets the bound.
fn parse_demo_mtu(text: &str) -> Result<u16, String> {
    parse_within(text, MIN_MTU_V6, u16::MAX)
}

/// As for the demo: both families are used.
pub(crate) fn parse_exec_mtu(text: &str) -> Result<u16, String> {
    parse_demo_mtu(text)
}

/// Parses the command line, which begins with the program's name. Returns `None` if it asked for
/// help or the version, which has then been printed.
///
/// # Errors
///
/// Returns [`Failure::Usage`] with one sentence.
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Option<Command>, Failure> {
    match Cli::try_parse_from(arguments) {
        Ok(cli) => Ok(Some(cli.command)),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                // A closed stdout needs no help text.
                let _ = error.print();
                Ok(None)
            }
            _ => Err(Failure::Usage(sentence(&error))),
        },
    }
}

/// Writes what describes the command line.
///
/// # Errors
/// As [`documents::run`].
pub(crate) fn document(command: &DocumentCommand) -> Result<(), Failure> {
    documents::run::<Cli>(command)
}

/// Turns clap's several lines into one sentence: what, where, what to do.
fn sentence(error: &clap::Error) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    };
    let flag = text(ContextKind::InvalidArg);
    // clap writes "--mtu <BYTES>"; the name alone reads better in a sentence.
    let flag = flag.split(" <").next().unwrap_or_default();
    let value = text(ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let close = text(ContextKind::SuggestedArg);
            if close.is_empty() {
                format!("there is no flag {flag}: see netstackd --help")
            } else {
                format!("there is no flag {flag}: did you mean {close}?")
            }
        }
        ErrorKind::InvalidSubcommand => {
            let name = text(ContextKind::InvalidSubcommand);
            format!(
                "there is no command '{name}': use exec, proxy, forward, run or demo, see netstackd --help for more"
            )
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            "no command is given: use exec, proxy, forward, run or demo, see netstackd --help"
                .to_owned()
        }
        ErrorKind::InvalidValue if value.is_empty() => {
            format!("{flag} needs a value: see netstackd --help")
        }
        ErrorKind::InvalidValue => {
            let choices = text(ContextKind::ValidValue);
            format!(
                "{flag} '{value}' is not a choice: use {}",
                choices.replace(", ", " or ")
            )
        }
        ErrorKind::ArgumentConflict => format!("{flag} is given more than once: give it once"),
        _ => {
            let why = std::error::Error::source(error).map(ToString::to_string);
            let why = why.unwrap_or_else(|| "see netstackd --help".to_owned());
            format!("{flag} '{value}' cannot be used: {why}").replace('\n', " ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn try_run(flags: &str) -> Result<Settings, Failure> {
        let words = ["netstackd", "run"]
            .into_iter()
            .chain(flags.split_whitespace());
        match parse(words.map(OsString::from))? {
            // The environment of whoever runs the tests has no part in them.
            Some(Command::Run(args)) => args.run.settings_in(std::iter::empty(), Passed::default()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_documented_flags_are_understood() {
        let settings = try_run(
            "--tun t0 --addr 10.77.0.2/24 --addr6 fd77::2/64 --host-addr 10.77.0.7 \
             --host-addr6 fd77::7 --mtu 1400 --queues 2 --offload off \
             --services echo,discard,chargen,daytime,http --pcap out.pcap",
        )
        .expect("every flag");
        assert_eq!(settings.queues.get(), 2);
        assert_eq!(settings.offload, OffloadMode::Off);
        assert_eq!(settings.addresses().len(), 2);
        assert_eq!(settings.services.iter().count(), 5);
    }

    #[test]
    fn each_wrong_flag_is_one_sentence_with_advice() {
        let net = "--tun t0 --addr 10.77.0.2/24";
        for (flags, what, advice) in [
            ("--tun", "--tun", "needs a value"),
            ("--queue 2", "--queue:", "did you mean --queues"),
            ("--frobnicate", "--frobnicate", "--help"),
            ("", "no device name", "--tun NAME"),
            ("--tun t0", "no address", "--addr"),
            (
                "--tun way-too-long-a-name --addr 10.0.0.2/24",
                "way-too-long-a-name",
                "1 to 15",
            ),
            ("--tun t0 --addr 10.77.0.2", "10.77.0.2", "10.77.0.2/24"),
            (
                "--tun t0 --addr 10.77.0.300/24",
                "10.77.0.300/24",
                "ADDRESS/PREFIX",
            ),
            (
                "--tun t0 --addr6 fd77::2/129",
                "fd77::2/129",
                "ADDRESS/PREFIX",
            ),
            (&format!("{net} --queues 0"), "--queues '0'", "use 1 to 256"),
            (
                &format!("{net} --queues 1000"),
                "--queues '1000'",
                "use 1 to 256",
            ),
            (&format!("{net} --mtu 100"), "--mtu 100", "576 to 65535"),
            (
                &format!("{net} --mtu 70000"),
                "--mtu '70000'",
                "576 to 65535",
            ),
            (
                &format!("{net} --offload maybe"),
                "--offload 'maybe'",
                "auto or on or off",
            ),
            (
                &format!("{net} --services echo,finger"),
                "finger",
                "echo,discard",
            ),
            (
                &format!("{net} --host-addr 10.77.0.2"),
                "--host-addr 10.77.0.2",
                "another one",
            ),
            (&format!("{net} --tun t1"), "--tun", "give it once"),
            (&format!("{net} extra"), "extra", "--help"),
        ] {
            let failure = try_run(flags).expect_err(flags);
            assert_eq!(failure.exit_code(), 2, "{flags}");
            let text = failure.to_string();
            assert!(
                text.contains(what) && text.contains(advice),
                "{flags}: {text}"
            );
            assert!(
                !text.contains('\n') && text.contains(':'),
                "{flags}: {text}"
            );
        }
    }

    #[test]
    fn a_missing_configuration_file_has_its_own_code() {
        let failure = try_run("--config /nonexistent.toml").expect_err("missing");
        assert_eq!(failure.exit_code(), 3);
    }

    #[test]
    fn a_wrong_value_is_blamed_on_the_flag_or_on_the_line_of_the_file() {
        let path = std::env::temp_dir().join(format!("netstackd-{}.toml", std::process::id()));
        let refusal = |text: &str, flags: &str| {
            std::fs::write(&path, text).expect("write the file");
            let flags = format!("--config {} {flags}", path.display());
            let failure = try_run(&flags).expect_err("a wrong value");
            (failure.exit_code(), failure.to_string())
        };
        let net = "tun = \"t0\"\naddr = \"10.77.0.2/24\"\n";
        for (line, key, says) in [
            ("mtu = 100", "mtu", "100 is out of range"),
            (
                "host-addr = \"10.78.0.1\"",
                "host-addr",
                "10.78.0.1 is not a host address",
            ),
            (
                "addr6 = \"ff02::1/64\"",
                "addr6",
                "ff02::1/64 is not the address of one host",
            ),
            (
                "host-addr6 = \"fd77::1\"",
                "host-addr6",
                "fd77::1 is given without addr6",
            ),
        ] {
            let (code, text) = refusal(&format!("{net}{line}\n"), "");
            assert_eq!(code, 3, "{text}");
            let place = format!("line 3: key '{key}': {says}");
            assert!(text.contains(&place) && !text.contains("--"), "{text}");
        }
        let (code, text) = refusal(&format!("{net}mtu = 1500\n"), "--mtu 100");
        assert_eq!(code, 2, "{text}");
        assert!(text.starts_with("--mtu 100 is out of range"), "{text}");
        std::fs::remove_file(&path).expect("remove the file");
    }

    #[test]
    fn commands_are_run_and_demo() {
        let words = |line: &str| parse(line.split(' ').map(OsString::from));
        let text = words("netstackd serve").expect_err("unknown").to_string();
        assert!(
            text.contains("'serve'") && text.contains("run or demo"),
            "{text}"
        );
        let text = words("netstackd").expect_err("nothing").to_string();
        assert!(text.contains("run or demo"), "{text}");
        assert!(matches!(
            words("netstackd demo"),
            Ok(Some(Command::Demo(_)))
        ));
    }
}
