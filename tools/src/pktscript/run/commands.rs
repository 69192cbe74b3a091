//! Shell commands: what they mean for the stack.

use super::{Runner, Step, Stop};
use crate::pktscript::ast::{Command, Event, Position};
use crate::pktscript::settings::{Command as Meaning, commands};

impl Runner<'_> {
    /// Does the commands before the first event.
    pub(super) fn command(&mut self, command: &Command) -> Step {
        for meaning in commands(&command.text) {
            self.meaning(command.at, meaning)?;
        }
        Ok(())
    }

    /// Does commands at a time.
    pub(super) fn timed_command(&mut self, event: &Event, command: &Command) -> Step {
        if self.host.is_some() {
            let span = self.span(event);
            self.wait_for(event.at, span)?;
            self.before = Some((span.from, false));
        }
        self.command(command)
    }

    fn meaning(&mut self, at: Position, meaning: Meaning) -> Step {
        match meaning {
            Meaning::Set { name, value } => {
                let is_applied = match self.host.as_mut() {
                    None => {
                        self.settings.apply(&name, &value);
                        true
                    }
                    Some(host) => host.set(&name, &value),
                };
                if !is_applied {
                    self.late(at, format!("{name}={value}"));
                }
                Ok(())
            }
            Meaning::SuiteDefaults => {
                self.settings.apply_suite_defaults();
                Ok(())
            }
            Meaning::CountSockets { state, count } => self.count(at, &state, &count),
            Meaning::DropTimeWait => {
                self.late(at, "tcpdrop".to_owned());
                Ok(())
            }
            Meaning::Nothing => Ok(()),
            Meaning::Unknown(what) => Err(Stop::Unsupported(at, format!("the command `{what}`"))),
        }
    }

    /// Notes a setting that cannot be changed while the stack runs. It counts only if something comes after it
    /// that it could change.
    fn late(&mut self, at: Position, what: String) {
        self.too_late.get_or_insert((at, what));
    }

    fn count(&mut self, at: Position, state: &str, count: &str) -> Step {
        self.start(at)?;
        let found = self.host.as_mut().and_then(|host| host.count(state));
        match found {
            None => Err(Stop::Unsupported(at, format!("sockstat: {state}"))),
            Some(found) if found.to_string().contains(count) => Ok(()),
            Some(found) => self.failure(
                at,
                format!("expected {count} sockets in {state}, there are {found}"),
            ),
        }
    }
}
