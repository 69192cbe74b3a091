//! Numbers for people.

/// Returns a number with a prefix of SI, in at most five characters before the unit.
pub(super) fn scaled(value: f64, unit: &str) -> String {
    let prefixes = ["", "k", "M", "G", "T"];
    let mut value = value.max(0.0);
    let mut chosen = "";
    for prefix in prefixes {
        chosen = prefix;
        if value < 999.5 {
            break;
        }
        value /= 1e3;
    }
    // A terabit is more than any of this carries: the last division was one too many.
    let value = if value < 1.0 && chosen == "T" {
        value * 1e3
    } else {
        value
    };
    match value {
        value if chosen.is_empty() => format!("{value:.0} {unit}"),
        value if value < 9.95 => format!("{value:.2} {chosen}{unit}"),
        value if value < 99.5 => format!("{value:.1} {chosen}{unit}"),
        value => format!("{value:.0} {chosen}{unit}"),
    }
}

/// Returns an amount of memory in binary units.
pub(super) fn memory(bytes: u64) -> String {
    let bytes = bytes as f64;
    for (unit, size) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        let size = f64::from(1_u32 << size);
        if bytes >= size {
            return format!("{:.1} {unit}", bytes / size);
        }
    }
    format!("{bytes:.0} B")
}

/// Returns a time that was measured in microseconds.
pub(super) fn time(micros: u64) -> String {
    match micros {
        0 => "-".to_owned(),
        1..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{:.1} ms", micros as f64 / 1e3),
        _ => format!("{:.2} s", micros as f64 / 1e6),
    }
}

/// Returns how long something has been going on.
pub(super) fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}m {}s", seconds % 60),
        (0, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_people() {
        for (value, text) in [
            (0.0, "0 b/s"),
            (999.0, "999 b/s"),
            (1_000.0, "1.00 kb/s"),
            (999_600.0, "1.00 Mb/s"),
            (12_340_000.0, "12.3 Mb/s"),
            (123_400_000_000.0, "123 Gb/s"),
            (-1.0, "0 b/s"),
        ] {
            assert_eq!(scaled(value, "b/s"), text);
        }
        assert_eq!(
            [memory(1_023), memory(1 << 20), memory(3 << 29)],
            ["1023 B", "1.0 MiB", "1.5 GiB"]
        );
        assert_eq!(
            [time(0), time(52), time(1_500), time(2_500_000)],
            ["-", "52 µs", "1.5 ms", "2.50 s"]
        );
        assert_eq!(
            [duration(61), duration(7_260), duration(90_000)],
            ["1m 1s", "2h 1m", "1d 1h"]
        );
    }
}
