//! Socket options of the daemon: what its `nc` can be told.
//!
//! Sizes of buffers are not among them: `nc` reads at once and takes all that is written, so a script could not see them.

use serde_json::Value;

use super::sockets::Kind;
use super::{Daemon, zero};
use crate::live::control::{Nc, SocketOptions};
use crate::pktscript::host::{OptionValue, Returned, SocketId};

/// `SO_KEEPALIVE` and `TCP_KEEPIDLE`, which the daemon has as one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keepalive {
    is_on: bool,
    idle_secs: u64,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self {
            is_on: false,
            idle_secs: 7_200,
        }
    }
}

fn millis(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000)
}

/// Returns an option as `nc` has it; `None` if it has none.
fn of_nc(
    keepalive: &mut Keepalive,
    level: &str,
    name: &str,
    value: OptionValue,
) -> Option<(&'static str, Value)> {
    let number = match value {
        OptionValue::Int(number) => number,
        OptionValue::Linger { on: true, seconds } => {
            let is_linger = (level, name) == ("SOL_SOCKET", "SO_LINGER");
            return is_linger.then(|| ("linger_millis", millis(seconds).into()));
        }
        OptionValue::Linger { on: false, .. } => return None,
    };
    Some(match (level, name) {
        ("SOL_IP", "IP_TTL") | ("SOL_IPV6", "IPV6_UNICAST_HOPS") => ("ttl", number.into()),
        ("SOL_IP", "IP_TOS") | ("SOL_IPV6", "IPV6_TCLASS") => ("tos", number.into()),
        ("SOL_TCP", "TCP_NODELAY") => ("nodelay", (number != 0).into()),
        ("SOL_TCP", "TCP_KEEPINTVL") => ("keepalive_interval_millis", millis(number).into()),
        ("SOL_TCP", "TCP_KEEPCNT") => ("keepalive_count", number.into()),
        ("SOL_SOCKET", "SO_KEEPALIVE") | ("SOL_TCP", "TCP_KEEPIDLE") => {
            match name {
                "SO_KEEPALIVE" => keepalive.is_on = number != 0,
                _ => keepalive.idle_secs = u64::try_from(number).unwrap_or(0),
            }
            let idle_millis = match keepalive.is_on {
                true => keepalive.idle_secs.saturating_mul(1_000),
                false => 0,
            };
            ("keepalive_millis", idle_millis.into())
        }
        _ => return None,
    })
}

/// Sets options at a socket that the daemon carries.
pub(super) fn set(nc: &mut Nc, options: &SocketOptions) -> Returned {
    match nc.set_options(options) {
        Ok(()) => zero(),
        Err(why) => Returned::Unsupported(why),
    }
}

impl Daemon {
    /// Sets an option; before there is a socket in the daemon, the one that will be.
    pub(super) fn set_option(
        &mut self,
        id: SocketId,
        level: &str,
        name: &str,
        value: OptionValue,
    ) -> Returned {
        // An address is free once its listener is closed, whatever this says.
        if (level, name) == ("SOL_SOCKET", "SO_REUSEADDR") {
            return zero();
        }
        let Some(open) = self.sockets.get_mut(&id) else {
            return Returned::Error("EBADF");
        };
        let unsupported = |why: &str| Returned::Unsupported(format!("{name} {why}"));
        let Some((key, value)) = of_nc(&mut open.keepalive, level, name, value) else {
            return unsupported("against the daemon");
        };
        let mut options = SocketOptions::default();
        options.set(key, value.clone());
        match &mut open.kind {
            Kind::Fresh { .. } => {
                open.options.set(key, value);
                zero()
            }
            Kind::Stream(stream) => stream.set_options(&options),
            Kind::Datagrams(datagrams) => {
                // For the socket that takes its place when it is connected.
                open.options.set(key, value);
                datagrams.set_options(&options)
            }
            Kind::Listener { .. } => unsupported("of a listener, against the daemon"),
            Kind::Connecting(_) => unsupported("while it connects, against the daemon"),
            Kind::Failed(_) => Returned::Error("EINVAL"),
        }
    }
}
