//! Settings of Linux and FreeBSD by name.

use std::time::Duration;

use super::{Profile, Settings, is_fast_open_mode, millis, number};

/// The outcome of a setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// The configuration says it now, or the stack does it anyway.
    Same,
    /// The stack has no such setting.
    Missing,
}

use Outcome::{Missing, Same};

/// Applies one setting.
pub(super) fn apply(settings: &mut Settings, name: &str, value: &str) -> Outcome {
    if let Some(name) = name.strip_prefix("net.ipv4.") {
        return linux(settings, name, value);
    }
    if let Some(name) = name.strip_prefix("net.inet.tcp.") {
        settings.become_one_for(Profile::FreeBsd);
        let number = value.parse();
        return number.map_or(Missing, |number| freebsd(settings, name, number));
    }
    match (name, value.parse::<i64>()) {
        ("kern.ipc.maxsockbuf", Ok(bytes)) => {
            settings.become_one_for(Profile::FreeBsd);
            // A window of a gibibyte is the most that RFC 7323 can express.
            let bytes = bytes.clamp(2_048, 1 << 30) as usize;
            settings.config.tcp.recv_buffer_max = bytes;
            Same
        }
        _ => Missing,
    }
}

impl Settings {
    /// Notes that the script was written for this system.
    pub(super) fn become_one_for(&mut self, profile: Profile) {
        if self.profile == Profile::Own {
            self.profile = profile;
            profile.apply(&mut self.config);
        }
    }
}

/// Returns [`Same`] if the stack's fixed behaviour is that of one of these values.
fn fixed(value: i64, ours: &[i64]) -> Outcome {
    if ours.contains(&value) { Same } else { Missing }
}

fn freebsd(settings: &mut Settings, name: &str, value: i64) -> Outcome {
    let tcp = &mut settings.config.tcp;
    let as_size = usize::try_from(value).unwrap_or_default();
    match name {
        "rfc1323" => {
            tcp.timestamps = value == 1;
            tcp.window_scaling = value == 1;
            return fixed(value, &[0, 1]);
        }
        "sack.enable" => tcp.sack = value != 0,
        "ecn.enable" => {
            tcp.ecn = value != 0;
            tcp.ecn_offer = value == 1;
            return fixed(value, &[0, 1, 2]);
        }
        "recvspace" => settings.recv_space = u32::try_from(value).ok(),
        "sendspace" => {
            tcp.send_buffer = as_size.clamp(2_048, 1 << 30);
            tcp.send_buffer_initial = tcp.send_buffer;
        }
        "delacktime" => match millis(value) {
            Some(delay) if delay < Duration::from_millis(500) => tcp.delayed_ack = delay,
            _ => return Missing,
        },
        "rexmit_initial" => return set_time(&mut tcp.rto_initial, value),
        "keepidle" => match millis(value) {
            Some(idle) if idle >= Duration::from_secs(1) => {
                settings.keep_idle_secs = idle.as_secs()
            }
            _ => return Missing,
        },
        "keepintvl" => return set_time(&mut tcp.keepalive_interval, value),
        "keepcnt" => tcp.keepalive_probes = value.clamp(1, 255) as u8,
        // Each script has a stack of its own.
        "hostcache.purgenow" => {}
        // RFC 5961 is not optional here.
        "insecure_rst" | "insecure_syn" => return fixed(value, &[0]),
        "blackhole" | "rexmit_drop_options" | "udp_tunneling_port" => return fixed(value, &[0]),
        // Each script has a stack of its own, so there is nothing to forget.
        "fastopen.client_enable" => return fixed(value, &[0, 1]),
        "drop_synfin" | "syncookies_only" => return fixed(value, &[0]),
        "syncookies" | "path_mtu_discovery" | "icmp_may_rst" => return fixed(value, &[1]),
        "rexmit_slop" => return fixed(value, &[200]),
        "mssdflt" => return fixed(value, &[536]),
        "v6mssdflt" => return fixed(value, &[1_220]),
        // Only used where `udp_tunneling_port` is, which is missing then.
        "udp_tunneling_overhead" => {}
        _ => return Missing,
    }
    Same
}

fn set_time(time: &mut Duration, value: i64) -> Outcome {
    match millis(value).filter(|time| *time >= Duration::from_millis(1)) {
        Some(given) => {
            *time = given;
            Same
        }
        None => Missing,
    }
}

fn linux(settings: &mut Settings, name: &str, value: &str) -> Outcome {
    let numbers: Vec<i64> = value
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    if let ("tcp_rmem", [_, initial, most]) = (name, &numbers[..]) {
        settings.recv_space = u32::try_from(*initial).ok();
        settings.config.tcp.recv_buffer_max = (*most).clamp(2_048, 1 << 30) as usize;
        return Same;
    }
    if let ("tcp_wmem", [_, _, most]) = (name, &numbers[..]) {
        settings.config.tcp.send_buffer = (*most).clamp(2_048, 1 << 30) as usize;
        return Same;
    }
    let tcp = &mut settings.config.tcp;
    if name == "tcp_congestion_control" {
        return match value.parse() {
            Ok(algorithm) => {
                tcp.congestion = algorithm;
                Same
            }
            Err(_) => Missing,
        };
    }
    if name == "tcp_fastopen_key" {
        settings.fast_open_key = fast_open_key(value);
        return settings.fast_open_key.map_or(Missing, |_| Same);
    }
    number(value).map_or(Missing, |number| linux_number(settings, name, number))
}

/// Returns the key that four words in hexadecimal digits stand for, as Linux writes them.
fn fast_open_key(value: &str) -> Option<[u8; 16]> {
    let mut key = [0; 16];
    let (words, _) = key.as_chunks_mut::<4>();
    let mut given = value.split('-');
    for word in words {
        *word = u32::from_str_radix(given.next()?, 16).ok()?.to_le_bytes();
    }
    given.next().is_none().then_some(key)
}

fn linux_number(settings: &mut Settings, name: &str, value: i64) -> Outcome {
    let tcp = &mut settings.config.tcp;
    let is_on = value != 0;
    match name {
        "tcp_timestamps" => tcp.timestamps = is_on,
        "tcp_sack" => tcp.sack = is_on,
        "tcp_window_scaling" => tcp.window_scaling = is_on,
        "tcp_ecn" => {
            tcp.ecn = is_on;
            tcp.ecn_offer = matches!(value, 1 | 3 | 4);
            tcp.accurate_ecn = matches!(value, 3 | 4);
            return fixed(value, &[0, 1, 2, 3]);
        }
        "tcp_syn_retries" | "tcp_synack_retries" => tcp.syn_retries = value.clamp(0, 255) as u8,
        "tcp_retries2" => tcp.data_retries = value.clamp(1, 255) as u8,
        "tcp_fin_timeout" => tcp.fin_wait_2 = Duration::from_secs(value.clamp(1, 3_600) as u64),
        "tcp_keepalive_time" => settings.keep_idle_secs = value.clamp(1, 86_400) as u64,
        "tcp_keepalive_intvl" => {
            tcp.keepalive_interval = Duration::from_secs(value.clamp(1, 3_600) as u64);
        }
        "tcp_keepalive_probes" => tcp.keepalive_probes = value.clamp(1, 255) as u8,
        "tcp_recovery" | "tcp_early_retrans" => {
            if !is_on {
                tcp.rack_tlp = false;
            }
        }
        // Memory that each script begins without.
        "tcp_no_metrics_save" => tcp.path_metrics = !is_on,
        "tcp_syncookies" | "tcp_dsack" | "tcp_rfc1337" => return fixed(value, &[1]),
        "tcp_reordering" => return fixed(value, &[3]),
        "tcp_fastopen" => {
            settings.fast_open = value;
            return if is_fast_open_mode(value) {
                Same
            } else {
                Missing
            };
        }
        // Cookies that fail are forgotten for each peer, not for all.
        "tcp_fastopen_blackhole_timeout_sec" => {}
        "tcp_fack" | "tcp_tw_reuse" => return fixed(value, &[0]),
        // How the kernel cuts and delays its large segments: this stack on a plain device has none.
        "tcp_min_tso_segs" | "tcp_tso_win_divisor" | "tcp_frto" => {}
        _ => return Missing,
    }
    Same
}
