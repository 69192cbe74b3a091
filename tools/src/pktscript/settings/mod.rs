//! The surroundings of a script: options at its top, and settings of the system that its
//! commands make.
//!
//! Each setting has one of three outcomes. It is applied to the stack's configuration; it says what the
//! stack does anyway; or the stack has no such setting. The last ones are kept by name in
//! [`Settings::missing`]: a script that passes all the same says so, and one that fails counts as not supported.

mod command;
mod profile;
mod sysctl;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use netstack::base::Config;

pub use command::{Command, commands};
pub use profile::Profile;

use super::ast::ScriptOption;

/// Default tolerance of times, in microseconds.
const TOLERANCE_MICROS: i64 = 4_000;

/// Default tolerance of times, in percent of the time since the event before.
const TOLERANCE_PERCENT: f64 = 12.5;

/// The surroundings of a script.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Configuration of the stack.
    pub config: Config,
    /// The packets are of IPv6.
    pub v6: bool,
    /// The stack's address.
    pub local: IpAddr,
    /// The address of the script's end.
    pub remote: IpAddr,
    /// The port that `bind` binds unless the script says another.
    pub bind_port: u16,
    /// The port that `connect` connects to unless the script says another.
    pub connect_port: u16,
    /// MTU of the link.
    pub mtu: u16,
    /// Tolerance of times, in microseconds.
    pub tolerance_micros: i64,
    /// Tolerance of times, in percent of the time since the event before.
    pub tolerance_percent: f64,
    /// Length of a tick of the stack's timestamps; `None`: they are not compared.
    pub timestamp_tick_micros: Option<i64>,
    /// Segments are compared one by one, not joined.
    pub strict_segments: bool,
    /// Failed calls do not end the script.
    pub calls_are_optional: bool,
    /// Segments that differ do not end the script.
    pub packets_are_optional: bool,
    /// The system that the script was written for.
    pub profile: Profile,
    /// Settings that this stack does not have, as `name=value`.
    pub missing: Vec<String>,
    /// All settings that the script makes, by name.
    pub requested: Vec<(String, String)>,
    /// The receive buffer that the script asks for, before it is rounded.
    pub recv_space: Option<u32>,
    /// The silence after which a socket with `SO_KEEPALIVE` probes, in seconds, unless the script sets another.
    pub keep_idle_secs: u64,
    /// The value of `net.ipv4.tcp_fastopen`.
    pub fast_open: i64,
    /// The key that makes Fast Open cookies.
    pub fast_open_key: Option<[u8; 16]>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            config: Config::default(),
            v6: false,
            local: [192, 168, 0, 1].into(),
            remote: [192, 0, 2, 1].into(),
            bind_port: 8_080,
            connect_port: 8_080,
            mtu: 1_500,
            tolerance_micros: TOLERANCE_MICROS,
            tolerance_percent: TOLERANCE_PERCENT,
            timestamp_tick_micros: None,
            strict_segments: false,
            calls_are_optional: false,
            packets_are_optional: false,
            profile: Profile::Own,
            missing: Vec::new(),
            requested: Vec::new(),
            recv_space: None,
            keep_idle_secs: 7_200,
            // As Linux begins: sockets may connect with it.
            fast_open: 1,
            fast_open_key: None,
        }
    }
}

impl Settings {
    /// Creates the settings for a script with these options at its top.
    ///
    /// # Errors
    /// The first option that is not supported, as `--name=value`, or whose value is wrong.
    pub fn of(options: &[ScriptOption]) -> Result<Self, String> {
        let mut settings = Self::default();
        // The version decides the default addresses.
        for option in options {
            if option.name == "ip_version" {
                settings.set_version(option.value.as_deref().unwrap_or_default())?;
            }
        }
        for option in options {
            settings.set(&option.name, option.value.as_deref())?;
        }
        Ok(settings)
    }

    fn set_version(&mut self, version: &str) -> Result<(), String> {
        match version {
            "ipv4" => {}
            "ipv6" => {
                self.v6 = true;
                self.local = IpAddr::V6("fd3d:fa7b:d17d::1".parse().map_err(|_| version)?);
                self.remote = IpAddr::V6("2001:db8::1".parse().map_err(|_| version)?);
            }
            other => return Err(format!("--ip_version={other}")),
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), String> {
        let text = value.unwrap_or_default();
        let refused = || format!("--{name}={text}");
        let address = || text.parse::<IpAddr>().map_err(|_| refused());
        let number = || text.parse::<u32>().map_err(|_| refused());
        let port = || text.parse::<u16>().map_err(|_| refused());
        match name {
            // Dealt with before, or only of interest to a run against a kernel.
            "ip_version" | "define" | "gateway_ip" | "netmask_ip" | "speed" | "verbose" => {}
            "local_ip" => self.local = address()?,
            "remote_ip" => self.remote = address()?,
            "bind_port" => self.bind_port = port()?,
            "connect_port" => self.connect_port = port()?,
            "mtu" => self.mtu = port()?,
            "tolerance_usecs" => self.tolerance_micros = number()?.into(),
            "tolerance_percent" => {
                self.tolerance_percent = text
                    .parse()
                    .ok()
                    .filter(|percent| (0.0..=100.0).contains(percent))
                    .ok_or_else(refused)?;
            }
            "tcp_ts_tick_usecs" => {
                self.timestamp_tick_micros = Some(number()?.into()).filter(|&tick| tick > 0);
            }
            "strict_segments" => self.strict_segments = true,
            "non_fatal" => {
                for kind in text.split(',') {
                    match kind {
                        "syscall" => self.calls_are_optional = true,
                        "packet" => self.packets_are_optional = true,
                        _ => return Err(refused()),
                    }
                }
            }
            _ if value.is_some() => return Err(refused()),
            _ => return Err(format!("--{name}")),
        }
        Ok(())
    }

    /// Returns the address that `bind` binds unless the script says another.
    pub fn bind_address(&self) -> SocketAddr {
        SocketAddr::new(self.local, self.bind_port)
    }

    /// Returns the address that `connect` connects to unless the script says another.
    pub fn connect_address(&self) -> SocketAddr {
        SocketAddr::new(self.remote, self.connect_port)
    }

    /// Returns the tolerance for a time that is `since` microseconds after the event before.
    pub fn tolerance(&self, since: i64) -> i64 {
        let share = (since as f64 * self.tolerance_percent / 100.0) as i64;
        self.tolerance_micros.max(share)
    }

    /// Returns the payload of a full segment without options.
    pub fn mss(&self) -> u16 {
        let headers = if self.v6 { 60 } else { 40 };
        self.mtu.saturating_sub(headers).max(1)
    }

    /// Returns the configuration that the stack starts with.
    pub fn final_config(&self) -> Config {
        let mut config = self.config.clone();
        if let Some(space) = self.recv_space {
            let mss = usize::from(self.mss());
            let space = space as usize;
            config.tcp.recv_buffer_initial = match self.profile {
                // FreeBSD rounds a buffer up to whole segments.
                Profile::FreeBsd => space.next_multiple_of(mss),
                _ => space,
            };
        }
        let tcp = &mut config.tcp;
        tcp.recv_buffer_max = tcp.recv_buffer_max.max(tcp.recv_buffer_initial);
        config
    }
}

/// Returns a number as scripts write them.
pub(super) fn number(value: &str) -> Option<i64> {
    match value.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None => value.parse().ok(),
    }
}

/// Returns true if the stack can do what this value of `net.ipv4.tcp_fastopen` says: it never connects, and never listens,
/// without cookies.
pub(super) fn is_fast_open_mode(value: i64) -> bool {
    value & 0x204 == 0
}

/// Returns a number of milliseconds as a time.
fn millis(value: i64) -> Option<Duration> {
    u64::try_from(value).ok().map(Duration::from_millis)
}
