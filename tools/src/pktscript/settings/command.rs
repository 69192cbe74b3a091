//! Shell commands of scripts. None is run: what they mean for the stack is looked up.

use super::{Profile, Settings, sysctl};

/// A command that says something about the stack.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Sets `name` to `value`.
    Set {
        /// The setting's name.
        name: String,
        /// Its value.
        value: String,
    },
    /// The defaults of packetdrill's own suite.
    SuiteDefaults,
    /// Checks that the number of sockets in a state, printed in decimal, contains `count`.
    CountSockets {
        /// The state, as `sockstat` prints it.
        state: String,
        /// The text that the number must contain.
        count: String,
    },
    /// Forgets connections in TIME-WAIT.
    DropTimeWait,
    /// Has no effect on the stack.
    Nothing,
    /// Not known, by its first word.
    Unknown(String),
}

/// Returns what the commands of `text` mean.
pub fn commands(text: &str) -> Vec<Command> {
    let joined = text.replace("\\\n", " ");
    let mut found = Vec::new();
    for line in joined.lines() {
        let line = line.split(" #").next().unwrap_or_default();
        let line = if line.starts_with('#') { "" } else { line };
        for one in line.split(';').flat_map(|part| part.split("&&")) {
            found.extend(simple(one.trim()));
        }
    }
    found
}

/// Returns what one command, or one pipe of commands, means.
fn simple(text: &str) -> Vec<Command> {
    let text = text
        .split(" > ")
        .next()
        .unwrap_or_default()
        .split(" &>")
        .next()
        .unwrap_or_default();
    let mut words = text.split_whitespace();
    let Some(program) = words.next() else {
        return Vec::new();
    };
    let name = program.rsplit('/').next().unwrap_or(program);
    let rest: Vec<&str> = words.collect();
    match name {
        "defaults.sh" => vec![Command::SuiteDefaults],
        "sysctl" | "set_sysctls.py" => assignments(text),
        "sockstat" => vec![count(text)],
        "tcpdrop" if rest == ["-s", "TIME_WAIT"] => vec![Command::DropTimeWait],
        "ip" if rest.starts_with(&["tcp_metrics", "flush"]) => vec![Command::Nothing],
        "nstat" if rest.is_empty() => vec![Command::Nothing],
        _ if name.starts_with("sysctl_restore") => vec![Command::Nothing],
        "sync" | "true" | "sleep" => vec![Command::Nothing],
        _ => {
            let words: Vec<&str> = text.split_whitespace().take(2).collect();
            vec![Command::Unknown(words.join(" "))]
        }
    }
}

/// Returns the settings of `sysctl -q a=1 b="2 3"` and of `set_sysctls.py /proc/sys/a=1`.
fn assignments(text: &str) -> Vec<Command> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('=') {
        let name = before.split_whitespace().last().unwrap_or_default();
        let name = name
            .strip_prefix("/proc/sys/")
            .map_or_else(|| name.to_owned(), |path| path.replace('/', "."));
        let (value, next) = match behind.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => behind
                .split_once(char::is_whitespace)
                .unwrap_or((behind, "")),
        };
        let value = value.to_owned();
        found.push(Command::Set { name, value });
        rest = next;
    }
    if found.is_empty() {
        found.push(Command::Unknown(text.to_owned()));
    }
    found
}

/// Returns the check of `sockstat … | grep -c STATE | grep COUNT`.
fn count(text: &str) -> Command {
    let parts: Vec<&str> = text.split('|').map(str::trim).collect();
    let state = parts.iter().find_map(|part| part.strip_prefix("grep -c "));
    let count = parts.last().and_then(|part| part.strip_prefix("grep "));
    match (state, count) {
        (Some(state), Some(count)) if !count.starts_with('-') => Command::CountSockets {
            state: state.to_owned(),
            count: count.to_owned(),
        },
        _ => Command::Unknown(text.to_owned()),
    }
}

impl Settings {
    /// Applies a setting.
    pub fn apply(&mut self, name: &str, value: &str) {
        self.requested.push((name.to_owned(), value.to_owned()));
        if sysctl::apply(self, name, value) == sysctl::Outcome::Missing {
            self.miss(format!("{name}={value}"));
        } else {
            // The value before does not matter any more.
            let prefix = format!("{name}=");
            self.missing.retain(|missing| !missing.starts_with(&prefix));
        }
    }

    /// Applies the defaults of packetdrill's own suite.
    pub fn apply_suite_defaults(&mut self) {
        self.become_one_for(Profile::LinuxSuite);
        self.apply("net.ipv4.tcp_fastopen", "0x70403");
        let key = "a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4";
        self.apply("net.ipv4.tcp_fastopen_key", key);
    }

    fn miss(&mut self, what: String) {
        if !self.missing.contains(&what) {
            self.missing.push(what);
        }
    }
}
