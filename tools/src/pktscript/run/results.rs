//! Results of calls beside those that the script expects.

use super::calls::{O_NONBLOCK, Reader, Understood, number, unsupported};
use super::names;
use crate::pktscript::ast::Expr;
use crate::pktscript::host::{Events, OptionValue, Returned};
use crate::pktscript::settings::Profile;

/// The access mode of sockets, as `F_GETFL` returns it.
const O_RDWR: i64 = 2;

impl Reader<'_> {
    /// Returns the value that the call must return, unless it must fail.
    pub(super) fn expected(&self) -> Understood<i64> {
        match &self.call.result {
            // Any; a call that may return anything has nothing to compare.
            Expr::Ellipsis => Ok(0),
            result => number(result),
        }
    }

    /// Compares what came back; returns what is wrong with it.
    pub(super) fn check(&self, returned: &Returned) -> Understood<Option<String>> {
        let expected = self.expected()?;
        let error = self.call.error.as_deref();
        let any = self.call.result == Expr::Ellipsis;
        let wanted = match error {
            Some(name) => format!("{expected} {name}"),
            None => expected.to_string(),
        };
        Ok(match returned {
            Returned::Unsupported(what) => return unsupported(what.clone()),
            Returned::Error(name) => {
                let same = expected == -1
                    && error.is_none_or(|wanted| names::errno(wanted) == names::errno(name));
                (!same && !any).then(|| format!("expected {wanted}, got -1 {name}"))
            }
            Returned::Value(value, _) => {
                let value = self.shown(*value);
                (value != expected && !any).then(|| format!("expected {wanted}, got {value}"))
            }
            Returned::Option(value) if expected == 0 => self.check_option(*value)?,
            Returned::Option(_) => Some(format!("expected {wanted}, got 0")),
            Returned::Ready(ready) => self.check_ready(ready, expected)?,
        })
    }

    /// Returns a value as the script sees it.
    fn shown(&self, value: i64) -> i64 {
        match self.call.name.as_str() {
            "fcntl" if self.is_word(1, "F_GETFL") => {
                O_RDWR | if value != 0 { O_NONBLOCK } else { 0 }
            }
            // The count is written to the third argument.
            "ioctl" => 0,
            _ => value,
        }
    }

    fn check_option(&self, value: OptionValue) -> Understood<Option<String>> {
        let expected = self.argument(3)?;
        if *expected == Expr::Ellipsis {
            return Ok(None);
        }
        let expected = match (expected.field("onoff"), expected.field("linger")) {
            (Some(on), Some(seconds)) => OptionValue::Linger {
                on: number(on)? != 0,
                seconds: number(seconds)?,
            },
            _ => OptionValue::Int(number(expected)?),
        };
        let is_same = expected == value
            || self.is_rounded_buffer(expected, value)
            || self.is_prohibition(expected, value);
        if is_same {
            return Ok(None);
        }
        let show = |value| match value {
            OptionValue::Int(number) if self.is_word(2, "SO_ERROR") && number != 0 => {
                format!("[{}]", names::error_name(number))
            }
            OptionValue::Int(number) => format!("[{number}]"),
            OptionValue::Linger { on, seconds } => {
                format!("{{onoff={}, linger={seconds}}}", i64::from(on))
            }
        };
        Ok(Some(format!(
            "expected the value {}, got {}",
            show(expected),
            show(value)
        )))
    }

    /// Returns true if both are the size of a buffer, which FreeBSD rounds up to whole segments.
    pub(super) fn is_rounded_buffer(&self, expected: OptionValue, value: OptionValue) -> bool {
        let (OptionValue::Int(expected), OptionValue::Int(value)) = (expected, value) else {
            return false;
        };
        let rounded_up_by = expected - value;
        self.settings.profile == Profile::FreeBsd
            && self.is_word(2, "SO_RCVBUF")
            && (0..i64::from(self.settings.mss())).contains(&rounded_up_by)
    }

    /// Returns true if an attempt to connect was prohibited. For FreeBSD it is refused then, as by every hard error of ICMP.
    fn is_prohibition(&self, expected: OptionValue, value: OptionValue) -> bool {
        let is_error = |value, name| names::errno(name).map(OptionValue::Int) == Some(value);
        self.settings.profile == Profile::FreeBsd
            && self.is_word(2, "SO_ERROR")
            && is_error(expected, "ECONNREFUSED")
            && is_error(value, "EACCES")
    }

    fn check_ready(&self, ready: &[Events], expected: i64) -> Understood<Option<String>> {
        let count = ready.iter().filter(|events| !events.is_empty()).count() as i64;
        if count != expected {
            return Ok(Some(format!(
                "expected {expected} to be ready, got {count}"
            )));
        }
        let Expr::List(list) = self.argument(0)? else {
            return Ok(None);
        };
        for (one, events) in list.iter().zip(ready) {
            let wanted = match one.field("revents") {
                Some(expr) => number(expr)?,
                None => 0,
            };
            if wanted != events.bits() {
                return Ok(Some(format!(
                    "expected revents={wanted:#x}, got {:#x}",
                    events.bits()
                )));
            }
        }
        Ok(None)
    }

    /// Compares the count that a request of ioctl wrote.
    pub(super) fn check_count(&self, returned: &Returned) -> Understood<Option<String>> {
        let (Returned::Value(value, _), "ioctl") = (returned, self.call.name.as_str()) else {
            return Ok(None);
        };
        let expected = self.number(2)?;
        Ok((expected != *value).then(|| format!("expected the count {expected}, got {value}")))
    }
}
